"""The table of checkpoints: the catalogue, and rows that the user adds.

The variable `ERCACHE_CHECKPOINTS` may name a JSON file with a list of further rows (fields of `Checkpoint`). A row
replaces one of the catalogue with the same key. Worker processes inherit the variable, so they use the same table.
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
    """All checkpoints by key.

    Raises:
        WeightsError: the file of further rows is absent or invalid.
    """
    listed = {row.key: row for row in CATALOGUE}
    given = os.environ.get(TABLE_VARIABLE)
    return {**listed, **_further(Path(given))} if given else listed


def checkpoint(key: str) -> Checkpoint:
    """The checkpoint with a key.

    Raises:
        WeightsError: the key is unknown.
    """
    rows = checkpoints()
    if key not in rows:
        raise WeightsError(f"no checkpoint {key!r}", hint=f"known: {', '.join(sorted(rows))}")
    return rows[key]


@contextmanager
def extra_checkpoints(*rows: Checkpoint) -> Iterator[None]:
    """Add rows to the table while the block runs, also for processes started in it. Tests add tiny checkpoints."""
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
