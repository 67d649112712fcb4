"""Notes from end to end: a feature of a partly damaged film is ok, and every output says that media were lost."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import cli
from ercache.errors import WorkError
from tests.support.odd_media import encoded, material

PARAMS = """
corpora: {folder: {}}
engine: {lanes: 1}
features: {mfcc: {encoder: audio/mfcc}}
profiles: {default: [mfcc]}
"""
CACHE = "data/caches/folder/audio/mfcc.all.h5"
SRT = "1\n00:00:00,000 --> 00:00:02,000\nANN: Hi there\n"


class Project:
    """A project folder with its own store."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"
        self.err = ""

    def run(self, *arguments: str) -> str:
        """Run a command, which must succeed. Returns its stdout and keeps its stderr in `err`."""
        environment = {"COLUMNS": "200", "ERCACHE_STORE": str(self.store)}
        result = CliRunner().invoke(cli, arguments, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        self.err = result.stderr
        return result.stdout

    def extract(self) -> Any:
        """The JSON answer of `ercache extract`."""
        return json.loads(self.run("extract", "folder", "--root", "films", "--json"))


def spoil(path: Path, start: float, end: float) -> None:
    """Overwrite a part of a file with zeros."""
    data = bytearray(path.read_bytes())
    first, last = int(start * len(data)), int(end * len(data))
    data[first:last] = bytes(last - first)
    path.write_bytes(data)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undamaged film and one that is damaged in the middle, each with one utterance."""
    folder = tmp_path_factory.mktemp("films")
    made = material(tmp_path_factory.mktemp("material"), 0)
    for name in ("whole", "damaged"):
        encoded("-movflags", "+faststart")(made, folder / f"{name}.mp4")
        (folder / f"{name}.srt").write_text(SRT)
    spoil(folder / "damaged.mp4", 0.45, 0.65)
    return folder


@pytest.fixture(scope="module")
def project(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Both films extracted once. `answer.json` holds stdout, `messages` holds stderr."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "films").symlink_to(films)
    (folder / "params.yaml").write_text(PARAMS)
    made = Project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made.run("scan", "folder", "--root", "films")
        (folder / "answer.json").write_text(json.dumps(made.extract()))
        (folder / "messages").write_text(made.err)
    return made


@pytest.fixture(autouse=True)
def _inside(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)


def the_note(project: Project) -> str:
    (note,) = json.loads((project.folder / "answer.json").read_text())["notes"]
    assert (note["utterance"], note["feature"]) == ("damaged_0", "mfcc")
    return str(note["note"])


def test_the_note_is_in_the_json_answer_and_in_a_warning(project: Project) -> None:
    answer = json.loads((project.folder / "answer.json").read_text())
    note = the_note(project)
    assert note.startswith("sound ") and note.endswith(" s") and answer["failed"] == []
    messages = (project.folder / "messages").read_text()
    assert "warning: 1 feature computed from less or other media than requested" in messages
    assert f"(the first: damaged_0, mfcc: {note})" in messages


def test_the_note_is_in_the_csv_of_failures(project: Project) -> None:
    path = Path("data/logs/extract-folder-audio-failures.csv")
    (row,) = csv.DictReader(path.read_text().splitlines())
    assert row == {
        "utterance": "damaged_0",
        "feature": "mfcc",
        "status": "ok",
        "reason": "note",
        "detail": the_note(project),
    }


def test_notes_are_counted_in_the_metrics_of_dvc_and_by_cache_ls(project: Project) -> None:
    coverage = json.loads(Path(CACHE).with_name("coverage.json").read_text())
    assert coverage == {"mfcc": {"all": {"ok": 2, "notes": 1}}}
    (row,) = json.loads(project.run("cache", "ls", "--json"))
    assert (row["ok"], row["notes"]) == (2, 1)
    assert "│ 2/2 │ 1     │" in project.run("cache", "ls")


def test_the_cache_holds_the_note_and_verifies(project: Project) -> None:
    info = json.loads(project.run("cache", "info", CACHE, "--json"))
    assert info["notes"] == 1 and info["provenance"]["notes"] == {"damaged_0": the_note(project)}
    shown = project.run("cache", "info", CACHE)
    assert f"│ damaged_0 │ {the_note(project)}" in shown and "{'damaged_0'" not in shown
    assert json.loads(project.run("cache", "verify", "data/caches", "--json")) == {"checked": 1, "bad": []}
    assert json.loads(project.run("cache", "diff", CACHE, CACHE, "--json"))["equal"]


def test_a_rerun_keeps_the_note_and_computes_nothing_with_or_without_the_store(project: Project) -> None:
    data = Path(CACHE).read_bytes()
    assert project.extract()["done"] == 0 and Path(CACHE).read_bytes() == data, (
        "the cache file has the note already"
    )
    project.store.rename(project.folder / "store_away")
    try:
        again = project.extract()
        assert again["done"] == 0 and [n["note"] for n in again["notes"]] == [the_note(project)]
    finally:
        for left in project.store.rglob("*"):
            left.unlink()
        project.store.rmdir()
        (project.folder / "store_away").rename(project.store)
    Path(CACHE).unlink()
    again = project.extract()
    assert again["done"] == 0 and Path(CACHE).read_bytes() == data, "the store has the note, too"


def test_the_report_counts_the_notes_and_names_the_utterance(project: Project) -> None:
    project.run("report")
    page = Path("data/reports/report.html").read_text()
    assert "notes</code> 1</span>" in page
    assert f'<span class="id">damaged_0</span> ({the_note(project)})' in page


def test_the_last_line_of_a_run_says_what_is_unavailable_and_what_to_do(
    project: Project, films: Path, tmp_path: Path
) -> None:
    film = films / "damaged.mp4"
    film.rename(tmp_path / film.name)
    command = ["extract", "folder", "--root", "films", "--out", str(tmp_path / "caches"), "--fail-over", "20"]
    environment = {"COLUMNS": "200", "ERCACHE_STORE": str(tmp_path / "store")}
    try:
        result = CliRunner().invoke(cli, command, env=environment)
    finally:
        (tmp_path / film.name).rename(film)
    assert isinstance(result.exception, WorkError) and result.exception.exit_code == 1
    last = result.stderr.splitlines()[-1]
    assert last == (
        "warning: the media of 1 utterance changed since the scan (1 changed; the first: damaged_0, mfcc: "
        "absent: FileNotFoundError: No such file or directory): scan again"
    )
    assert "1 of 2 utterances unavailable (1 changed; " in str(result.exception)
    assert "unavailable" in result.stdout and "caches" not in result.stdout, "no table of files without files"
