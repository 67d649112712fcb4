"""MELD's clips: what becomes of wrong cuts and of bad files is the user's choice, and always told."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import pytest

from ercache.manifest import Manifest, write_manifest
from ercache.params.load import schema_errors
from ercache.reasons import Reason
from extract.corpora import CORPORA
from extract.corpora.common.inspect_media import MediaFacts
from extract.corpora.meld.scan import CLIP_FOLDERS

pytestmark = pytest.mark.usefixtures("scanned_here")

ENTRY = CORPORA["meld"]
HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
)
LONG, SHORT = "train_dia0_utt1", "train_dia0_utt0"  # 2 s and 0.5 s


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dialogue of four and one of one in each part; all clips last 0.5 s, the second of train 2 s."""
    root = tmp_path_factory.mktemp("meld")
    films = {seconds: film(root / f"{seconds}.mp4", seconds) for seconds in (0.5, 2.0)}
    for part, folder in CLIP_FOLDERS.items():
        place = root / "MELD.Raw" / folder
        place.mkdir(parents=True)
        rows = [HEADER]
        for n, (dialogue, utterance) in enumerate([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]):
            times = f'"00:00:0{n},000","00:00:0{n},500"'
            rows.append(f"{n},Word {n}.,Ross,joy,positive,{dialogue},{utterance},1,1,{times}")
            seconds = 2.0 if part == "train" and n == 1 else 0.5
            shutil.copy(films[seconds], place / f"dia{dialogue}_utt{utterance}.mp4")
        (root / "MELD.Raw" / f"{part}_sent_emo.csv").write_text("\r\n".join(rows))
    return root / "MELD.Raw"


def film(path: Path, seconds: float, *without: str) -> Path:
    sources = {"video": f"testsrc=s=32x32:r=10:d={seconds}", "audio": f"sine=d={seconds}"}
    inputs = [word for m, s in sources.items() if m not in without for word in ("-f", "lavfi", "-i", s)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *inputs, f"file:{path}"]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def root(tmp_path: Path, release: Path) -> Path:
    return shutil.copytree(release, tmp_path / "r")


def scan(root: Path, **switches: object) -> Manifest:
    found = ENTRY.scan(root, ENTRY.Switches(**switches))
    write_manifest(found, root.parent / "meld.jsonl")
    return found


def told(manifest: Manifest, reason: str) -> list[str]:
    return [f"{p.utterance}: {p.detail}" for p in manifest.problems if p.reason == reason]


def turns(manifest: Manifest) -> list[tuple[str, int]]:
    return [(u.id, u.index) for u in manifest.of_part("train")]


ALL = [*((f"train_dia0_utt{n}", n) for n in range(4)), ("train_dia1_utt0", 0)]


def test_wrong_cuts_are_trimmed_and_told(root: Path) -> None:
    found = scan(root, longest=1)
    refs = {u.id: u.video for u in found.utterances}
    assert turns(found) == ALL and all(u.video == u.audio for u in found.utterances)
    long, short = refs[LONG], refs[SHORT]
    assert long and (long.start, long.end) == (0.0, 1.0) and long.sha256
    assert short and (short.start, short.end) == (None, None)
    assert told(found, "long_clip") == [f"{LONG}: 2.0 s, of which the first 1 s are read"]


def test_wrong_cuts_may_be_kept_whole_and_are_told(root: Path) -> None:
    found = scan(root, long_clips="keep", longest=1)
    assert all(u.video and u.video.end is None for u in found.utterances)
    assert told(found, "long_clip") == [f"{LONG}: 2.0 s"]


def test_wrong_cuts_may_be_dropped_and_make_room_in_their_dialogue(root: Path) -> None:
    found = scan(root, long_clips="drop", longest=1)
    assert turns(found) == [
        ("train_dia0_utt0", 0),
        ("train_dia0_utt2", 1),
        ("train_dia0_utt3", 2),
        ("train_dia1_utt0", 0),
    ]
    assert LONG not in found.splits["official"]["train"] and len(found.splits["official"]["test"]) == 5
    assert told(found, "left_out") == [f"None: {LONG}: 2.0 s"] and told(found, "long_clip") == []
    assert any("4 utterances" in line for line in told(found, "count_differs"))


def test_by_default_the_wrong_cuts_of_the_release_are_trimmed_and_no_other_clip(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasts = {"dia0_utt1.mp4": 304.9, "dia0_utt2.mp4": 41.0, "dia0_utt3.mp4": 28.5}

    def looked(root: Path, paths: Sequence[str], progress: object) -> dict[str, MediaFacts]:
        return {p: MediaFacts("0" * 64, lasts.get(p.rpartition("/")[2], 0.5), 0.5, True, True) for p in paths}

    monkeypatch.setattr("extract.corpora.meld.scan.inspect_media", looked)
    ends = [u.video.end for u in scan(root).of_part("test") if u.video]
    assert ends == [None, 30.0, 30.0, None, None]
    assert len(told(scan(root), "long_clip")) == 9


@pytest.fixture
def broken(root: Path) -> Path:
    """Clips that are absent, empty, cut short and mute, and one that is pictures without sound."""
    clips = root / "train_splits"
    (clips / "dia0_utt0.mp4").unlink()
    (clips / "dia0_utt1.mp4").write_bytes(b"")
    (clips / "dia0_utt2.mp4").write_bytes((clips / "dia0_utt2.mp4").read_bytes()[:300])
    film(clips / "dia0_utt3.mp4", 0.5, "audio")
    return root


def test_bad_clips_keep_their_rows_and_texts(broken: Path) -> None:
    found = scan(broken)
    assert turns(found) == ALL and {u.text for u in found.of_part("train")} == {
        f"Word {n}." for n in range(5)
    }
    assert {p.utterance: p.reason for p in found.problems if p.status == "missing"} == {
        "train_dia0_utt0": "absent",
        "train_dia0_utt1": "empty_file",
        "train_dia0_utt2": "unreadable",
        "train_dia0_utt3": "no_audio",
    }


def test_bad_clips_may_be_dropped_but_not_what_has_pictures_or_sound(broken: Path) -> None:
    found = scan(broken, bad_clips="drop")
    assert turns(found) == [("train_dia0_utt3", 0), ("train_dia1_utt0", 0)]
    assert [line.partition(",")[0] for line in told(found, "left_out")] == [
        "None: train_dia0_utt0: absent",
        "None: train_dia0_utt1: empty_file",
        "None: train_dia0_utt2: unreadable",
    ]
    assert found.splits["official"]["train"] == ("train_dia0_utt3", "train_dia1_utt0")


def test_what_a_scan_could_not_read_in_time_is_never_dropped(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(root: Path, paths: Sequence[str], progress: object) -> dict[str, MediaFacts]:
        return {p: MediaFacts(None, fault=(Reason.TIMEOUT, "late")) for p in paths}

    monkeypatch.setattr("extract.corpora.meld.scan.inspect_media", late)
    found = scan(root, bad_clips="drop")
    assert turns(found) == ALL and len([p for p in found.problems if p.status == "unavailable"]) == 15


def test_a_corpus_without_clips_keeps_its_texts_under_every_policy(root: Path) -> None:
    for folder in CLIP_FOLDERS.values():
        shutil.rmtree(root / folder)
    found = scan(root, bad_clips="drop", long_clips="drop")
    assert turns(found) == ALL and all(u.video is None for u in found.utterances)


def test_wrong_policies_are_refused_with_those_there_are() -> None:
    bad = {"long_clips": "cut", "bad_clips": "trim", "longest": 0}
    text = "\n".join(schema_errors(ENTRY.Switches, bad))
    assert "'trim', 'keep' or 'drop'" in text and "'keep' or 'drop'" in text and "longest" in text
