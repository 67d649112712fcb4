"""Whatever a media library raises, and wherever, it becomes that file's outcome; the run and other files go on."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ercache.reasons import Reason
from tests.support.media_makers import run

ROOT = Path(__file__).parents[3]
FAULTY = ROOT / "tests" / "faulty"
# Call sites, and at which of their calls or items they begin to fail.
OF_AV = (
    *((site, 1) for site in (
        "av.open", "container.streams", "container.duration", "container.start_time", "container.format",
        "container.seek", "container.close", "streams.video", "streams.audio", "stream.codec_context",
        "stream.disposition", "stream.time_base", "stream.start_time", "stream.decode", "codec.width",
        "codec.rate", "codec.sample_rate", "codec.channels", "codec.decode", "packet.decode", "packet.pts",
        "packet.dts", "packet.size", "packet.time_base", "packet.is_keyframe", "frame.pts", "frame.time",
        "frame.to_ndarray", "frame.reformat", "frame.width", "frame.sample_rate", "resampler.resample",
        "reformatter.reformat", "graph.push", "graph.pull",
    )),
    *((site, nth) for site in ("container.demux", "container.decode") for nth in (1, 7)),
)  # fmt: skip
OF_SOUND = tuple(
    (site, 1)
    for site in (
        "soundfile.SoundFile", "soundfile.read", "soundfile.info", "SoundFile.read", "SoundFile.seek",
        "SoundFile.frames", "SoundFile.samplerate", "soxr.resample", "av.open", "container.demux", "frame.to_ndarray")
)  # fmt: skip
ERRORS = (
    "InvalidDataError", "PatchWelcomeError", "IndexError", "ValueError", "MemoryError", "OSError", "RuntimeError",
    "AxisError", "LibsndfileError",
)  # fmt: skip
OF_FFMPEG = ERRORS[:2]
# What PyAV raises of a packet of a stream that nobody announced; NumPy's AxisError is an IndexError, too.
LATE = {("container.demux", "IndexError"), ("container.demux", "AxisError")}
SITES = [
    f"{site}--{nth}.{suffix}" for suffix, sites in (("mp4", OF_AV), ("wav", OF_SOUND)) for site, nth in sites
]
GOOD = ("a good one.mp4", "a good one.wav", "zz good.mp4", "zz good.wav")

# Minutes of waiting for decoders that raise without end; `make test` has tests/e2e/test_faulty_run.py.
pytestmark = pytest.mark.full


@dataclass(frozen=True)
class Run:
    """What came of each file, and the names of those whose fault was raised."""

    outcomes: Mapping[str, Any]
    reached: frozenset[str]

    @property
    def sites(self) -> set[str]:
        """Call sites at which anything was raised."""
        return {name.split("--")[1] for name in self.reached}


def name_of(site: str, error: str) -> str:
    call, nth = site.rsplit(".", 1)[0].split("--")
    return f"f--{call}--{nth}--{error}.{site.rsplit('.', 1)[1]}"


def short_clip(path: Path) -> None:
    """A second of pictures and sound; of sound alone in a wav."""
    sources = (
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=64x48:r=10:d=1",
        "-f",
        "lavfi",
        "-i",
        "sine=d=1:sample_rate=16000",
    )
    run(*sources, *(("-map", "1") if path.suffix == ".wav" else ()), str(path))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for each call site and exception, and some good ones."""
    folder, root = tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("media")
    for suffix in ("mp4", "wav"):
        short_clip(folder / f"clip.{suffix}")
    for name in (*GOOD, *(name_of(site, error) for site in SITES for error in ERRORS)):
        os.link(folder / f"clip.{name.rsplit('.', 1)[1]}", root / name)
    return root


@pytest.fixture(scope="module")
def survey(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All files surveyed."""
    return in_a_process("survey", root, tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="module")
def reading(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All files read, one after the other."""
    return in_a_process("read", root, tmp_path_factory.mktemp("reading"))


def in_a_process(what: str, root: Path, folder: Path) -> Run:
    told = folder / "reached.txt"
    told.touch()
    path = os.pathsep.join(map(str, (FAULTY, ROOT)))
    more = {"PYTHONPATH": path, "ERCACHE_TEST_REACHED": str(told), "ERCACHE_STORE": str(folder / "store")}
    command = [sys.executable, "-m", "tests.support.faulty_run", what, str(root)]
    done = subprocess.run(
        command, env={**os.environ, **more}, capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Run(json.loads(done.stdout), frozenset(told.read_text().splitlines()))


def test_good_files_beside_them_are_seen_as_ever(survey: Run) -> None:
    for name in GOOD:
        seen = survey.outcomes[name]
        assert seen["fault"] is None and seen["audio"] and seen["video"] is name.endswith("mp4")
    assert {"av.open", "container.streams", "container.demux"} <= survey.sites, "the libraries do fail"


def test_good_files_beside_them_are_read_as_ever(reading: Run) -> None:
    for name in GOOD:
        read, video = reading.outcomes[name], name.endswith("mp4")
        assert len(read["pictures"]) == (3 if video else 0) and read["sound"][0] in range(7_900, 8_300)
        assert read["no_sound"] is None and (read["no_pictures"] is None) is video
    assert {"av.open", "container.streams", "soxr.resample"} <= reading.sites, "the libraries do fail"


@pytest.mark.parametrize("site", SITES)
def test_an_exception_of_a_library_is_its_file_s_outcome_when_it_is_scanned(survey: Run, site: str) -> None:
    good = survey.outcomes[GOOD[0] if site.endswith("mp4") else GOOD[1]]
    for error in ERRORS:
        name = name_of(site, error)
        seen = survey.outcomes[name]
        if seen["fault"] is not None:
            assert name in survey.reached, name
            check(Reason(seen["fault"][0]), seen["fault"][1], error, name)
        elif name not in survey.reached or not may_be_partial(site, error):
            assert seen == good, name


@pytest.mark.parametrize("site", SITES)
def test_an_exception_of_a_library_is_its_file_s_outcome_when_it_is_read(reading: Run, site: str) -> None:
    good = reading.outcomes[GOOD[0] if site.endswith("mp4") else GOOD[1]]
    for error in ERRORS:
        name = name_of(site, error)
        read = reading.outcomes[name]
        assert isinstance(read, dict), f"{name}: {read} left read_spans"
        if name not in reading.reached:
            assert read == good, name
        for medium, why in (("pictures", "no_pictures"), ("sound", "no_sound")):
            if read[why] is None:
                # What FFmpeg cannot read is left out; all else that fails is told, or got round.
                partial = may_be_partial(site, error) and read[medium]
                assert read[medium] == good[medium] or partial, f"{name}: less {medium} in silence"
            elif read[why] != good[why]:
                check(Reason(read[why][0]), read[why][2], error, name)


def may_be_partial(site: str, error: str) -> bool:
    """Whether an exception speaks of the data, so that what can be read beside it is a result."""
    return error in OF_FFMPEG or (site.split("--")[0], error) in LATE


def check(reason: Reason, words: str, error: str, name: str) -> None:
    """A reason comes with words; out of memory, or a disk that fails, is no property of the data."""
    assert words, name
    if error in ("MemoryError", "OSError"):
        assert reason.status == "unavailable", f"{name}: {reason} is final"
