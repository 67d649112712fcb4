"""The table of checkpoints: the built-in catalogue, and rows that the user adds.

The environment variable `ERCACHE_CHECKPOINTS` may name a JSON file with a list of additional rows, each a dictionary
with the fields of `Checkpoint`. If the catalogue has a row with the same key, the user's row replaces it. Worker
processes inherit the variable, so they use the same table.
"""

import functools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from ercache.errors import WeightsError
from ercache.weights.catalogue import CATALOGUE
from ercache.weights.checkpoint import Checkpoint, checkpoint_of

TABLE_VARIABLE = "ERCACHE_CHECKPOINTS"


def checkpoints() -> dict[str, Checkpoint]:
    """Read the table of checkpoints: the built-in catalogue and the user's rows, as a dictionary from key to row.

    Raises:
        WeightsError: the user's file of additional rows is absent or invalid.
    """
    listed = {row.key: row for row in CATALOGUE}
    given = os.environ.get(TABLE_VARIABLE)
    return {**listed, **_further(Path(given))} if given else listed


def checkpoint(key: str) -> Checkpoint:
    """Look up the row of a checkpoint in the table by its key.

    Raises:
        WeightsError: the key is unknown.
    """
    rows = checkpoints()
    if key not in rows:
        raise WeightsError(
            f"unknown checkpoint {key!r}", hint=f"known checkpoints: {', '.join(sorted(rows))}"
        )
    return rows[key]


def published(key: str) -> Checkpoint:
    """Look up the row of a checkpoint in the built-in catalogue, even if a row of the user replaces it in the table.

    Raises:
        KeyError: the catalogue has no such checkpoint.
    """
    return {row.key: row for row in CATALOGUE}[key]


@contextmanager
def extra_checkpoints(*rows: Checkpoint) -> Iterator[None]:
    """Context manager: add rows to the table of checkpoints, also for processes started inside the `with` block.

    Tests use it to add tiny checkpoints.
    """
    before = os.environ.get(TABLE_VARIABLE)
    further = {**(_further(Path(before)) if before else {}), **{row.key: row for row in rows}}
    with tempfile.TemporaryDirectory(prefix="ercache-checkpoints-") as folder:
        path = Path(folder) / "checkpoints.json"
        path.write_text(json.dumps([asdict(row) for row in further.values()]), encoding="utf-8")
        os.environ[TABLE_VARIABLE] = str(path)
        try:
            yield
        finally:
            if before is None:
                del os.environ[TABLE_VARIABLE]
            else:
                os.environ[TABLE_VARIABLE] = before


def _further(path: Path) -> Mapping[str, Checkpoint]:
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(
            f"{path}: not a list of checkpoints ({type(error).__name__}: {error})",
            hint=f"the variable {TABLE_VARIABLE} names this file; docs/encoders.md shows a row",
        ) from error


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> Mapping[str, Checkpoint]:
    rows = [checkpoint_of(row) for row in json.loads(text)]
    return {row.key: row for row in rows}
