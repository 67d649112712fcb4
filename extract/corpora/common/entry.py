"""What a corpus must have to be scanned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from ercache.manifest import Manifest

Progress = Callable[[int, int], None]  # files done, files in all


class Scan(Protocol):
    """Reads a corpus as it is distributed."""

    def __call__(self, root: Path, switches: Any, progress: Progress | None = None) -> Manifest:
        """The manifest of a corpus.

        Raises:
            CorpusError: the folder or its annotation cannot be used; with all findings.
        """


@dataclass(frozen=True)
class CorpusEntry:
    """A corpus that can be scanned.

    Attributes:
        parts: the corpus' own partitions, one cache file each.
        label_sets: name -> values, in the corpus' own order.
        Switches: class of its choices in params.yaml, under `corpora`.
    """

    key: str
    name: str
    modalities: tuple[str, ...]
    parts: tuple[str, ...]
    label_sets: Mapping[str, tuple[str, ...]]
    licence: str
    how_to_get: str
    Switches: type[BaseModel]
    scan: Scan
