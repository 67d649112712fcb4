"""Child processes of a benchmark: each measurement runs in its own process, whose memory can be watched."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import psutil

from ercache.errors import WorkError
from ercache.params.schema import EngineParams, FacePolicy, Strict

if TYPE_CHECKING:
    from extract.engine.plan import Feature

PROJECT: Final = Path(__file__).parents[1]
PAUSE: Final = 0.1  # seconds between two samples of the memory


class BenchJob(Strict):
    """The job of a child process.

    Attributes:
        folder: folder for its output; a new one for every child.
        root: root of the media.
        manifest: the manifest file.
        encoder_set: key of `bench.sets.SETS`.
        engine: params of our engine.
        policy: our face policy.
        device: as torch names it.
    """

    folder: Path
    root: Path
    manifest: Path
    encoder_set: Literal["light", "paper", "sound"]
    engine: EngineParams
    policy: FacePolicy
    device: str

    def features(self) -> "list[Feature]":
        """The features of the set."""
        from bench.sets import features

        return features(self.encoder_set, self.policy)


def run_child(role: str, job: BenchJob, name: str, watched: bool = False) -> dict[str, Any]:
    """Run a role in a child process.

    Args:
        role: key of `bench.extract.ROLES`.
        job: the job.
        name: name of the child's folder.
        watched: sample the memory.

    Returns:
        The answer of the role, `wall` (seconds, start-up included) and, if watched, the peaks of memory.

    Raises:
        WorkError: the child failed.
    """
    folder = job.folder / name
    folder.mkdir()
    (folder / "job.json").write_text(
        job.model_copy(update={"folder": folder}).model_dump_json(), encoding="utf-8"
    )
    with (folder / "output.txt").open("w+b") as output:
        began = time.perf_counter()
        command = [sys.executable, "-m", "bench.extract", role, str(folder / "job.json")]
        with subprocess.Popen(command, cwd=PROJECT, stdout=output, stderr=output) as process:
            peaks = watch(process) if watched else {}
            code = process.wait()
        wall = time.perf_counter() - began
    if code != 0:
        lines = (folder / "output.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        raise WorkError(f"bench.extract {role} ended with {code}", details=lines[-20:])
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    return {"wall": wall, **answer, **peaks}


def watch(process: "subprocess.Popen[bytes]") -> dict[str, float]:
    """Peak memory of a process and its children while it runs: largest sums over all of them, in megabytes."""
    peaks: Counter[str] = Counter()
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        sums: Counter[str] = Counter()
        for member in _family(parent):
            try:
                facts = member.memory_full_info()
            except psutil.Error:
                continue  # the process has just ended
            sums.update(peak_rss_mb=facts.rss, peak_pss_mb=facts.pss)
        peaks |= sums
        time.sleep(PAUSE)
    return {name: total / 1e6 for name, total in peaks.items()}


def _family(parent: Any) -> list[Any]:
    try:
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []  # the parent has just ended


def rounded(value: Any) -> Any:
    """Round all floats in nested dicts to four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return value
