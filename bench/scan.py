"""Scanning a large corpus: 200,000 utterances in a table, and reading the manifest of it."""

import csv
import json
import os
import resource
import subprocess
import sys
import time
import wave
from pathlib import Path

from ercache.manifest import read_manifest, write_manifest
from extract.corpora import CORPORA

UTTERANCES = 200_000
FILES = 200
SECONDS = 0.05  # of an utterance
RATE = 1000
GOALS = {"scan_seconds": 120, "read_seconds": 5}


def corpus(folder: Path, utterances: int = UTTERANCES, files: int = FILES) -> None:
    """Write a table of stretches of sound files, in dialogues of one file each."""
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


def measure(folder: Path) -> dict[str, float]:
    """Seconds and peak memory (MB, all imports with it) of a scan, of a second scan and of reading the manifest.

    The reference is Python's csv module on the same table: `scan_over_csv` says how many times longer a scan takes.
    """
    corpus(folder / "corpus")
    time.sleep(2.1)  # a file that was written just now is not remembered
    began = time.perf_counter()
    with (folder / "corpus" / "utterances.csv").open(encoding="utf-8", newline="") as stream:
        rows = sum(1 for _ in csv.reader(stream)) - 1
    reference = time.perf_counter() - began
    figures: dict[str, float] = {"utterances": rows}
    for name, command in (("scan", "scan"), ("rescan", "scan"), ("read", "read")):
        seconds, peak = _apart(command, folder)
        figures |= {f"{name}_seconds": round(seconds, 2), f"{name}_peak_mb": round(peak)}
    return figures | {"scan_over_csv": round(figures["scan_seconds"] / reference, 1)}


def _apart(command: str, folder: Path) -> tuple[float, float]:
    """A step in a process of its own, so that its peak of memory is its own; a scan's workers are not in it."""
    environment = {**os.environ, "ERCACHE_STORE": str(folder / "store")}
    arguments = [sys.executable, "-m", "bench.scan", command, str(folder)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    seconds, peak = json.loads(done.stdout)
    return seconds, peak


def step(command: str, folder: Path) -> tuple[float, float]:
    """Seconds of `scan` or `read`, and this process' peak of memory in MB."""
    began = time.perf_counter()
    if command == "scan":
        entry = CORPORA["folder"]
        write_manifest(entry.scan(folder / "corpus", entry.Switches()), folder / "manifest.jsonl")
    else:
        read_manifest(folder / "manifest.jsonl")
    return time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(step(sys.argv[1], Path(sys.argv[2]))))
