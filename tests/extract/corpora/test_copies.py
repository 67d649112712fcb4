"""Corpora as mirrors hold them: files twice, in the wrong folder, under names that are no text. None is a surprise."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ercache.manifest import Manifest, Problem, read_manifest, write_manifest
from extract.corpora import CORPORA
from extract.corpora.common.copies import Copies, problems_of_copies
from extract.corpora.common.inspect_media import MediaFacts
from extract.corpora.common.listing import escaped, list_folder
from tests.support.corpus_folder import filmed, put

pytestmark = pytest.mark.usefixtures("scanned_here")

TAKE = "01-05-01-01-01-{actor}"
TABLE = "Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\nHi,Ann,joy,positive,0,0\n"
MELD = dict.fromkeys((f"{part}_sent_emo.csv" for part in ("train", "dev", "test")), TABLE)
TEXT = "Raw/Transcript/Segmented/Combined"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two films of other bytes."""
    folder = tmp_path_factory.mktemp("films")
    return filmed(folder / "one.mp4", 1), filmed(folder / "two.mp4", 2)


def scan(corpus: str, root: Path) -> Manifest:
    entry = CORPORA[corpus]
    return entry.scan(root, entry.Switches())


def told(manifest: Manifest, reason: str) -> list[str]:
    return [p.detail for p in manifest.problems if p.reason == reason]


@pytest.mark.parametrize(("place", "misfiled"), [("", 0), ("Actor_01/", 1)])
def test_the_copy_in_the_folder_of_its_actor_wins_whatever_the_order(
    tmp_path: Path, films: tuple[Path, Path], place: str, misfiled: int
) -> None:
    name = f"01-{TAKE.format(actor='02')}.mp4"
    root = put(put(tmp_path / "r", f"Actor_02/{name}", films[0]), f"{place}{name}", films[1])
    found = scan("ravdess", root)
    (u,) = found.utterances
    assert u.video and u.video.path == f"Actor_02/{name}"
    (detail,) = told(found, "repeated_file")
    assert f"1 that differ: {place}{name} (Actor_02/{name} was taken)" in detail
    assert ["its name says actor 02" in detail for detail in told(found, "other_folder")] == [True] * misfiled


def test_a_mirror_that_holds_everything_twice_is_one_note_that_says_which_differ(
    tmp_path: Path, films: tuple[Path, Path]
) -> None:
    root = tmp_path / "r"
    for n in range(1, 25):
        name = f"01-{TAKE.format(actor=f'{n:02d}')}.mp4"
        put(put(root, f"Actor_{n:02d}/{name}", films[0]), f"all/Actor_{n:02d}/{name}", films[n in (3, 7)])
    found = scan("ravdess", root)
    (detail,) = told(found, "repeated_file")
    assert detail.startswith("24 files are there again and left out: 22 with the same bytes")
    assert "2 that differ: all/Actor_03/" in detail and "all/Actor_07/" in detail
    assert len(detail) < 600 and all(
        ((u.video and u.video.path) or "").startswith("Actor") for u in found.utterances
    )


def test_a_turn_of_iemocap_is_taken_from_its_own_dialogue(tmp_path: Path, films: tuple[Path, Path]) -> None:
    labels = "[1.0 - 2.0]\tSes02F_impro01_F000\tang\t[2.5, 2.5, 2.5]\n"
    root = put(tmp_path / "r", "Session2/dialog/EmoEvaluation/Ses02F_impro01.txt", labels)
    right = "Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav"
    for path in (right, right.replace("Session2", "Session1"), right.replace("impro01/", "impro00/")):
        put(root, path, films[path != right])
    found = scan("iemocap", root)
    (u,) = found.utterances
    assert u.audio and u.audio.path == right
    assert "2 that differ" in told(found, "repeated_file")[0]


def test_second_copies_of_mosei_are_told(tmp_path: Path, films: tuple[Path, Path]) -> None:
    root = put(tmp_path / "r", f"{TEXT}/a.txt", "a___0___0.0___1.0___Hi\n")
    for place, film in (("Raw", films[0]), ("old/Raw", films[1])):
        put(root, f"{place}/Videos/Full/Combined/a.mp4", film)
    found = scan("mosei", root)
    assert "1 that differ: old/Raw/Videos/Full/Combined/a.mp4" in told(found, "repeated_file")[0]


def test_a_copy_that_cannot_be_read_is_told_as_such(tmp_path: Path, films: tuple[Path, Path]) -> None:
    name = f"01-{TAKE.format(actor='02')}.mp4"
    root = put(put(tmp_path / "r", f"Actor_02/{name}", films[0]), "x/keep", "")
    os.symlink("nowhere", root / "x" / name)
    assert f"1 that could not be compared: x/{name}" in told(scan("ravdess", root), "repeated_file")[0]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=12))
def test_of_each_kind_one_is_taken_and_the_others_are_its_copies(files: list[tuple[str, int]]) -> None:
    copies: Copies[str] = Copies()
    for n, (key, misplacement) in enumerate(files):
        copies.add(key, f"{key}{misplacement}{n:02d}", misplacement)
    assert {*copies.chosen.values(), *copies.duplicates} == {
        f"{k}{s}{n:02d}" for n, (k, s) in enumerate(files)
    }
    assert len(copies.chosen) + len(copies.duplicates) == len(files)
    assert all(
        chosen == min([chosen, path]) and chosen[0] == path[0] for path, chosen in copies.duplicates.items()
    )


def test_no_copies_are_no_note() -> None:
    assert problems_of_copies({}, {"a": MediaFacts("1")}) == []


STRAY = b"M\xfcller.mp4"


@pytest.mark.parametrize("corpus", ["folder", "meld", "ravdess", "cremad", "iemocap", "mosei"])
def test_a_name_that_is_no_utf8_is_told_escaped_and_the_rest_is_scanned(
    tmp_path: Path, films: tuple[Path, Path], corpus: str
) -> None:
    root = tmp_path / "r"
    files: dict[str, dict[str, str | Path]] = {
        "folder": {"utterances.csv": "file,text\na.mp4,Hi\n", "a.mp4": films[0]},
        "meld": {**MELD, "train_splits/dia0_utt0.mp4": films[0]},
        "ravdess": {f"Actor_02/01-{TAKE.format(actor='02')}.mp4": films[0]},
        "cremad": {"AudioWAV/1001_DFA_ANG_XX.wav": films[0]},
        "iemocap": {
            "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": "[1.0 - 2.0]\tSes01F_impro01_F000\tang\t[2, 2, 2]\n"
        },
        "mosei": {f"{TEXT}/a.txt": "a___0___0.0___1.0___Hi\n"},
    }
    for path, content in files[corpus].items():
        put(root, path, content)
    folder = os.fsencode(root) + b"/Bj\xf6rk"
    os.mkdir(folder)
    for place in (os.fsencode(root), folder):
        shutil.copy(films[0], os.path.join(place, STRAY))
    found = scan(corpus, root)
    (detail,) = told(found, "name_not_utf8")
    assert detail.startswith("2 files left out, whose names are no UTF-8: ")
    assert r"M\xfcller.mp4" in detail and r"Bj\xf6rk/M\xfcller.mp4" in detail
    write_manifest(found, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == found and found.utterances


@given(st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name))
def test_any_name_of_a_file_is_text_when_escaped(name: bytes) -> None:
    shown = escaped(os.fsdecode(name))
    assert shown.encode() and (shown == name.decode() if _text(name) else "\\x" in shown)


def _text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_names_of_any_language_are_files(tmp_path: Path) -> None:
    names = ["Zoë.mp4", "日本.mp4", "Ж.mp4", "😀.mp4"]
    for name in names:
        put(tmp_path, name, "")
    assert sorted(list_folder(tmp_path).files) == sorted(names)


def test_how_many_utterances_a_problem_concerns_survives_the_manifest(tmp_path: Path) -> None:
    problems = (Problem(None, "note", "x", "many", 12), Problem(None, "note", "y"), Problem("a", "note", "z"))
    found = Manifest("c", "1", {}, {}, (), problems)
    write_manifest(found, tmp_path / "m.jsonl")
    assert [p.count for p in read_manifest(tmp_path / "m.jsonl").problems] == [12, None, None]
