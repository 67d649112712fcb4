"""Runs each measurement of a benchmark in its own child process, and samples the memory of the process if needed."""

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
    """The job of a child process: which features to extract from which corpus, and how.

    Attributes:
        folder: output folder of the child process; every child has its own.
        root: media folder of the corpus.
        manifest: path of the manifest file.
        encoder_set: name of the set of features, a key of `bench.sets.SETS`.
        engine: params of ercache's extraction engine.
        policy: settings of ercache's face detection (face policy).
        device: name of a torch device, such as `cpu` or `cuda:0`.
    """

    folder: Path
    root: Path
    manifest: Path
    encoder_set: Literal["light", "paper", "sound"]
    engine: EngineParams
    policy: FacePolicy
    device: str

    def features(self) -> "list[Feature]":
        """Return the features (encoder, params and weights) that the job extracts."""
        from bench.sets import features

        return features(self.encoder_set, self.policy)


def run_child(role: str, job: BenchJob, name: str, watched: bool = False) -> dict[str, Any]:
    """Run one measurement in a child process.

    Args:
        role: what to measure: `naive` (the naive script), `ours` (ercache), or `floor` (the lower bound: decoding,
            face detection and networks alone).
        job: the job.
        name: name for the output folder of the child process, inside the folder of the job.
        watched: sample the memory of the child process.

    Returns:
        The figures that the child process measured; `wall`, its seconds with start-up; and if `watched`, its memory
        peaks `peak_rss_mb` and `peak_pss_mb`.

    Raises:
        WorkError: the child process failed; the message shows the end of its output.
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
        raise WorkError(
            f"the benchmark process `bench.extract {role}` failed with exit status {code}; the last lines of its "
            "output say why",
            details=lines[-20:],
        )
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    return {"wall": wall, **answer, **peaks}


def watch(process: "subprocess.Popen[bytes]") -> dict[str, float]:
    """Sample the memory of a process with all its child processes until it ends.

    Returns:
        `peak_rss_mb` and `peak_pss_mb`: the greatest sum over these processes, in megabytes.
    """
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
