"""Folders as users have them: pipes, links, other cases, halves and copies are told by name, and nothing hangs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from ercache.errors import CorpusError
from ercache.manifest import Manifest
from extract.corpora import CORPORA
from extract.corpora.common.listing import list_folder
from tests.support.corpus_folder import filmed

pytestmark = pytest.mark.usefixtures("scanned_here")

SRT = "1\n00:00:00,000 --> 00:00:01,000\nANN: Hi\n"
TABLE = "Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\nHi,Ann,joy,positive,0,0\n"
MELD = ("train_sent_emo.csv", "dev_sent_emo.csv", "test_sent_emo.csv")
CLIPS = ("Train_Splits", "DEV_splits_complete", "Output_Repeated_Splits_Test")
TEXT = "Raw/Transcript/Segmented/Combined"
WAV = "Raw/Audio/Full/WAV_16000"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filmed(tmp_path_factory.mktemp("film") / "film.mp4", 2)


def put(root: Path, files: dict[str, str | Path]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copy(content, root / name)
        else:
            (root / name).write_text(content)
    return root


def meld(root: Path) -> Path:
    return put(root, dict.fromkeys(MELD, TABLE))


def mosei(root: Path, *videos: str) -> Path:
    return put(root, {f"{TEXT}/{v}.txt": f"{v}___0___0.0___1.0___Hi\n" for v in videos})


def csd(path: Path, video: str) -> None:
    with h5py.File(path, "w") as file:
        group = file.create_group(f"All Labels/data/{video}")
        group["features"] = np.zeros((1, 7), np.float32)
        group["intervals"] = np.array([[0.0, 1.0]])


def scan(corpus: str, root: Path) -> Manifest:
    entry = CORPORA[corpus]
    return entry.scan(root, entry.Switches())


def refused(corpus: str, root: Path) -> CorpusError:
    with pytest.raises(CorpusError) as caught:
        scan(corpus, root)
    assert caught.value.hint
    return caught.value


def told(manifest: Manifest, reason: str) -> list[str]:
    return [p.detail for p in manifest.problems if p.reason == reason]


@pytest.fixture(params=["pipe", "outside", "dangling"])
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """What the scan says of a file, and such a file; the place that the outside link leads to has good content."""
    path = tmp_path / "bad"
    if request.param == "pipe":
        os.mkfifo(path)
        yield "a pipe", path
    elif request.param == "outside":
        yield "out of the corpus root", path
    else:
        path.symlink_to("nowhere")
        yield "leads nowhere", path


def replace(target: Path, bad: Path, content: str) -> None:
    """Put the bad file in a target's place."""
    target.unlink(missing_ok=True)
    if bad.is_symlink() or bad.exists():
        os.rename(bad, target)
    else:
        bad.write_text(content)
        target.symlink_to(bad)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("corpus", "name", "content"),
    [
        ("folder", "a.srt", SRT),
        ("folder", "utterances.csv", "id,text\na,Hi\n"),
        ("meld", "train_sent_emo.csv", TABLE),
        ("mosei", "CMU_MOSEI_Labels.csd", "x"),
    ],
)
def test_a_bad_table_or_transcript_ends_the_scan_by_name(
    tmp_path: Path, bad: tuple[str, Path], corpus: str, name: str, content: str
) -> None:
    root = meld(tmp_path / "r") if corpus == "meld" else put(tmp_path / "r", {"x.txt": ""})
    replace(root / name, bad[1], content)
    text = str(refused(corpus, root))
    assert name in text and bad[0] in text and "Errno" not in text


@pytest.mark.timeout(60)
def test_bad_files_of_mosei_are_told_and_the_others_read(tmp_path: Path, bad: tuple[str, Path]) -> None:
    root = mosei(tmp_path / "r", "a", "b")
    replace(root / TEXT / "b.txt", bad[1], "b___0___0___1___Hi\n")
    found = scan("mosei", root)
    assert [u.id for u in found.utterances] == ["a_0"]
    (detail,) = told(found, "unreadable_transcript")
    assert f"{TEXT}/b.txt" in detail and bad[0] in detail


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["standard_folds.json", "Raw/Labels/a.csv"])
def test_bad_folds_and_raters_of_mosei_are_told(tmp_path: Path, bad: tuple[str, Path], name: str) -> None:
    root = put(mosei(tmp_path / "r", "a"), {name: ""})
    replace(root / name, bad[1], "{}")
    found = scan("mosei", root)
    (detail,) = told(found, "unreadable_folds" if name.endswith("json") else "unreadable_table")
    assert name in detail and bad[0] in detail and name not in found.sources


def test_a_dangling_link_is_told_with_the_other_findings(tmp_path: Path) -> None:
    root = meld(tmp_path / "r")
    (root / MELD[0]).unlink()
    (root / MELD[0]).symlink_to("nowhere")
    (root / MELD[1]).write_text("nothing")
    (root / MELD[2]).unlink()
    text = "\n".join(refused("meld", root).details)
    assert f"{MELD[0]}: is a link" in text and f"{MELD[1]}: has no column" in text and MELD[2] in text


def test_a_link_inside_the_root_is_followed(tmp_path: Path) -> None:
    root = put(tmp_path / "r", {"old/t.csv": "id,text\na,Hi\n"})
    (root / "utterances.csv").symlink_to("old/t.csv")
    assert [u.id for u in scan("folder", root).utterances] == ["a"]


def test_meld_is_found_in_any_case(tmp_path: Path, film: Path) -> None:
    root = put(tmp_path / "r", dict.fromkeys(("Train_Sent_Emo.csv", "DEV_sent_emo.CSV", MELD[2]), TABLE))
    put(root, {f"{folder}/Dia0_Utt0.MP4": film for folder in CLIPS})
    found = scan("meld", root)
    assert [u.video and u.video.path for u in found.utterances] == [f"{f}/Dia0_Utt0.MP4" for f in CLIPS]
    assert all(u.video and u.video.sha256 for u in found.utterances)
    assert not told(found, "clip_without_row") and not told(found, "not_in_corpus")


def test_archives_are_found_in_any_case(tmp_path: Path) -> None:
    assert list_folder(put(tmp_path / "r", {"A.ZIP": "", "b.Tar.Gz": ""})).archives() == ["A.ZIP", "b.Tar.Gz"]


def test_of_equally_deep_files_the_exact_name_comes_first(tmp_path: Path) -> None:
    folder = list_folder(put(tmp_path / "r", {"B.csv": "", "b.csv": "", "x/b.csv": ""}))
    assert folder.files_named("b.csv") == ["b.csv", "B.csv", "x/b.csv"]


def test_meld_names_what_is_still_packed(tmp_path: Path, film: Path) -> None:
    root = put(meld(tmp_path / "r"), {"train.tar.gz": "", "MELD.Raw.tar.gz": ""})
    (detail,) = told(scan("meld", root), "not_in_corpus")
    assert "train.tar.gz" in detail and "MELD.Raw.tar.gz" in detail
    put(root, {"test.tar.gz": "", "train_splits/dia0_utt0.mp4": film})
    dev, test = told(scan("meld", root), "not_in_corpus")
    assert dev.startswith("dev:") and "test.tar.gz" in test


def test_meld_tells_of_second_copies(tmp_path: Path, film: Path) -> None:
    root = put(meld(tmp_path / "r"), {"old/train_sent_emo.csv": TABLE})
    put(root, {f"{place}train_splits/dia0_utt0.mp4": film for place in ("", "old/")})
    found = scan("meld", root)
    (detail,) = told(found, "repeated_file")
    assert "old/train_sent_emo.csv" in detail and "old/train_splits/dia0_utt0.mp4" in detail
    assert found.utterances[0].video and found.utterances[0].video.path == "train_splits/dia0_utt0.mp4"


def test_the_label_csd_of_mosei_is_found_in_another_case(tmp_path: Path) -> None:
    root = mosei(tmp_path / "r", "a")
    csd(root / "cmu_mosei_labels.CSD", "a")
    (u,) = scan("mosei", root).utterances
    assert u.id == "a_0" and u.labels["sentiment7"] == "0"


def test_mosei_without_videos_tells_of_every_absent_wav(tmp_path: Path, film: Path) -> None:
    root = put(mosei(tmp_path / "r", "a", "b"), {f"{WAV}/a.wav": film})
    found = scan("mosei", root)
    absent = [(p.utterance, p.detail) for p in found.problems if p.reason == "absent"]
    assert absent == [("b_0", f"{WAV}/b.wav")]


def test_mosei_tells_whose_sound_is_of_the_video(tmp_path: Path, film: Path) -> None:
    root = put(mosei(tmp_path / "r", "a", "b"), {f"Raw/Videos/Full/Combined/{v}.mp4": film for v in "ab"})
    assert not told(scan("mosei", root), "sound_from_video")
    (detail,) = told(scan("mosei", put(root, {f"{WAV}/a.wav": film})), "sound_from_video")
    assert detail.startswith("b:")


def test_mosei_lists_the_files_that_it_read(tmp_path: Path) -> None:
    root = put(mosei(tmp_path / "r", "a"), {"Raw/Labels/x.csv": "no,column\n", "Raw/Labels/y.csv": "x"})
    put(root, {"standard_folds.json": '{"train": ["a"], "valid": [], "test": []}'})
    assert set(scan("mosei", root).sources) == {f"{TEXT}/a.txt", "standard_folds.json"}
    csd(root / "CMU_MOSEI_Labels.csd", "a")
    assert set(scan("mosei", root).sources) == {
        *(f"{TEXT}/a.txt", "standard_folds.json", "CMU_MOSEI_Labels.csd"),
    }


def test_cues_without_a_speaker_are_told_once(tmp_path: Path) -> None:
    text = "1\n00:00:00,000 --> 00:00:01,000\n- ANN: Hi\n- Yes\n\n2\n00:00:01,000 --> 00:00:02,000\nOh\n"
    found = scan("folder", put(tmp_path / "r", {"a.srt": text}))
    assert told(found, "no_speaker") == ["2 of 3 utterances have the speaker 'unknown'"]
