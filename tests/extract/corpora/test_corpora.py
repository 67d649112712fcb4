"""Scans: counts stay official, every quirk is told, nothing leaves the root, all findings come at once."""

import csv
import io
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Utterance, read_manifest, write_manifest
from ercache.reasons import Reason
from extract.corpora import CORPORA
from extract.corpora.common import inspect_media as inspect_module
from extract.corpora.meld import scan as meld
from extract.corpora.meld.transcript import read_table, seconds_of
from extract.text.normalise import C1, repair

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
MELD = SHARED / "meld"
CREMAD = SHARED / "media" / "cremad"
needs_meld = pytest.mark.skipif(not MELD.is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")
needs_cremad = pytest.mark.skipif(not CREMAD.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")

HEADER = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
)
Rows = Sequence[Sequence[object]]
ROWS: Rows = [
    (0, 0, "Hi.", "joy", "positive"),
    (0, 1, "What?", "surprise", "negative"),
    (1, 0, "No", "anger", "negative"),
]


def table(rows: Rows, header: str = HEADER) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header.split(","))
    for n, (dialogue, utterance, words, emotion, sentiment) in enumerate(rows):
        times = [f"0:00:{n:02d},000", f"00:00:{n + 1:02d},000"]
        writer.writerow([n, words, "Ross", emotion, sentiment, dialogue, utterance, 1, 1, *times])
    return text.getvalue().encode()


def tables(
    root: Path, train: bytes | None = None, dev: bytes | None = None, test: bytes | None = None
) -> Path:
    root.mkdir(exist_ok=True)
    for part, content in (("train", train), ("dev", dev), ("test", test)):
        (root / f"{part}_sent_emo.csv").write_bytes(table(ROWS) if content is None else content)
    return root


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    sources = ("-f", "lavfi", "-i", "testsrc=s=32x32:r=10:d=0.5", "-f", "lavfi", "-i", "sine=d=0.5")
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *sources, str(path)], check=True)
    return path


def layout(root: Path, clip: Path, inside: str = "") -> Path:
    """A small corpus in MELD's layout, with every clip."""
    tables(root)
    for folder in meld.CLIP_FOLDERS.values():
        place = root / inside / folder
        place.mkdir(parents=True)
        for dialogue, utterance, *_ in ROWS:
            shutil.copy(clip, place / f"dia{dialogue}_utt{utterance}.mp4")
    return root


def scan(corpus: str, root: Path, **switches: str) -> Manifest:
    entry = CORPORA[corpus]
    return entry.scan(root, entry.Switches(**switches))


def told(manifest: Manifest, reason: str) -> list[str | None]:
    return [p.utterance for p in manifest.problems if p.reason == reason]


def refused(corpus: str, root: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        scan(corpus, root)
    assert caught.value.exit_code == 2
    return str(caught.value)


@needs_meld
def test_the_real_tables_give_the_official_counts_quickly() -> None:
    started = time.monotonic()
    found = scan("meld", MELD)
    assert time.monotonic() - started < 5
    summary = found.summary()
    assert {p: (s["dialogues"], s["utterances"]) for p, s in summary.items()} == {
        "train": (1038, 9989),
        "dev": (114, 1109),
        "test": (280, 2610),
    }
    assert [list(s["labels"]["emotion7"].values()) for s in summary.values()] == [
        [4710, 1205, 268, 683, 1743, 271, 1109],
        [470, 150, 40, 111, 163, 22, 153],
        [1256, 281, 50, 208, 402, 68, 345],
    ]
    assert [list(s["labels"]["sentiment3"].values()) for s in summary.values()] == [
        [4710, 2334, 2945],
        [470, 233, 406],
        [1256, 521, 833],
    ]
    assert told(found, "count_differs") == [] and told(found, "not_in_corpus") == [None]
    assert all(u.video is None and u.audio is None for u in found.utterances)
    assert sorted(map(str, told(found, "odd_time"))) == [
        "test_dia187_utt2",
        "test_dia233_utt8",
        "train_dia437_utt2",
    ]
    assert len(told(found, "starts_before_previous")) == 31 and len(told(found, "long_by_table")) == 11
    assert any(p.detail == "train: no dialogue has Dialogue_ID 60" for p in found.problems)
    one = [u for u in found.utterances if u.dialogue == "train_dia1"]  # avafn item 1; its ids have a gap
    assert [u.index for u in one] == list(range(7)) and one[-1].id == "train_dia1_utt8"
    assert [u.speaker for u in one] == [("Joey", "Rachel")[i] for i in (0, 1, 0, 1, 0, 0, 1)]
    order = found.label_sets["emotion7"]
    assert [order.index(u.labels["emotion7"] or "") for u in one] == [1, 3, 1, 2, 0, 0, 0]


@needs_meld
def test_the_old_encoding_gives_the_same_texts(tmp_path: Path) -> None:
    back = {ord(new): chr(code) for code, new in C1.items() if new != " "}  # blanks would all change
    for path in MELD.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes().decode().translate(back).encode())
    old, new = scan("meld", tmp_path), scan("meld", MELD)
    assert old.utterances == new.utterances and old.version != new.version
    assert len(told(old, "old_encoding")) == 3


@pytest.mark.usefixtures("scanned_here")
def test_clips_are_found_at_any_depth_and_serve_both_media(tmp_path: Path, clip: Path) -> None:
    found = scan("meld", layout(tmp_path / "r", clip, "MELD.Raw/unpacked"))
    assert len(found.utterances) == 9 and found.parts == ("train", "dev", "test")
    first = found.utterances[0]
    assert first.id == "train_dia0_utt0" and first.video == first.audio and first.video and first.video.sha256
    assert [u.index for u in found.of_part("dev")] == [0, 1, 0]
    assert [p for p in found.problems if p.status == "missing"] == []
    assert found.splits["official"]["test"] == tuple(u.id for u in found.of_part("test"))


@pytest.mark.usefixtures("scanned_here")
def test_bad_and_absent_clips_keep_their_rows(tmp_path: Path, clip: Path) -> None:
    root = layout(tmp_path / "r", clip)
    train, dev = root / "train_splits", root / "dev_splits_complete"
    (train / "dia0_utt0.mp4").write_bytes(b"")
    (train / "dia0_utt1.mp4").write_bytes(clip.read_bytes()[:500])
    (train / "dia1_utt0.mp4").unlink()
    (dev / "dia0_utt0.mp4").unlink()
    (dev / "dia0_utt0.mp4").symlink_to(clip)
    (dev / "dia0_utt1.mp4").write_text("version https://git-lfs.github.com/spec/v1\n")
    (dev / "dia1_utt0.mp4").unlink()
    os.mkfifo(dev / "dia1_utt0.mp4")
    found = scan("meld", root)
    assert {p.utterance: p.reason for p in found.problems if p.status == "missing"} == {
        "train_dia0_utt0": "empty_file",
        "train_dia0_utt1": "unreadable",
        "train_dia1_utt0": "absent",
        "dev_dia0_utt0": "outside_root",
        "dev_dia0_utt1": "git_lfs_pointer",
        "dev_dia1_utt0": "not_a_file",
    }
    digests = {u.id: u.video.sha256 is not None for u in found.utterances if u.video}
    assert len(digests) == 9 and not digests["train_dia1_utt0"] and digests["train_dia0_utt1"]


@pytest.mark.usefixtures("scanned_here")
def test_clips_without_a_row_and_litter_are_not_utterances(tmp_path: Path, clip: Path) -> None:
    root = layout(tmp_path / "r", clip)
    for name in ("dia7_utt7.mp4", "._dia0_utt0.mp4", ".DS_Store", "dia0_utt0 (1).mp4"):
        shutil.copy(clip, root / "output_repeated_splits_test" / name)
    found = scan("meld", root)
    (idle,) = [p for p in found.problems if p.reason == "clip_without_row"]
    assert "2 files" in idle.detail and "dia7_utt7.mp4" in idle.detail and len(found.of_part("test")) == 3


@pytest.mark.usefixtures("scanned_here")
@pytest.mark.parametrize("variant", ["plain", "prefixed_if_present"])
def test_the_variant_of_a_test_clip_is_a_switch(tmp_path: Path, clip: Path, variant: str) -> None:
    root = layout(tmp_path / "r", clip)
    shutil.copy(clip, root / "output_repeated_splits_test" / "final_videos_testdia0_utt1.mp4")
    found = scan("meld", root, test_clip_variant=variant)
    names = [u.video.path.rpartition("/")[2] for u in found.of_part("test") if u.video]
    prefixed = variant != "plain"
    assert names == [
        "dia0_utt0.mp4",
        ("final_videos_test" if prefixed else "") + "dia0_utt1.mp4",
        "dia1_utt0.mp4",
    ]
    assert told(found, "prefixed_clip") == (["test_dia0_utt1"] if prefixed else [])


@pytest.mark.usefixtures("scanned_here")
def test_order_comes_from_the_ids_and_index_from_the_rank(tmp_path: Path) -> None:
    rows = [(5, 9, "c", "joy", "positive"), (2, 4, "b", "joy", "neutral"), (2, 1, "a", "joy", "positive")]
    found = scan("meld", tables(tmp_path / "r", train=table(rows)))
    assert [(u.text, u.index) for u in found.of_part("train")] == [("a", 0), ("b", 1), ("c", 0)]
    assert told(found, "sentiment_differs") == ["train_dia2_utt4"] and told(found, "not_in_order") == [None]
    assert told(found, "starts_before_previous") == ["train_dia2_utt4"]
    assert len(told(found, "holes_in_ids")) == 2 and told(found, "count_differs")


def test_all_faults_of_the_tables_are_told_at_once(tmp_path: Path) -> None:
    bad = [("../x", 0, "a", "joy", "positive"), (0, "1/2", "b", "glee", "positive"), *ROWS, ROWS[0]]
    text = refused(
        "meld", tables(tmp_path / "r", train=table(bad), dev=b"\xff\xfe", test=table(ROWS).split(b"\r\n")[0])
    )
    for part in (
        "'../x' is not a whole number",
        "'1/2'",
        "'glee'",
        "stands in 2 rows",
        "not UTF-8",
        "holds no row",
    ):
        assert part in text
    text = refused("meld", tables(tmp_path / "r", train=table(ROWS).replace(b"Dialogue_ID", b"dialogue")))
    assert "no column Dialogue_ID" in text and "Utterance_ID" in text


def test_a_folder_without_tables_says_what_was_found_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    assert "found: holiday.jpg" in refused("meld", tmp_path)
    (tmp_path / "train.tar.gz").touch()
    text = refused("meld", tmp_path)
    assert "unpack train.tar.gz" in text and "test_sent_emo.csv is nowhere" in text
    assert "not a folder" in refused("meld", tmp_path / "nowhere")
    assert "ercache demo" in refused("demo", tmp_path)


@pytest.mark.usefixtures("scanned_here")
def test_the_demo_corpus_is_scanned_like_meld(tmp_path: Path, clip: Path) -> None:
    root = layout(tmp_path / "r", clip)
    assert "demo.json" in refused("demo", root)
    (root / "demo.json").write_text('{"complete": false}')
    assert "unfinished" in refused("demo", root)
    broken = '[{"id": "train_dia0_utt0", "how": "cut short"}]'
    (root / "demo.json").write_text(
        f'{{"complete": true, "seed": 3, "size": "tiny", "version": 1, "broken": {broken}}}'
    )
    found = scan("demo", root)
    assert (
        found.corpus == "demo"
        and "seed 3" in found.version
        and told(found, "broken_on_purpose") == ["train_dia0_utt0"]
    )
    assert told(found, "count_differs") == []


@needs_cremad
def test_real_cremad_clips(tmp_path: Path) -> None:
    found = scan("cremad", CREMAD)
    assert found.summary()["all"]["labels"]["emotion6"] == dict.fromkeys(
        CORPORA["cremad"].label_sets["emotion6"], 1
    )
    assert told(found, "sound_from_flv") == [u.id for u in found.utterances] and len(found.utterances) == 6
    assert {u.text for u in found.utterances} == {"Don't forget a jacket"} and found.utterances[
        0
    ].speaker == "1001"
    assert all(p.status == "note" for p in found.problems) and found.splits == {}


def cremad(root: Path, clip: Path, *stems: str, wav: bool = True) -> Path:
    for folder, suffix in (("VideoFlash", ".flv"), *([("AudioWAV", ".wav")] if wav else [])):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for stem in stems:
            shutil.copy(clip, root / folder / (stem + suffix))
    return root


@pytest.mark.usefixtures("scanned_here")
def test_cremad_reads_sound_beside_video_and_splits_by_actor(tmp_path: Path, clip: Path) -> None:
    stems = [f"{actor}_IEO_HAP_LO" for actor in range(1001, 1011)]
    root = cremad(tmp_path, clip, *stems, "1011_ABC_HAP_LO", "._1001_IEO_HAP_LO")
    (root / "AudioWAV" / f"{stems[0]}.wav").unlink()
    (root / "VideoFlash" / f"{stems[1]}.flv").unlink()
    found = scan("cremad", root)
    assert [u.id for u in found.utterances] == stems and told(found, "not_a_clip_name") == [None]
    zero, one, two = found.utterances[:3]
    assert zero.audio == zero.video and told(found, "sound_from_flv") == [zero.id]
    assert one.video == MediaRef(f"VideoFlash/{stems[1]}.flv") and told(found, "absent") == [one.id]
    assert two.audio and two.audio.path == f"AudioWAV/{stems[2]}.wav"
    sizes = {name: len(ids) for name, ids in found.splits["actors"].items()}
    assert sizes == {"train": 6, "dev": 2, "test": 2}


@pytest.mark.usefixtures("scanned_here")
def test_known_defects_of_cremad_are_left_out(tmp_path: Path, clip: Path) -> None:
    found = scan(
        "cremad",
        cremad(tmp_path, clip, "1076_MTI_SAD_XX", "1064_IEO_DIS_MD", "1006_TIE_HAP_XX", "1040_ITH_SAD_X"),
    )
    media = {u.id: (u.video is not None, u.audio is not None) for u in found.utterances}
    assert media["1076_MTI_SAD_XX"] == (False, False) and media["1064_IEO_DIS_MD"] == (False, True)
    assert media["1040_ITH_SAD_X"] == (True, True) and told(found, "doubtful_label") == ["1006_TIE_HAP_XX"]


def test_an_archive_download_of_cremad_is_refused(tmp_path: Path, clip: Path) -> None:
    pointer = tmp_path / "pointer"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refused("cremad", cremad(tmp_path / "r", pointer, "1001_DFA_ANG_XX"))
    assert "1001_DFA_ANG_XX.flv" in refused("cremad", tables(tmp_path / "other"))


def test_a_file_that_kills_its_process_costs_only_itself(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(36):
        shutil.copy(clip, tmp_path / f"{n}.mp4")
    (tmp_path / "killer.mp4").write_bytes(b"x")
    monkeypatch.setattr(inspect_module, "inspect_files", deadly)
    ticks: list[int] = []
    seen = inspect_module.inspect_media(
        tmp_path, [p.name for p in tmp_path.glob("*.mp4")], lambda done, of: ticks.append(done)
    )
    faults = {path: inspect_files.fault[0] for path, inspect_files in seen.items() if inspect_files.fault}
    assert faults == {"killer.mp4": Reason.CRASH} and len(seen) == 37


def deadly(root: Path, paths: Sequence[str]) -> list[inspect_module.MediaFacts]:
    if "killer.mp4" in paths:
        os._exit(11)
    return [inspect_module.MediaFacts(None) for _ in paths]


printable = st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn", "Z")), min_size=1)
anything = st.text(st.characters(codec="utf-8"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.lists(printable, unique=True, max_size=5),
    texts=st.lists(st.none() | anything, min_size=5, max_size=5),
)
def test_a_manifest_survives_its_file(tmp_path: Path, ids: list[str], texts: list[str | None]) -> None:
    rows = [
        Utterance(
            i,
            "d",
            n,
            text or "",
            text,
            MediaRef("a b.mp4", 0.1, 2.5, (0, 0, 0.5, 1)),
            None,
            {"e": None},
            "all",
        )
        for n, (i, text) in enumerate(zip(ids, texts, strict=False))
    ]
    manifest = Manifest("x", "1", {}, {"e": ("a",)}, tuple(rows), (), {"s": {"train": tuple(ids)}})
    write_manifest(manifest, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == manifest


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999), st.booleans())
def test_times_are_read_as_subtitles_are(h: int, m: int, s: int, ms: int, padded: bool) -> None:
    text = f"{h:02d}:{m:02d}:{s:02d},{ms:03d}" if padded else f"{h}:{m:02d}:{s:02d},{ms}"
    assert seconds_of(text) == pytest.approx(h * 3600 + m * 60 + s + ms / 1000)


@given(anything)
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    if not any(c.isdigit() for c in text):
        with pytest.raises(ValueError, match="not a time"):
            seconds_of(text)


@given(st.text())
def test_repair_is_final_and_keeps_what_is_not_broken(text: str) -> None:
    assert repair(repair(text)) == repair(text) and len(repair(text)) == len(text)
    assert not any(ord(c) in C1 for c in repair(text))
    assert all(a == b for a, b in zip(text, repair(text), strict=True) if ord(a) not in C1)


@given(st.binary(max_size=200))
def test_any_bytes_give_rows_or_findings(content: bytes) -> None:
    for body in (content, HEADER.encode() + b"\r\n" + content):
        found = read_table(body, "x.csv")
        assert found.rows or found.findings


def test_reasons_are_of_the_vocabulary(tmp_path: Path, clip: Path) -> None:
    found = scan("meld", tables(tmp_path / "r"))
    assert all(p.reason in list(Reason) for p in found.problems if p.status != "note")
    assert Counter(u.part for u in found.utterances) == {"train": 3, "dev": 3, "test": 3}
