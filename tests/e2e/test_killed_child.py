"""kill -9 of the process that decodes a long file, in the midst of it: the same results, or none, never a part."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import imageio_ffmpeg
import pytest

from ercache.cache import Status
from tests.e2e.conftest import Project
from tests.e2e.test_hostile import write_project
from tests.e2e.test_kill import assert_nothing_less, entries
from tests.support.hostile_run import ROOT, family, opened_by

pytestmark = pytest.mark.e2e

SECONDS, CUES = 80, 8
WITHIN = (
    1.0  # seconds for which a process has the file open before it is killed: a look at its packets is shorter
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A recording whose pictures take seconds to decode, with cues all over it, extracted once."""
    folder = tmp_path_factory.mktemp("long") / "project"
    root = folder.with_name("media")
    folder.mkdir()
    root.mkdir()
    picture = f"testsrc2=size=1280x720:rate=25:duration={SECONDS}"
    sound = f"aevalsrc=sin(440*t*(1+t/9))/2:s=16000:d={SECONDS}"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        picture,
        "-f",
        "lavfi",
        "-i",
        sound,
    ]
    codecs = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-crf",
        "23",
        "-g",
        "50",
        "-pix_fmt",
        "yuv420p",
        "-c:a",
        "aac",
    ]
    subprocess.run([*command, *codecs, str(root / "long.mp4")], check=True)
    write_project(folder, root, [])
    project = Project(folder, folder / "store")
    with project.params() as params:
        params["engine"]["limits"]["duration"] = 60
        params["features"]["all"]["count"] = 3
    with (root / "utterances.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "file", "start", "end", "text"])
        rows.writerows([[f"u{n:02d}", "long.mp4", 10 * n, 10 * n + 3, f"Oh {n}!"] for n in range(CUES)])
    assert finished(begin(project, "scan", "folder"))[0] == 0
    return project


def media(project: Project) -> Path:
    """The folder of the recording."""
    return project.folder.with_name("media")


def begin(project: Project, *arguments: str, store: str = "store") -> subprocess.Popen[str]:
    """`ercache` on the recording, with a store of its own."""
    command = [sys.executable, "-m", "tests.support.hostile_run", *arguments, "--root", str(media(project))]
    environment = {
        **project.environment,
        "PYTHONPATH": str(ROOT),
        "ERCACHE_STORE": str(project.folder / store),
    }
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env=environment,
        text=True,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def extract(project: Project, features: str, store: str) -> subprocess.Popen[str]:
    """An extraction of some features."""
    return begin(project, "extract", "folder", "--features", features, store=f"{features} {store}")


def decoder(engine: subprocess.Popen[str], file: Path) -> int | None:
    """The process, FFmpeg's or Python's, that has had the file open for a while; None if the run ends before."""
    since: dict[int, float] = {}
    while engine.poll() is None:
        now = time.monotonic()
        holding = {m.pid for m in family(engine.pid)[1:] if str(file) in opened_by(m.pid)}
        since = {pid: since.get(pid, now) for pid in holding}
        for pid, first in since.items():
            if now - first > WITHIN:
                return pid
        time.sleep(0.02)
    return None


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and words of a run that ends by itself."""
    _, told = process.communicate(timeout=300)
    assert "Traceback" not in told, told[-3000:]
    return process.returncode, told


@pytest.mark.parametrize("features", [pytest.param("six", marks=pytest.mark.full), "all,six,sound"])
def test_a_decoder_killed_in_the_midst_of_a_long_file_costs_no_picture_and_no_sample(
    project: Project, features: str
) -> None:
    shutil.rmtree(project.folder / "data/caches", ignore_errors=True)
    assert finished(extract(project, features, "whole"))[0] == 0
    expected = project.caches()
    for content in expected.values():
        found = entries(content)
        assert len(found) == CUES and {entry.status for entry in found.values()} == {Status.OK}
    shutil.rmtree(project.folder / "data/caches")
    process = extract(project, features, "killed")
    victim = decoder(process, media(project) / "long.mp4")
    assert victim is not None, "the run was over before the kill"
    os.kill(victim, signal.SIGKILL)
    code, told = finished(process)
    after = project.caches()
    assert_nothing_less(after, expected)
    if after != expected:  # then it says so, and a rerun mends it
        assert code == 1 and "unavailable" in told, told
        assert finished(extract(project, features, "killed"))[0] == 0
    assert project.caches() == expected
