"""IEMOCAP's folders: found however they were unpacked; what is absent or unusable is told, and nothing else is lost."""

import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from ercache.manifest import Utterance
from tests.support.iemocap_tree import (
    DIALOGUES,
    IMPRO,
    PAIR,
    SCRIPT,
    Line,
    dialogue,
    make_media,
    one,
    refused,
    scan,
    told,
    video_of,
    write_annotation,
    write_release,
)

pytestmark = pytest.mark.usefixtures("scanned_here")


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_media(tmp_path_factory.mktemp("media"))


# Folders


def test_litter_of_macos_is_not_read(tmp_path: Path, media: Path) -> None:
    root = write_release(tmp_path / "r", media, PAIR)
    assert (root / "Session1" / "dialog" / "EmoEvaluation" / f"._{IMPRO}.txt").is_file()
    with_litter = scan(root)
    for path in root.rglob("._*"):
        path.unlink()
    assert scan(root) == with_litter


@pytest.mark.parametrize("inside", ["", "IEMOCAP_full_release", "a/IEMOCAP_full_release"])
def test_the_release_is_found_at_any_depth(tmp_path: Path, inside: str) -> None:
    write_annotation(tmp_path / inside, PAIR)
    assert len(scan(tmp_path).utterances) == 13


def test_a_single_session_may_be_the_root(tmp_path: Path, media: Path) -> None:
    root = write_release(tmp_path / "r", media, PAIR)
    (root / "Session1" / "sentences" / "wav" / IMPRO / f"{IMPRO}_F000.wav").unlink()
    found = scan(root / "Session1")
    assert video_of(found, f"{IMPRO}_F000").path == f"dialog/avi/DivX/{IMPRO}.avi"
    (absent,) = [p for p in found.problems if p.reason == "absent"]
    assert absent.detail == f"sentences/wav/{IMPRO}/{IMPRO}_F000.wav"


def test_names_in_another_case_are_the_same_names(tmp_path: Path, media: Path) -> None:
    write_release(tmp_path / "r", media, PAIR, litter=False)
    for path in [p for p in (tmp_path / "r").rglob("*") if p.is_file()]:
        other = tmp_path / "R" / str(path.relative_to(tmp_path / "r")).upper()
        other.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, other)
    plain, upper = scan(tmp_path / "r"), scan(tmp_path / "R")
    assert [_pathless(u) for u in upper.utterances] == [_pathless(u) for u in plain.utterances]
    assert upper.problems == plain.problems


def _pathless(u: Utterance) -> Utterance:
    assert u.video and u.audio
    return replace(u, video=replace(u.video, path=""), audio=replace(u.audio, path=""))


def test_of_two_copies_the_one_nearer_to_the_root_counts(tmp_path: Path) -> None:
    write_annotation(tmp_path, PAIR)
    write_annotation(tmp_path / "copy" / "again", {IMPRO: [Line("F000", 0, 1, "ang", "Other.")]})
    found = scan(tmp_path)
    assert found.utterances == scan(write_annotation(tmp_path.with_name("plain"), PAIR)).utterances
    assert told(found, "repeated_file")[0].startswith("2 files")


def test_archives_that_are_still_packed_are_named(tmp_path: Path) -> None:
    (tmp_path / "IEMOCAP_full_release.tar.gz").write_bytes(b"x")
    assert "unpack IEMOCAP_full_release.tar.gz" in refused(tmp_path)
    write_annotation(tmp_path, PAIR)
    lines = told(scan(tmp_path), "not_in_corpus")
    assert len(lines) == 5 and all("still packed: IEMOCAP_full_release.tar.gz" in line for line in lines)


def test_a_folder_that_is_not_iemocap_says_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    text = refused(tmp_path)
    assert (
        "no annotation file such as dialog/EmoEvaluation" in text
        and "found: holiday.jpg" in text
        and "Session1 to Session5" in text
    )
    assert "not a folder" in refused(tmp_path / "nowhere")


# What is not there


def test_each_missing_file_is_told_and_its_turns_stay(tmp_path: Path, media: Path) -> None:
    root = write_release(tmp_path / "r", media, PAIR) / "Session1"
    (root / "dialog" / "avi" / "DivX" / f"{IMPRO}.avi").unlink()
    (root / "dialog" / "transcriptions" / f"{SCRIPT}.txt").unlink()
    (root / "sentences" / "wav" / SCRIPT / f"{SCRIPT}_M001.wav").unlink()
    (root / "sentences" / "wav" / SCRIPT / f"{SCRIPT}_F001.wav").unlink()
    (root / "sentences" / "wav" / SCRIPT / f"{SCRIPT}_F001.wav").write_bytes(b"")
    found = scan(tmp_path / "r")
    assert len(found.utterances) == 13
    missing = [
        (p.utterance, p.reason, p.detail) for p in found.problems if p.status == "missing" and p.utterance
    ]
    absent = {(u, d) for u, reason, d in missing if reason == "absent"}
    wav = f"Session1/sentences/wav/{SCRIPT}/{SCRIPT}_M001.wav"
    avi = f"Session1/dialog/avi/DivX/{IMPRO}.avi"
    assert absent == {(f"{IMPRO}_{x.name}", avi) for x in PAIR[IMPRO]} | {(f"{SCRIPT}_M001", wav)}
    assert Counter(reason for _, reason, _ in missing) == {"absent": 7, "no_text": 7, "empty_file": 1}
    assert video_of(found, f"{IMPRO}_F000").sha256 is None


def test_a_release_without_videos_gives_text_and_sound(tmp_path: Path, media: Path) -> None:
    root = write_release(tmp_path / "r", media, PAIR)
    shutil.rmtree(root / "Session1" / "dialog" / "avi")
    found = scan(root)
    assert all(u.video is None and u.audio and u.audio.sha256 and u.text for u in found.utterances)
    assert "Ses01: no dialog/avi/DivX/*.avi (pictures)" in told(found, "not_in_corpus")
    assert told(found, "absent") == []


def test_dialogues_without_annotation_are_told_and_left_out(tmp_path: Path, media: Path) -> None:
    root = write_release(tmp_path / "r", media, PAIR)
    (root / "Session1" / "dialog" / "EmoEvaluation" / f"{SCRIPT}.txt").unlink()
    found = scan(root)
    assert {u.dialogue for u in found.utterances} == {IMPRO}
    assert told(found, "dialogue_without_labels")[0].endswith(f"left out: {SCRIPT}")
    path = root / "Session1" / "dialog" / "transcriptions" / f"{IMPRO}.txt"
    path.write_text(f"{path.read_text()}{IMPRO}_F009 [001.0000-002.0000]: More.\n")
    assert f"{IMPRO}_F009" in told(scan(root), "turn_without_label")[0]


def test_half_a_corpus_scans_and_says_which_splits_it_cannot_have(tmp_path: Path) -> None:
    found = scan(write_annotation(tmp_path, PAIR))
    assert [line[:6] for line in told(found, "not_in_corpus") if "EmoEvaluation" in line] == [
        "Ses02:",
        "Ses03:",
        "Ses04:",
        "Ses05:",
    ]
    (line,) = told(found, "split_not_made")
    assert found.splits == {} and "session5, session5_fixed, session5_seed0, loso/Ses01, speaker" in line
    two = scan(write_annotation(tmp_path, {"Ses05F_impro01": dialogue("neu ang"), **PAIR}))
    assert {"session5", "loso/Ses05", "speaker/Ses05M"} <= set(two.splits)


# What cannot be used


def test_all_faults_of_the_annotation_are_told_at_once(tmp_path: Path) -> None:
    write_annotation(tmp_path, DIALOGUES)
    place = {n: tmp_path / f"Session{n}" / "dialog" / "EmoEvaluation" for n in range(1, 6)}
    path = place[1] / f"{IMPRO}.txt"
    added = [
        f"[1.0 - 2.0]\t{IMPRO}_F000\tneu\t[2, 2, 2]",
        f"[1.0 - 2.0]\t{IMPRO}_F008\tglee\t[2, 2, 2]",
        f"[one - 2.0]\t{IMPRO}_F009\tneu\t[2, 2, 2]",
        f"[1.0 - 2.0]\t{SCRIPT}_F000\tneu\t[2, 2, 2]",
        "[1.0 - 2.0]\t../../etc/F000\tneu\t[2, 2, 2]",
    ]
    path.write_text(path.read_text() + "\n".join(added) + "\n")
    (place[2] / "Ses02F_impro01.txt").write_bytes(b"")
    (place[3] / "Ses03F_impro01.txt").write_text("% nothing\n")
    (place[4] / "Ses04F_impro01.txt").unlink()
    (place[4] / "Ses04F_impro01.txt").symlink_to(tmp_path.parent)
    (place[5] / "Ses05F_impro01.txt").unlink()
    os.mkfifo(place[5] / "Ses05F_impro01.txt")
    text = refused(tmp_path)
    for part in (
        f"{IMPRO}_F000 stands there twice",
        "unknown label 'glee' (known: ang, hap",
        "no summary of a turn: '[one - 2.0]",
        f"{SCRIPT}_F000 is a turn of another dialogue",
        "'../../etc/F000' is no name of a turn",
        "Ses02F_impro01.txt: the file is empty",
        "Ses03F_impro01.txt: holds no line like",
        "Ses05F_impro01.txt: is a folder, a pipe",
        "unpack these files again",
    ):
        assert part in text
    assert f"Session1/dialog/EmoEvaluation/{IMPRO}.txt, line" in text


def test_links_out_of_the_root_are_not_followed(tmp_path: Path, media: Path) -> None:
    root = write_release(tmp_path / "r", media, PAIR) / "Session1" / "dialog"
    secret = tmp_path / "secret.txt"
    secret.write_text(f"{IMPRO}_F000 [000.5000-001.5000]: Secret.\n")
    (root / "transcriptions" / f"{IMPRO}.txt").unlink()
    (root / "transcriptions" / f"{IMPRO}.txt").symlink_to(secret)
    (root / "avi" / "DivX" / f"{IMPRO}.avi").unlink()
    (root / "avi" / "DivX" / f"{IMPRO}.avi").symlink_to(media / "dialogue.avi")
    found = scan(tmp_path / "r")
    assert one(found, f"{IMPRO}_F000").text is None and video_of(found, f"{IMPRO}_F000").sha256 is None
    assert len(told(found, "outside_root")) == 7
    (root / "EmoEvaluation" / f"{IMPRO}.txt").unlink()
    (root / "EmoEvaluation" / f"{IMPRO}.txt").symlink_to(secret)
    assert "leads out of the corpus root" in refused(tmp_path / "r")


def test_thousands_of_findings_are_cut_short(tmp_path: Path) -> None:
    write_annotation(tmp_path, {IMPRO: [Line("F000", 0, 1, "neu")]})
    path = tmp_path / "Session1" / "dialog" / "EmoEvaluation" / f"{IMPRO}.txt"
    path.write_text("[\n" * 100_000)
    text = refused(tmp_path)
    assert "and 99950 more" in text and len(text.splitlines()) < 60
