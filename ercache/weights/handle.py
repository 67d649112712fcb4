"""What an encoder gets in place of a path: its checkpoint, or random tensors that stand in for it."""

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
    """How an encoder gets at its checkpoint.

    Attributes:
        key: in the table of checkpoints.
        random: seed of random tensors that stand in for it (benchmarks and tests only), or None.
    """

    key: str
    random: int | None = None

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
        """A network with the tensors of the checkpoint, on the CPU, in eval mode.

        It is built without its library's own random initialisation; torch's generator is as before.

        Args:
            build: makes the network.
            file: which file of the checkpoint, where it has several with tensors.
            inside: key of the state dict in a file of torch that holds more; safetensors hold nothing else.
            strip, rename, drop: how the file's names become the network's, and which of them it does not use; in that
                order, see `load_strict`.

        Raises:
            WeightsError: absent, damaged, no plain file of tensors, or another network's; all tensors are named.
        """
        from ercache.weights.fast_init import drawn

        tensors = None if self.random is not None else read_tensors(self._tensor_file(file), inside)
        with drawn(self.random):
            network = build()
        if tensors is not None:
            load_strict(network, tensors, self.key, drop, strip, rename)
        return network.train(False)

    def path(self, name: str) -> Path:
        """A file of the checkpoint (`tokenizer.json`, `config.json`), present and with the right sha256.

        Raises:
            WeightsError: absent or damaged, or the checkpoint has no such file; random weights have none.
        """
        row = checkpoint(self.key)
        if self.random is not None:
            raise WeightsError(f"{self.key}: random weights have no {name}")
        for file in row.files:
            if name in file.names:
                return checked_file(row, file)
        raise WeightsError(
            f"checkpoint {self.key!r} has no file {name!r}",
            hint=f"it has: {', '.join(file.name for file in row.files)}",
        )

    def config(self, expected: dict[str, Any], fixed: Sequence[str] = ()) -> dict[str, Any]:
        """What config.json of the checkpoint says; `expected` for random weights.

        Args:
            fixed: fields that must be as expected, since arrays or batch rules depend on them.

        Raises:
            WeightsError: absent or damaged, or a fixed field is another.
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
                f"checkpoint {self.key!r} is of another network",
                details=wrong,
                hint="is it the checkpoint of this key?",
            )
        return found

    def _tensor_file(self, name: str | None) -> Path:
        row = checkpoint(self.key)
        file = row.tensors
        if name is None and file is not None and not row.refused:
            return checked_file(row, file)
        if name is None:
            names = ", ".join(file.name for file in row.files if file.holds_tensors)
            raise WeightsError(
                f"checkpoint {self.key!r} has not one file of tensors ({names or row.refused or 'none'})"
            )
        return self.path(name)
