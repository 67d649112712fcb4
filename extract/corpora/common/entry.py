"""What a corpus must provide so that ercache can scan it: a `CorpusEntry` with its facts and its scan function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from ercache.manifest import Manifest
from ercache.params.schema import Strict

ScanProgress = Callable[[int, int], None]  # files done, files in total


class NoSwitches(Strict):
    """Settings of a corpus that offers no choices in params.yaml."""


class Scan(Protocol):
    """A function that reads a corpus as it is distributed and returns the manifest, the list of all utterances."""

    def __call__(self, root: Path, switches: Any, progress: ScanProgress | None = None) -> Manifest:
        """Read a corpus and return its manifest.

        Args:
            root: folder of the corpus.
            switches: the user's choices for this corpus in params.yaml.
            progress: called with (files done, files in total).

        Raises:
            CorpusError: the folder or the annotation is unusable; the error lists all faults.
        """


@dataclass(frozen=True)
class CorpusEntry:
    """The facts that ercache needs to offer, describe and scan a corpus.

    Attributes:
        key: name on the command line.
        name: full name.
        modalities: modalities that the corpus can provide.
        parts: names of the corpus' own subsets (train, dev, test); each gets its own cache file per feature.
        label_sets: name of each label set -> its label values, in the corpus' own order.
        licence: licence of the corpus.
        how_to_get: where to get the corpus, and what to unpack.
        Switches: class of the user's choices for this corpus in params.yaml, under `corpora`.
        scan: function that reads the corpus.
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
