"""Find, describe and load the extractors that `ercache pretrain` has trained.

An extractor is an encoder that the user trained. Its folder `<data>/extractors/<name>` holds three things: the weights,
a record (`extractor.json`) with the sha256 of every file, and the ids of the utterances that were used for training and
for choosing the epoch. A feature in params.yaml names its extractor with `pretrained: <name>`. The key of the weights
is then `made/<name>`.

Every function takes `data`, the folder that holds manifests, caches, extractors and models.
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
    from torch import Tensor, nn

    Network = TypeVar("Network", bound=nn.Module)

EXTRACTORS: Final = "extractors"  # folder under `data`
MODEL: Final = "model.safetensors"
CURVES: Final = "curves"  # written by dvclive
TABLES: Final = f"{CURVES}/plots/metrics"  # holds one NAME.tsv per score, with the columns `step` and NAME
TOKENIZER: Final = "tokenizer.json"
RECORD: Final = "extractor.json"
SEEN: Final = "seen.json"
PREFIX: Final = "made/"
TRAINED_ON: Final = (
    "trained_on"  # in the record of weights: the other corpora on which an extractor was trained
)
TRAINING: Final = "extractor"  # in the provenance of a cache: how its extractor was trained
TRAINING_FIELDS: Final = (
    "config",
    "training",
    "checkpoint",
    "labels",
    "seen",
)  # fields of the record that it has


class ExtractorRecord(BaseModel):
    """The fields of an extractor's `extractor.json` that encoders need. The file has more fields.

    Attributes:
        extractor: key of the encoder that the weights belong to.
        config: switches that the extractor was trained with, for example the image size.
        sha256: digest of each file of the extractor, by file name.
        run: sha256 of everything that decided the weights (data, switches, training params and so on).
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    extractor: str
    config: dict[str, Any]
    sha256: dict[str, str]
    run: str


def extractor_folder(data: Path, name: str) -> Path:
    """Path of the folder of an extractor, `<data>/extractors/<name>`, whether the folder exists or not."""
    return data / EXTRACTORS / name


def read_record(data: Path, name: str) -> ExtractorRecord:
    """Read what `extractor.json` records about an extractor: its encoder, its switches and the sha256 of its files.

    Raises:
        WeightsError: the extractor is not trained yet, or its record is damaged.
    """
    path = extractor_folder(data, name) / RECORD
    if not path.is_file():
        raise WeightsError(
            f"extractor {name!r} is absent: no file {path}", hint=f"train it: `ercache pretrain {name}`"
        )
    try:
        return ExtractorRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{path}: damaged record of an extractor", hint=f"train it again: `ercache pretrain {name}`"
        ) from error


def provenance(data: Path, name: str, random: int | None = None) -> dict[str, Any]:
    """Describe an extractor for the provenance of a cache, as a dictionary of JSON values. No weights are read.

    Args:
        random: seed, if the feature was computed with random weights instead of the trained ones; else None.

    Raises:
        WeightsError: the extractor is not trained yet, or its record is damaged.
    """
    if random is not None:
        return {"id": f"{PREFIX}{name}", "random": True, "seed": random}
    record = read_record(data, name)
    return {
        "id": f"{PREFIX}{name}",
        "kind": "made",
        "source": "ercache pretrain",
        "revision": record.run,
        "sha256": {**record.sha256, RECORD: digest_of_file(extractor_folder(data, name) / RECORD)},
    }


def training_record(data: Path, name: str) -> dict[str, Any]:
    """Describe how an extractor was trained, for the provenance of a cache: its switches, training params and data.

    Returns:
        A dictionary of JSON values: those of the fields `config`, `training`, `checkpoint`, `labels` and `seen` that
            `extractor.json` has. `seen` gives the number of training examples from each corpus or folder.

    Raises:
        WeightsError: the extractor is not trained yet, or its record is damaged.
    """
    record = read_record(data, name).model_dump(mode="json")
    return {field: record[field] for field in TRAINING_FIELDS if field in record}


def training_ids(data: Path, name: str) -> dict[str, list[str]]:
    """Read which utterances were used to train an extractor or to choose its best epoch.

    Returns:
        A dictionary from corpus to utterance ids.

    Raises:
        WeightsError: the list of ids is absent, or it was changed after the training.
    """
    path = extractor_folder(data, name) / SEEN
    if not path.is_file() or digest_of_file(path) != read_record(data, name).sha256.get(SEEN):
        raise WeightsError(
            f"{path}: absent or changed, so it is unknown which utterances the extractor was trained on",
            hint=f"train it again: `ercache pretrain {name}`",
        )
    ids: dict[str, list[str]] = json.loads(path.read_text(encoding="utf-8"))
    return ids


def extractor_file(data: Path, name: str, file: str) -> Path:
    """Check the sha256 of one file of an extractor against `extractor.json`, and return the path of the file.

    Raises:
        WeightsError: the file is absent or changed, or the extractor is not trained yet.
    """
    path, expected = extractor_folder(data, name) / file, read_record(data, name).sha256.get(file)
    if not path.is_file() or digest_of_file(path) != expected:
        raise WeightsError(
            f"{path}: the file is missing, or it has changed since training (its sha256 differs)",
            hint=f"train it again: `ercache pretrain {name}`",
        )
    return path


def load_extractor(
    weights: Weights,
    extractor: str,
    build: "Callable[[Mapping[str, Any], Mapping[str, Tensor]], Network]",
    random: Mapping[str, Any],
) -> "tuple[Network, Mapping[str, Any]]":
    """Load the network of a trained extractor.

    Args:
        weights: handle with the key `made/<name>`. If it has a random seed, the network is initialised from that seed
            and nothing is loaded.
        extractor: key of the encoder that will use the network.
        build: function that builds the network. It gets the switches of the extractor (such as the image size) and
            its tensors by name; an empty dictionary of tensors means random weights.
        random: switches for a network with random weights, which has no `extractor.json` to read them from.

    Returns:
        Two values: the network in eval mode, and the switches that it was built with.

    Raises:
        WeightsError: the extractor is absent, damaged, or was trained for another encoder.
    """
    from ercache.weights.fast_init import fast_init

    if weights.random is not None:
        with fast_init(weights.random):
            return build(random, {}).eval(), random
    name = weights.key.removeprefix(PREFIX)
    record = read_record(weights.data, name)
    if record.extractor != extractor:
        raise WeightsError(
            f"extractor {name!r} was trained for the encoder {record.extractor}, not for {extractor}",
            hint="name another extractor in `pretrained`",
        )
    tensors = read_tensors(extractor_file(weights.data, name, MODEL))
    with fast_init(None):
        network = build(record.config, tensors)
    load_strict(network, tensors, name)
    return network.eval(), record.config
