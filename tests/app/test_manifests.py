"""Scans as a user sees them: what is absent is said aloud, another folder is not taken for the one that was scanned."""

import errno
import json
import os
import shutil
import wave
from pathlib import Path
from typing import Any

import pytest

from app.features import features_without_input
from app.manifests import problem_rows
from ercache.manifest import Manifest, Problem, read_manifest
from extract.corpora.common.origin import origin_differences
from tests.extract.conftest import scanned_here  # noqa: F401 (a fixture)
from tests.support.command import Run

pytestmark = pytest.mark.usefixtures("scanned_here", "project")

TABLE = "file,text,speaker\n"


def clips(root: Path, *names: str, level: int = 1) -> Path:
    """A folder of short sounds."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(root / name), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(8000)
            out.writeframes(bytes([level, 0]) * 8000)
    return root


def corpus(root: Path, *names: str, level: int = 1, rows: int | None = None) -> Path:
    """Sounds with a table of them; `rows` more of the table have no sound."""
    clips(root, *names, level=level)
    listed = [*names, *(f"gone{n}.wav" for n in range(rows or 0))]
    (root / "utterances.csv").write_text(TABLE + "".join(f"{name},Hi {name},Ann\n" for name in listed))
    return root


def test_problems_are_counted_in_utterances_with_the_first_details(tmp_path: Path, run: Run) -> None:
    rows = "".join(f"x{n},{'Ann' if n > 11 else ''}\n" for n in range(48))
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "utterances.csv").write_text("text,speaker\n" + rows)
    shown = run("scan", "folder", "--root", tmp_path / "r")
    (line,) = [line for line in shown.out.splitlines() if "no_speaker" in line]
    assert [cell.strip() for cell in line.strip("│").split("│")][2:] == [
        "12", "12 of 48 utterances have the speaker 'unknown'",
    ]  # fmt: skip
    told = json.loads(run("scan", "folder", "--root", tmp_path / "r", "--json").out)["problems"]
    assert {"utterance", "status", "reason"} <= set(told[0]) and told[0]["count"] == 12


def test_a_reason_with_many_problems_shows_the_first_ones() -> None:
    many = [Problem(f"u{n}", "missing", "absent", f"{n}.mp4") for n in range(5)]
    both = [Problem("u1", "note", "beyond_the_file", f"its {medium}") for medium in ("pictures", "sound")]
    rows = problem_rows([Problem(None, "note", "archives", "x.zip"), *many, *both])
    assert rows == [
        ("missing", "absent", "5", "u0: 0.mp4\nu1: 1.mp4\nu2: 2.mp4\nand 2 more"),
        ("note", "archives", "", "x.zip"),
        ("note", "beyond_the_file", "1", "u1: its pictures\nu1: its sound"),
    ]


def test_many_absent_clips_give_a_warning(tmp_path: Path, run: Run) -> None:
    root = corpus(tmp_path / "r", "a.wav", rows=3)
    ran = run("scan", "folder", "--root", root)
    assert (
        ran.code == 0 and f"3 of 4 clips are absent; check that --root {root} is the right folder" in ran.err
    )
    quiet = run("scan", "folder", "--root", corpus(tmp_path / "q", *(f"{n}.wav" for n in range(20)), rows=1))
    assert quiet.code == 0 and "warning: 1 of" not in quiet.err


@pytest.mark.parametrize("command", [("scan",), ("extract", "--features", "mfcc")])
def test_without_any_clip_nothing_is_written(
    tmp_path: Path, project: Path, run: Run, command: tuple[str, ...]
) -> None:
    root = clips(tmp_path / "r", "clips/a.wav")
    (root / "utterances.csv").write_text(TABLE + "a.wav,Hi,Ann\nb.wav,Yes,Bob\n")
    ran = run(command[0], "folder", "--root", root, *command[1:])
    assert ran.code == 1 and "no clip is usable (2 of 2 clips are absent); nothing was written" in ran.err
    assert "a.wav may be clips/a.wav" in ran.err and not (project / "data").exists()


def test_a_scan_of_a_wrong_root_keeps_the_good_manifest(tmp_path: Path, project: Path, run: Run) -> None:
    run("scan", "folder", "--root", corpus(tmp_path / "a", "a.wav"))
    before = (project / "data/manifests/folder.jsonl").read_bytes()
    empty = tmp_path / "b"
    empty.mkdir()
    shutil.copy(tmp_path / "a" / "utterances.csv", empty)
    assert run("scan", "folder", "--root", empty).code == 1
    assert (project / "data/manifests/folder.jsonl").read_bytes() == before


def test_another_folder_is_refused_and_a_moved_one_accepted(tmp_path: Path, project: Path, run: Run) -> None:
    a, b = corpus(tmp_path / "a", "a.wav"), corpus(tmp_path / "b", "a.wav", "b.wav")
    run("scan", "folder", "--root", a)
    refused = run("extract", "folder", "--root", b, "--features", "mfcc")
    assert refused.code == 2 and "utterances.csv: not as when it was scanned" in refused.err
    assert f"ercache scan folder --root {b}" in refused.err and not (project / "data/caches").exists()
    a.rename(tmp_path / "moved")
    manifest = read_manifest(project / "data/manifests/folder.jsonl")
    assert origin_differences(manifest, tmp_path / "moved") == []


def test_reasons_to_refuse_a_root_folder(tmp_path: Path, run: Run) -> None:
    run("scan", "folder", "--root", corpus(tmp_path / "a", "a.wav", "b.wav"))
    manifest = read_manifest(Path("data/manifests/folder.jsonl"))
    table = tmp_path / "a" / "utterances.csv"
    alone = shutil.copytree(tmp_path / "a", tmp_path / "media alone", ignore=lambda *_: ["utterances.csv"])
    assert origin_differences(manifest, alone) == [], "the media of a colleague who has the manifest"
    other = clips(tmp_path / "other", "a.wav", level=2)
    assert origin_differences(manifest, other) == ["utterances.csv: not there"]
    shutil.copy(table, other)
    assert origin_differences(manifest, other) == [], "changed media are told by the extraction, file by file"
    (other / "a.wav").unlink()
    assert origin_differences(manifest, other) == ["none of its 2 media files is there (a.wav, b.wav)"]
    table.write_text(table.read_text() + "c.wav,Hi,Ann\n")
    assert origin_differences(manifest, tmp_path / "a") == ["utterances.csv: not as when it was scanned"]


def test_file_names_are_the_annotation_of_some_corpora(tmp_path: Path, run: Run) -> None:
    for actor in ("01", "02"):
        clips(tmp_path / actor, f"Actor_{actor}/03-01-05-01-01-01-{actor}.wav")
    run("scan", "ravdess", "--root", tmp_path / "01")
    refused = run("extract", "ravdess", "--root", tmp_path / "02", "--features", "mfcc")
    assert refused.code == 2 and "none of its 1 media files is there" in refused.err


def test_a_scan_warns_about_the_manifest_that_it_replaces(tmp_path: Path, run: Run) -> None:
    a = corpus(tmp_path / "a", "a.wav", "b.wav")
    assert "made from other files" not in run("scan", "folder", "--root", a).err
    assert "made from other files" not in run("scan", "folder", "--root", a).err
    told = run("scan", "folder", "--root", corpus(tmp_path / "b", "b.wav", "c.wav", "d.wav")).err
    assert (
        "(changed: utterances.csv). Its 2 utterances are replaced by 3, 1 of them with the same ids" in told
    )
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHi\n")
    told = run("scan", "folder", "--root", tmp_path / "c").err
    assert "(new: talk.srt, gone: utterances.csv). Its 3 utterances are replaced by 1, 0 of them" in told


def test_features_of_the_default_profile_without_input_are_left_out(
    tmp_path: Path, project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from extract.engine import Extraction

    asked: list[list[str]] = []

    def extracted(manifest: Manifest, features: list, *_: object, **__: object) -> Extraction:  # type: ignore[type-arg]
        asked.append([feature.name for feature in features])
        assert not features_without_input(features, manifest.utterances)
        return Extraction(seconds=1.0)

    monkeypatch.setattr("extract.engine.extract_corpus", extracted)
    with (project / "params.yaml").open("a") as stream:
        stream.write("profiles: {default: [words, mfcc]}\n")
    root = clips(tmp_path / "r", "a.wav")
    (root / "utterances.csv").write_text("file\na.wav\n")
    for profile in ((), ("--profile", "default")):
        ran = run("extract", "folder", "--root", root, *profile)
        assert ran.code == 0 and "warning: words is left out: no utterance has a text" in ran.err
    assert asked == [["mfcc"], ["mfcc"]]


def test_a_tilde_means_the_home_folder(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    corpus(tmp_path / "clips", "a.wav")
    assert run("scan", "folder", "--root=~/clips", "--out=~/m.jsonl").code == 0
    assert (tmp_path / "m.jsonl").is_file() and not Path("~").exists()
    Path("params.local.yaml").write_text("roots: {folder: ~/clips}\n")
    assert run("scan", "folder").code == 0
    assert f"no cache files in {tmp_path}" in run("cache", "ls", "~").err


def test_a_folder_without_params_gives_a_clear_error(project: Path, run: Run) -> None:
    (project / "params.yaml").unlink()
    for words in (("train", "concat"), ("extract", "folder"), ("sweep", "concat")):
        ran = run(*words)
        assert ran.code == 2 and "there is no params.yaml here" in ran.err


def test_an_unknown_corpus_is_reported_with_the_most_similar_name(run: Run) -> None:
    ran = run("train", "--model", "concat", "--corpus", "melt", "--features", "mfcc")
    assert ran.code == 2 and "unknown corpus 'melt'" in ran.err and "did you mean 'meld'?" in ran.err


@pytest.mark.parametrize(
    ("number", "said"), [(errno.EACCES, "use a folder of your own"), (errno.EROFS, "is read-only")]
)
def test_a_folder_without_write_access_gives_a_message_with_a_hint(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    make = Path.mkdir

    def refuse(path: Path, *rest: Any, **options: Any) -> None:
        if path.name == "manifests":
            raise OSError(number, os.strerror(number), str(path))
        make(path, *rest, **options)

    root = corpus(tmp_path / "r", "a.wav")
    monkeypatch.setattr(Path, "mkdir", refuse)
    ran = run("scan", "folder", "--root", root)
    assert ran.code in (1, 2) and "Errno" not in ran.err and said in ran.err and "data/manifests" in ran.err


def test_a_file_name_that_is_no_utf8_does_not_stop_the_output(tmp_path: Path, run: Run) -> None:
    root = corpus(tmp_path / os.fsdecode(b"M\xfcller"), "a.wav")
    shutil.copy(root / "a.wav", os.fsencode(root) + b"/\xff.wav")
    for json_too in ((), ("--json",)):
        ran = run("scan", "folder", "--root", root, *json_too)
        assert ran.code == 0 and "name_not_utf8" in ran.out and "xff.wav" in ran.out


def test_a_manifest_that_would_be_a_folder_is_refused_before_the_scan(tmp_path: Path, run: Run) -> None:
    root = corpus(tmp_path / "clips", "a.wav")
    Path("made").mkdir()
    ran = run("scan", "folder", "--root", root, "--out", "made")
    assert ran.code == 2 and "--out made is a folder" in ran.err and "made/folder.jsonl" in ran.err
    assert ran.out == "" and list(Path("made").iterdir()) == []
