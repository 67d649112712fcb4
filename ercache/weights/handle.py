"""The class `Weights`, by which an encoder gets its pretrained weights or, in tests and benchmarks, random ones."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ercache.errors import WeightsError
from ercache.weights.folder import checked_file
from ercache.weights.table import checkpoint
from ercache.weights.tensors import load_strict, read_tensors

if TYPE_CHECKING:
    from torch import nn

Network = TypeVar("Network", bound="nn.Module")


@dataclass(frozen=True)
class Weights:
    """Gives an encoder access to its checkpoint: loads the tensors into a network, and finds the other files.

    Attributes:
        key: key in the table of checkpoints, or `made/<name>` for an extractor that the user trained.
        random: seed for random weights that replace the checkpoint (only in benchmarks and tests), or None.
        data: folder that holds the trained extractors, see `ercache.trained_extractors`.
    """

    key: str
    random: int | None = None
    data: Path = Path("data")

    def network(
        self,
        build: Callable[[], Network],
        *,
        file: str | None = None,
        inside: str = "",
        strip: Sequence[str] = (),
        drop: Sequence[str] = (),
        rename: Callable[[str], str] | None = None,
    ) -> Network:
        """Build a network and load the checkpoint into it.

        The library's own random initialisation is skipped, and torch's random generator stays unchanged.

        Args:
            build: function that builds the network.
            file: name of the file to load, if the checkpoint has several files with tensors.
            inside: key of the state dict in the file, if the file is a dictionary of several objects.
            strip: prefixes that are removed from tensor names in the file.
            drop: beginnings of the names of tensors that are not used.
            rename: function from the name of a tensor in the file to its name in the network. It is applied after
                `strip` and before `drop`.

        Returns:
            The network on the CPU, in eval mode.

        Raises:
            WeightsError: the checkpoint is absent, damaged, not a plain file of tensors, or of another network. The
                message lists every tensor that does not fit.
        """
        from ercache.weights.fast_init import fast_init

        tensors = None if self.random is not None else read_tensors(self._tensor_file(file), inside)
        with fast_init(self.random):
            network = build()
        if tensors is not None:
            load_strict(network, tensors, self.key, drop, strip, rename)
        return network.train(False)

    def path(self, name: str) -> Path:
        """Check the sha256 of one file of the checkpoint, such as `tokenizer.json`, and return its path.

        Raises:
            WeightsError: the file is absent or damaged, the checkpoint has no such file, or the weights are random.
        """
        row = checkpoint(self.key)
        if self.random is not None:
            raise WeightsError(
                f"checkpoint {self.key!r} is replaced by random weights, so its file {name} cannot be used; "
                "get the checkpoint and run without random weights"
            )
        for file in row.files:
            if name in file.names:
                return checked_file(row, file)
        raise WeightsError(
            f"checkpoint {self.key!r} has no file {name!r}",
            hint=f"name one of its files: {', '.join(file.name for file in row.files)}",
        )

    def config(self, expected: dict[str, Any], fixed: Sequence[str] = ()) -> dict[str, Any]:
        """Read config.json of the checkpoint as a dictionary. With random weights, return `expected` instead.

        Args:
            expected: the fields and values that the encoder assumes.
            fixed: names of the fields whose values must equal those in `expected`, because array shapes or batching
                depend on them.

        Raises:
            WeightsError: config.json is absent or damaged, or one of the fields `fixed` differs from `expected`.
        """
        if self.random is not None:
            return expected
        found: dict[str, Any] = json.loads(self.path("config.json").read_text(encoding="utf-8"))
        wrong = [
            f"{name}: {found.get(name)!r}, expected {expected[name]!r}"
            for name in fixed
            if found.get(name) != expected[name]
        ]
        if wrong:
            raise WeightsError(
                f"checkpoint {self.key!r} belongs to another network",
                details=wrong,
                hint="check that the right files were added under this key",
            )
        return found

    def _tensor_file(self, name: str | None) -> Path:
        row = checkpoint(self.key)
        file = row.tensors
        if name is None and file is not None and not row.refused:
            return checked_file(row, file)
        if name is None:
            names = ", ".join(file.name for file in row.files if file.holds_tensors)
            why = (
                f"cannot be used: {row.refused}"
                if row.refused
                else f"has several weight files ({names}); the encoder must name one of them"
                if names
                else "has no weight file"
            )
            raise WeightsError(f"checkpoint {self.key!r} {why}")
        return self.path(name)
