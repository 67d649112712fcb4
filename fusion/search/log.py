"""Logs of sweeps and ablations: CSV files to which each finished trial (tried configuration) is appended as a row."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ercache.digests import canonical_json
from ercache.errors import UsageError
from ercache.files import atomic_file
from ercache.training.selection import METRIC, SCORE

COLUMNS = ("number", "search", "config", "score", "std", "reason", "metric")
OLDER = SCORE  # name of the column `score` in older logs, when weighted F1 was the only metric


@dataclass(frozen=True)
class Trial:
    """One trial of a search: a tried configuration and its score.

    Attributes:
        number: number of the trial, counted from 0.
        config: dotted path of a switch (such as `config.dropout`) -> value.
        mean, std: mean and standard deviation over seeds of the score on validation; 0 if the trial failed.
        reason: why the trial failed; empty if it succeeded.
        metric: key of the metric of the score: `training.select` of the experiment.
    """

    number: int
    config: dict[str, Any]
    mean: float
    std: float
    reason: str = ""
    metric: str = METRIC


def read_log(path: Path, search: str) -> list[Trial]:
    """Read the trials of one search from a log file, in which several searches may stand.

    An incomplete last line, left by a killed process, is ignored. `search` is a name as `search_digest` makes it.

    Raises:
        UsageError: the log is damaged.
    """
    return read_searches(path).get(search, [])


def read_searches(path: Path) -> dict[str, list[Trial]]:
    """Read all searches of a log: name of the search -> trials. Searches are in the order of their first trials.

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
                float(r["score"] if "score" in r else r[OLDER]),
                float(r["std"]),
                r.get("reason") or "",
                r.get("metric") or METRIC,
            )
            found.setdefault(r["search"], []).append(trial)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path}: this log of a search is damaged ({error})",
            hint="repair the file by hand, or remove it to search again",
        ) from error
    return found


def _whole_lines(path: Path) -> list[str]:
    """Read the lines of a CSV log. An incomplete last line, left by a killed process, is omitted."""
    content, end, _ = path.read_bytes().rpartition(b"\n")  # a kill may have left an incomplete last line
    return content.decode("utf-8").split("\n") if end else []


def append_trial(path: Path, search: str, trial: Trial) -> None:
    """Append the row of a finished trial to a CSV log; the log is created if missing and repaired if incomplete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _mend(path)
    with path.open("a", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        config = canonical_json(trial.config)
        metric = "" if trial.metric == METRIC else trial.metric  # as in older logs, which have no such column
        writer.writerow([trial.number, search, config, trial.mean, trial.std, trial.reason, metric])


def _mend(path: Path) -> None:
    """Repair a log: add a missing header, rename and add columns of older logs, and drop an incomplete last line."""
    held = list(csv.reader(_whole_lines(path))) if path.is_file() else []
    if held and held[0] == list(COLUMNS) and path.read_bytes().endswith(b"\n"):
        return
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([*row, *[""] * (len(COLUMNS) - len(row))] for row in held[1:])
