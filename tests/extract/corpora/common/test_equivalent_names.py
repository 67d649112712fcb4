"""Names that are one name to people: composed or not, in any case; found, and told how."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.corpora.common.equivalent_names import name_key, to_nfc
from extract.corpora.common.listing import FolderListing
from extract.corpora.folder.rows import Recordings
from tests.extract.corpora.test_folder import folder, scan, sound, told

pytestmark = pytest.mark.usefixtures("scanned_here")

ZOE = "Zo\u00eb_M\u00fcller"
APART = unicodedata.normalize("NFD", ZOE)


@pytest.mark.parametrize(("on_disk", "written"), [(APART, ZOE), (ZOE, APART)])
@pytest.mark.parametrize("suffix", [".wav", ""])
def test_a_name_in_another_unicode_form_is_found_and_told(
    tmp_path: Path, on_disk: str, written: str, suffix: str
) -> None:
    sound(tmp_path / "r" / "clips" / f"{on_disk}.wav")
    root = folder(tmp_path / "r", {"utterances.csv": f"file,text\nclips/{written}{suffix},Hi\n"})
    found = scan(root)
    (u,) = found.utterances
    assert u.audio and u.audio.path == f"clips/{on_disk}.wav" and u.audio.sha256
    assert u.id == u.dialogue == f"clips__{ZOE}"
    (problem,) = [p for p in found.problems if p.reason == "other_form"]
    assert problem.count == 1 and "as macOS does" in problem.detail
    assert not told(found, "media_without_row") and not told(found, "absent")


@pytest.mark.parametrize("written", [f"{ZOE}.WAV", ZOE.upper(), f"{APART.lower()}.wav"])
def test_another_case_and_another_form_at_once_are_found(tmp_path: Path, written: str) -> None:
    sound(tmp_path / "r" / f"{APART}.wav")
    found = scan(folder(tmp_path / "r", {"utterances.csv": f"file,text\n{written},Hi\n"}))
    (u,) = found.utterances
    assert u.audio and u.audio.sha256 and len(told(found, "other_case")) == 1


def test_of_two_files_that_differ_in_case_none_is_guessed(tmp_path: Path) -> None:
    for name in ("a.wav", "A.wav"):
        sound(tmp_path / "r" / name)
    found = scan(folder(tmp_path / "r", {"utterances.csv": "file,text\nA.WAV,Hi\na.wav,Yes\n"}))
    assert told(found, "ambiguous_name") == ["1 utterance: A.WAV may be A.wav, a.wav"]
    assert [u.audio and bool(u.audio.sha256) for u in found.utterances] == [False, True]


def test_an_absent_file_that_lies_in_another_folder_is_told(tmp_path: Path) -> None:
    sound(tmp_path / "r" / "clips" / "a.wav")
    found = scan(folder(tmp_path / "r", {"utterances.csv": "file,text\nold/A.wav,Hi\ngone.wav,Yes\n"}))
    assert told(found, "other_place") == [
        "1 absent file of the same name elsewhere: old/A.wav may be clips/a.wav"
    ]
    assert told(found, "absent") == ["old/A.wav", "gone.wav"]


@given(st.text(max_size=12))
def test_folding_forgets_case_and_form_and_nothing_twice(name: str) -> None:
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    assert len({name_key(form) for form in forms}) == len({to_nfc(form) for form in forms}) == 1
    assert name_key(name_key(name)) == name_key(name)


@given(
    st.lists(
        st.sampled_from(["a.mp4", "A.mp4", "a.wav", "b/a.mp4", f"{ZOE}.wav", f"{APART}.wav"]), unique=True
    )
)
def test_every_file_is_found_by_its_own_name_without_a_note(files: list[str]) -> None:
    recordings = Recordings(FolderListing(Path(), tuple(files)))
    assert [recordings.find(path) for path in files] == [([path], None) for path in files]
