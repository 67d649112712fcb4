"""Children of a benchmark: what is measured runs in a process of its own, watched from outside."""

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
PAUSE: Final = 0.1  # seconds between two looks at the memory


class Job(Strict):
    """What a child process is to do; `folder` is for what it writes, and fresh for every child."""

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


def run_child(role: str, job: Job, name: str, watched: bool = False) -> dict[str, Any]:
    """Run a role in a process of its own; its answer with its `wall` clock, start-up included.

    Raises:
        WorkError: it failed.
    """
    folder = job.folder / name
    folder.mkdir()
    (folder / "job.json").write_text(
        job.model_copy(update={"folder": folder}).model_dump_json(), encoding="utf-8"
    )
    with (folder / "words.txt").open("w+b") as words:
        began = time.perf_counter()
        command = [sys.executable, "-m", "bench.extract", role, str(folder / "job.json")]
        with subprocess.Popen(command, cwd=PROJECT, stdout=words, stderr=words) as process:
            peaks = watch(process) if watched else {}
            code = process.wait()
        wall = time.perf_counter() - began
    if code != 0:
        told = (folder / "words.txt").read_text(encoding="utf-8", errors="replace")
        raise WorkError(f"bench.extract {role} ended with {code}", details=told.splitlines()[-20:])
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    return {"wall": wall, **answer, **peaks}


def watch(process: "subprocess.Popen[bytes]") -> dict[str, float]:
    """Largest sums over a process and its children while it runs, megabytes."""
    peaks: Counter[str] = Counter()
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        sums: Counter[str] = Counter()
        for member in _family(parent):
            try:
                facts = member.memory_full_info()
            except psutil.Error:
                continue  # it ended between two lines
            sums.update(peak_rss_mb=facts.rss, peak_pss_mb=facts.pss)
        peaks |= sums
        time.sleep(PAUSE)
    return {name: total / 1e6 for name, total in peaks.items()}


def _family(parent: Any) -> list[Any]:
    try:
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []  # the parent ended between two lines


def rounded(value: Any) -> Any:
    """Numbers with four significant digits, at any depth."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return value
