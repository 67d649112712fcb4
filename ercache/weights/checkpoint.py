"""One row of the table of checkpoints."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TENSORS = (".safetensors", ".bin", ".pt", ".pth", ".tar", ".ckpt")
Kind = Literal["wheel", "hub", "web", "brought"]


@dataclass(frozen=True)
class WeightFile:
    """One file of a checkpoint, and the only content that is accepted for it.

    Attributes:
        path: path inside the source (package, hub repository, address). Its last part is the local file name.
        sha256: the digest, or its beginning if only that is published. If "", nothing is published, and the digest is
            recorded when the file is first added.
        instead: a file with the same tensors in an older format, used if the first one is absent.
    """

    path: str
    sha256: str = ""
    instead: str = ""

    @property
    def name(self) -> str:
        """File name without the folder."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def names(self) -> tuple[str, ...]:
        """Accepted local file names, the preferred one first."""
        return (self.name, self.instead) if self.instead else (self.name,)

    @property
    def pinned(self) -> bool:
        """Whether the table has the complete sha256."""
        return len(self.sha256) == 64

    @property
    def holds_tensors(self) -> bool:
        """Whether the file holds tensors of a network."""
        return self.path.endswith(TENSORS)


@dataclass(frozen=True)
class Checkpoint:
    """A row of the table of checkpoints.

    Attributes:
        key: name of the checkpoint.
        kind: `wheel` (part of an installed package), `hub` (Hugging Face hub), `web` (files at an address) or
            `brought` (must be downloaded by hand).
        source: package, hub id or address, or a description in words.
        revision: version of the package, commit of the hub, or release; "" if the first fetch records it.
        files: its files.
        licence: licence of the weights.
        remedy: what to do when it is absent or damaged, if that is not `ercache weights fetch` or `add`.
        megabytes: approximate size of all files; 0 if unknown.
        seen: corpus -> parts that it was trained on.
        published: name of the file that its authors publish, if `ercache weights convert` must convert it first (a
            pickle with classes, or a dump).
        inside: key of the tensors in that pickle.
        refused: why it can never be loaded here; "" if it can.
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
        """The file with the tensors, if there is exactly one."""
        found = [file for file in self.files if file.holds_tensors]
        return found[0] if len(found) == 1 else None

    @property
    def described(self) -> str:
        """Source, revision, size and licence, for messages."""
        at = f" at {self.revision}" if self.revision else ""
        size = f"{self.megabytes:,.0f} MB" if self.megabytes else "size not published"
        return f"{self.source}{at}; {size}; licence: {self.licence}"


def checkpoint_of(row: Mapping[str, Any]) -> Checkpoint:
    """Build a checkpoint from JSON.

    Raises:
        TypeError, KeyError: a field is missing, unknown or of another type.
    """
    files = tuple(WeightFile(**file) for file in row["files"])
    seen = {corpus: tuple(parts) for corpus, parts in row.get("seen", {}).items()}
    return Checkpoint(**{**row, "files": files, "seen": seen})
