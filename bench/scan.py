"""Benchmark of scanning a corpus: a table of 200,000 utterances is scanned twice; then the manifest is read.

The reference is reading the same table with Python's csv module; `scan_over_csv` is the time of a scan divided by the
time of the reference. All steps also run on a corpus of a tenth of the size: the difference in peak memory shows how
many bytes each utterance needs. The figures `scan_looks` and `rescan_looks` count the media files that a scan opened.
"""

import csv
import json
import os
import subprocess
import sys
import time
import wave
from pathlib import Path
from typing import Any, Final

from bench.jobs import watch
from ercache.manifest import read_manifest, write_manifest
from extract.corpora import CORPORA

UTTERANCES: Final = 200_000
FEWER: Final = 20_000
FILES: Final = 200
SECONDS: Final = 0.05  # of an utterance
RATE: Final = 1000
GOALS: Final = {"scan_seconds": 120, "read_seconds": 5}
Figures = dict[str, float]
STEPS: Final = (("scan", "scan"), ("rescan", "scan"), ("read", "read"))  # name, what is done


def corpus(folder: Path, utterances: int = UTTERANCES, files: int = FILES) -> None:
    """Write a corpus to scan: sound files of one dialogue each, and a CSV table with the utterances of all files.

    Args:
        folder: the folder to write to.
        utterances: number of utterances in the table.
        files: number of sound files.
    """
    folder.mkdir(parents=True)
    each = utterances // files
    frames = bytes(range(1, 251)) * (int(each * SECONDS * RATE) // 250 + 1)
    lines = ["file,start,end,speaker,text,emotion"]
    for number in range(files):
        path = folder / f"talk{number:03d}.wav"
        with wave.open(str(path), "wb") as out:
            out.setparams((1, 1, RATE, 0, "NONE", "not compressed"))
            out.writeframes(frames)
        lines += [
            f"{path.name},{n * SECONDS:.2f},{(n + 1) * SECONDS:.2f},speaker{n % 5},"
            f"what was said as turn {n} of talk {number},{('joy', 'anger', 'neutral')[n % 3]}"
            for n in range(each)
        ]
    (folder / "utterances.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(folder: Path, utterances: int = UTTERANCES, fewer: int = FEWER) -> dict[str, Any]:
    """Measure seconds and peak memory of three steps: a first scan, a second scan, and reading the manifest.

    The memory is sampled while a step runs, and summed over its processes.

    Args:
        folder: scratch folder.
        utterances: number of utterances of the corpus.
        fewer: number of utterances of a smaller corpus, for the memory that each utterance needs.
    """
    small, large = (folder / str(count) for count in (fewer, utterances))
    corpus(small / "corpus", fewer)
    corpus(large / "corpus", utterances)
    time.sleep(2.1)  # the scan cache skips files that were written just now
    figures: dict[str, Any] = {"utterances": utterances, "files": FILES, "goals": GOALS}
    reference = _csv_seconds(large / "corpus" / "utterances.csv")
    small_steps = {name: _apart(command, small) for name, command in STEPS}
    for name, command in STEPS:
        step_figures = _apart(command, large)
        figures |= {f"{name}_{figure}": value for figure, value in step_figures.items()}
        grown = step_figures["peak_mb"] - small_steps[name]["peak_mb"]
        figures[f"{name}_bytes_per_utterance"] = round(grown * 1e6 / (utterances - fewer))
    return figures | {"scan_over_csv": round(figures["scan_seconds"] / reference, 1)}


def _csv_seconds(table: Path) -> float:
    began = time.perf_counter()
    with table.open(encoding="utf-8", newline="") as stream:
        sum(1 for _ in csv.reader(stream))
    return time.perf_counter() - began


def _apart(command: str, folder: Path) -> Figures:
    """Run one step in its own process: scan the corpus (`scan`), or read the manifest (`read`).

    Returns:
        `seconds`; `peak_mb`, the peak memory in megabytes; for a scan `looks`, the number of media files it opened.
    """
    environment = {**os.environ, "ERCACHE_STORE": str(folder / "store")}
    arguments = [sys.executable, "-m", "bench.scan", command, str(folder)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as process:
        peaks = watch(process)
        answer = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"the step {command} ended with {process.returncode}")
    return {**json.loads(answer), "peak_mb": round(peaks["peak_pss_mb"])}


def step(command: str, folder: Path) -> Figures:
    """Run one step in this process: scan the corpus (`scan`), or read the manifest (`read`).

    Returns:
        `seconds`; for a scan also `looks`, the number of media files it opened.
    """
    known: list[int] = []
    began = time.perf_counter()
    if command == "scan":
        entry = CORPORA["folder"]
        manifest = entry.scan(folder / "corpus", entry.Switches(), lambda done, of: known.append(of - done))
        write_manifest(manifest, folder / "manifest.jsonl")
    else:
        read_manifest(folder / "manifest.jsonl")
    figures: Figures = {"seconds": round(time.perf_counter() - began, 2)}
    # The first call of progress reports the files that the scan cache knows.
    return figures | ({"looks": known[0]} if known else {})


if __name__ == "__main__":
    print(json.dumps(step(sys.argv[1], Path(sys.argv[2]))))
