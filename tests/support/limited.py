"""Read hostile files in a separate process with limited memory and time, because a file may kill the process."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY = 3 << 30  # bytes of addresses; the libraries alone take one
SECONDS = 20  # for one file, on a slow machine; the bombs ask for minutes to years

_PROGRAM = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
from pathlib import Path
{prepare}
for name, path in json.loads(sys.argv[1]).items():
    print("BEGIN " + json.dumps(name), flush=True)
    start = time.monotonic()
    try:
        read(Path(path))
        told = "read"
    except ErcacheError as error:
        told = str(error)
    print("END " + json.dumps([name, told, time.monotonic() - start]), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """What happened to a file: "read", the message with which it was refused, or how the process ended."""

    told: str
    seconds: float


def outcomes(files: Mapping[str, Path], prepare: str, memory: int = MEMORY) -> dict[str, Outcome]:
    """Read files one after the other in a limited process. If the process dies, another one reads the remaining files.

    Args:
        files: files to read, by name.
        prepare: Python code that defines `read(path)` and imports `ErcacheError`.
        memory: largest address space of the process, in bytes; torch alone takes ten billion.
    """
    program = _PROGRAM.format(memory=memory, prepare=prepare)
    rest = {name: str(path) for name, path in files.items()}
    found: dict[str, Outcome] = {}
    while rest:
        command = [sys.executable, "-c", program, json.dumps(rest)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30 + SECONDS * len(rest))
            lines, end = done.stdout.splitlines(), f"ended with {done.returncode}: {done.stderr[-300:]}"
        except subprocess.TimeoutExpired as error:
            lines, end = (error.stdout or b"").decode().splitlines(), "took for ever"
        for line in lines:
            word, _, told = line.partition(" ")
            if word == "END":
                name, words, seconds = json.loads(told)
                found[name] = Outcome(words, seconds)
                del rest[name]
        begun = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("BEGIN ")]
        ended_at = begun[-1] if begun and begun[-1] in rest else next(iter(rest), None)
        if ended_at is not None:
            found[ended_at] = Outcome(end, 0.0)
            del rest[ended_at]
    return found
