"""Logs of searches and of readings: a row for every configuration that was tried, appended when it is done."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ercache.digests import canonical_json
from ercache.errors import UsageError
from ercache.files import atomic_file
from ercache.training import SCORE

COLUMNS = ("number", "search", "config", SCORE, "std", "reason")


@dataclass(frozen=True)
class Trial:
    """One tried configuration: dotted path -> value, and its weighted F1 on validation over the seeds.

    Attributes:
        reason: why it failed, with a score of 0; empty when it did not.
    """

    number: int
    config: dict[str, Any]
    mean: float
    std: float
    reason: str = ""


def read_log(path: Path, search: str) -> list[Trial]:
    """The trials of a search that were logged; an incomplete last line, left by a kill, is none.

    Raises:
        UsageError: the log is damaged.
    """
    return searches(path).get(search, [])


def searches(path: Path) -> dict[str, list[Trial]]:
    """All searches of a log in the order of their first trials: name of the search -> its trials.

    Raises:
        UsageError: the log is damaged.
    """
    if not path.is_file():
        return {}
    found: dict[str, list[Trial]] = {}
    try:
        for r in csv.DictReader(_whole_lines(path)):
            trial = Trial(
                int(r["number"]),
                json.loads(r["config"]),
                float(r[SCORE]),
                float(r["std"]),
                r.get("reason") or "",
            )
            found.setdefault(r["search"], []).append(trial)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path}: damaged log of a sweep ({error})", hint="mend or remove it") from error
    return found


def _whole_lines(path: Path) -> list[str]:
    """The lines of a log that were written to their end."""
    content, end, _ = path.read_bytes().rpartition(b"\n")  # what follows is nothing, or torn by a kill
    return content.decode("utf-8").split("\n") if end else []


def append(path: Path, search: str, trial: Trial) -> None:
    """Add a trial to a log, which is made or mended first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _mend(path)
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        config = canonical_json(trial.config)
        writer.writerow([trial.number, search, config, trial.mean, trial.std, trial.reason])


def _mend(path: Path) -> None:
    """Give a log its header, and the columns that older logs lack; drop a torn last line."""
    held = list(csv.reader(_whole_lines(path))) if path.is_file() else []
    if held and held[0] == list(COLUMNS) and path.read_bytes().endswith(b"\n"):
        return
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([*row, *[""] * (len(COLUMNS) - len(row))] for row in held[1:])
