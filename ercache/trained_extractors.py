"""Extractors that `ercache pretrain` has made: where they lie, what they have seen, and how one is loaded.

Each is a folder `data/extractors/<name>` with the weights, a record that holds their sha256, and the ids that training
and selection have seen. A feature names it (`pretrained: <name>`); its handle has the key `made/<name>`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from ercache.digests import digest_of_file
from ercache.errors import WeightsError
from ercache.weights import Weights, load_strict, read_tensors

if TYPE_CHECKING:
    from torch import nn

    Network = TypeVar("Network", bound=nn.Module)

FOLDER: Final = Path("data/extractors")
MODEL: Final = "model.safetensors"
CURVES: Final = "curves"  # as dvclive writes them
TABLES: Final = f"{CURVES}/plots/metrics"  # NAME.tsv with the columns step and NAME for each score
TOKENIZER: Final = "tokenizer.json"
RECORD: Final = "extractor.json"
SEEN: Final = "seen.json"
PREFIX: Final = "made/"


class MadeRecord(BaseModel):
    """What `extractor.json` says that encoders need; it says more.

    Attributes:
        extractor: key of the encoder that it is for.
        config: switches of its training, the size of its images among them.
        sha256: file name -> digest.
        run: digest of everything that decided the weights.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    extractor: str
    config: dict[str, Any]
    sha256: dict[str, str]
    run: str


def record_of(name: str) -> MadeRecord:
    """The record of an extractor.

    Raises:
        WeightsError: it was not made yet, or its record is damaged.
    """
    path = FOLDER / name / RECORD
    if not path.is_file():
        raise WeightsError(
            f"extractor {name!r} is absent: no file {path}", hint=f"`ercache pretrain {name}` makes it"
        )
    try:
        return MadeRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path}: damaged", hint=f"`ercache pretrain {name}` makes it again") from error


def provenance(name: str, random: int | None = None) -> dict[str, Any]:
    """What a cache says about an extractor; its weights are not read.

    Args:
        random: seed of random tensors that stand in for it.

    Raises:
        WeightsError: it was not made yet, or its record is damaged.
    """
    if random is not None:
        return {"id": f"{PREFIX}{name}", "random": True, "seed": random}
    record = record_of(name)
    return {
        "id": f"{PREFIX}{name}",
        "kind": "made",
        "source": "ercache pretrain",
        "revision": record.run,
        "sha256": {**record.sha256, RECORD: digest_of_file(FOLDER / name / RECORD)},
    }


def seen_by(name: str) -> dict[str, list[str]]:
    """Corpus -> ids that the training or the selection of an extractor has seen.

    Raises:
        WeightsError: the list is absent, or not the one that was written with the weights.
    """
    path = FOLDER / name / SEEN
    if not path.is_file() or digest_of_file(path) != record_of(name).sha256.get(SEEN):
        raise WeightsError(
            f"{path}: absent or changed; it is unknown what the extractor has seen",
            hint=f"`ercache pretrain {name}` makes it again",
        )
    seen: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return seen


def made_file(name: str, file: str) -> Path:
    """A file of an extractor, present and the one that was written with its record.

    Raises:
        WeightsError: it is not, or the extractor was not made yet.
    """
    path, expected = FOLDER / name / file, record_of(name).sha256.get(file)
    if not path.is_file() or digest_of_file(path) != expected:
        raise WeightsError(
            f"{path}: absent, or not the file that was trained",
            hint=f"`ercache pretrain {name}` makes it again",
        )
    return path


def load_made(
    weights: Weights,
    extractor: str,
    build: Callable[[Mapping[str, Any]], "Network"],
    random: Mapping[str, Any],
) -> "tuple[Network, Mapping[str, Any]]":
    """The network of an extractor in eval mode, and the switches that it was trained with.

    Args:
        weights: handle with the key `made/<name>`; with `random`, a seeded initialisation stands in for it.
        extractor: key of the encoder that asks.
        build: switches -> the network.
        random: switches of a random one, for which there was no training.

    Raises:
        WeightsError: absent, damaged, or made for another encoder.
    """
    from ercache.weights.fast_init import drawn

    if weights.random is not None:
        with drawn(weights.random):
            return build(random).eval(), random
    name = weights.key.removeprefix(PREFIX)
    record = record_of(name)
    if record.extractor != extractor:
        raise WeightsError(
            f"extractor {name!r} was made for {record.extractor}, not {extractor}",
            hint="name another one in `pretrained`",
        )
    path = made_file(name, MODEL)
    with drawn(None):
        network = build(record.config)
    load_strict(network, read_tensors(path), name)
    return network.eval(), record.config
