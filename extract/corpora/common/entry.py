"""The interface of a corpus that can be scanned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from ercache.manifest import Manifest

ScanProgress = Callable[[int, int], None]  # files done, files in total


class Scan(Protocol):
    """Reads a corpus as it is distributed and returns its manifest."""

    def __call__(self, root: Path, switches: Any, progress: ScanProgress | None = None) -> Manifest:
        """Read a corpus.

        Args:
            root: folder of the corpus.
            switches: the corpus' choices in params.yaml.
            progress: called with (files done, files in total).

        Raises:
            CorpusError: the folder or its annotation is unusable; the error lists all findings.
        """


@dataclass(frozen=True)
class CorpusEntry:
    """A corpus that can be scanned.

    Attributes:
        key: name on the command line.
        name: full name.
        modalities: modalities that the corpus can provide.
        parts: the corpus' own partitions; each becomes one cache file per feature.
        label_sets: name -> values in the corpus' own order.
        licence: licence of the corpus.
        how_to_get: where to get the corpus, and what to unpack.
        Switches: class of its choices in params.yaml, under `corpora`.
        scan: reads the corpus.
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
