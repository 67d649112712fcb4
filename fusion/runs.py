"""The run folder: what a training leaves behind, written whole and with equal bytes for equal inputs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ercache.digests import canonical_json
from ercache.errors import UsageError
from ercache.files import replaced_folder as replaced_folder
from ercache.files import write_csv as write_csv
from ercache.files import write_json as write_json
from ercache.params import ExperimentParams
from fusion.batches import Statistics, Subset

MODEL_FILE = "model.safetensors"
STATISTICS_FILE = "statistics.safetensors"
PREDICTIONS_FILE = "predictions.parquet"
CURVES = ("train_loss", "validation_loss", "validation_weighted_f1", "validation_accuracy")


class RunRecord(BaseModel):
    """What `run.json` says that later commands need; it says more."""

    experiment: str
    model: str
    preset: str
    corpus: str
    task: Literal["erc", "epc"]
    history: int | None = None
    label_set: str
    split: str
    classes: list[str]
    features: dict[str, list[str]]
    widths: dict[str, int]
    config: dict[str, Any]
    training: dict[str, Any]
    seeds: list[int]
    epochs: list[int]
    provenance: dict[str, Any]
    marks: list[str]
    paper_profile: bool = False

    def as_experiment(self) -> ExperimentParams:
        """The experiment that the run was made from."""
        fields = ("model", "corpus", "task", "history", "label_set", "split", "features", "preset")
        unlabelled = self.provenance.get("unlabelled", "keep")
        return ExperimentParams(unlabelled=unlabelled, **{name: getattr(self, name) for name in fields})


@dataclass(frozen=True)
class Predictions:
    """What one seed says about one subset.

    Attributes:
        probabilities: of each utterance of the subset, [N, C].
        truth: class indices, -100 where there is no label, [N].
    """

    seed: int
    subset: Subset
    probabilities: NDArray[np.float32]
    truth: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class, [N]."""
        best: NDArray[np.int64] = self.probabilities.argmax(1)
        return best


def write_weights(folder: Path, state: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """The model of one seed."""
    folder.mkdir(parents=True, exist_ok=True)
    # One key only: safetensors writes several in no fixed order, and equal runs have equal bytes.
    metadata = {"ercache": canonical_json(about)}
    save_file({name: value.contiguous() for name, value in state.items()}, folder / MODEL_FILE, metadata)


def write_statistics(folder: Path, statistics: Statistics) -> None:
    """What the features were standardised with."""
    tensors = {f"{kind}.{m}": v for kind, values in vars(statistics).items() for m, v in values.items()}
    save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, folder / STATISTICS_FILE)


def read_statistics(folder: Path) -> Statistics | None:
    """The statistics of a seed; None when its features were not standardised."""
    path = folder / STATISTICS_FILE
    if not path.is_file():
        return None
    tensors = read_tensors(path)
    mean, std = (
        {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{kind}.")}
        for kind in ("mean", "std")
    )
    return Statistics(mean, std)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file.

    Raises:
        UsageError: it is absent or damaged.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"{path}: not readable ({error})", hint="train the experiment again") from error
    return tensors


def read_run(folder: Path) -> RunRecord:
    """`run.json` of a run folder.

    Raises:
        UsageError: it is absent or not what a run writes.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise UsageError(
            f"{folder}: no run here (run.json is not there)", hint="ercache train EXPERIMENT makes one"
        )
    try:
        return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: damaged ({error})", hint="train the experiment again") from error


def read_result(folder: Path) -> dict[str, Any]:
    """What a run that `read_run` accepts says of test: `scores` (metric -> `{"mean", "std", "ci95"}`), `per_class`
    (precision, recall, F1 and support) and `confusion` (summed over seeds).
    """
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return {"scores": run["test"], "per_class": run["per_class"], "confusion": run["confusion"]}


def write_predictions(path: Path, predictions: Sequence[Predictions], classes: Sequence[str]) -> None:
    """One row per seed and utterance; the label is null where there is none."""
    parquet.write_table(pa.concat_tables(_table(p, classes) for p in predictions), path)


def _table(predictions: Predictions, classes: Sequence[str]) -> pa.Table:
    subset = predictions.subset
    rows = [u for u, inside in zip(subset.utterances, subset.inside.tolist(), strict=True) if inside]
    names = [*classes, None]  # -100 is moved to the end
    columns: dict[str, Any] = {
        "seed": pa.array([predictions.seed] * len(rows), pa.int32()),
        "id": [u.id for u in rows],
        "dialogue": [u.dialogue for u in rows],
        "index": pa.array([u.index for u in rows], pa.int32()),
        "speaker": [u.speaker for u in rows],
        "subset": [subset.name] * len(rows),
        "label": pa.array([names[c] if c >= 0 else None for c in predictions.truth], pa.string()),
        "predicted": [classes[c] for c in predictions.predicted],
    }
    columns |= {f"p_{name}": predictions.probabilities[:, c] for c, name in enumerate(classes)}
    return pa.table(columns)


def inside_rows(subset: Subset, values: Tensor) -> NDArray[Any]:
    """Values [N, ...] of the utterances that belong to the subset."""
    picked: NDArray[Any] = values[subset.inside.to(values.device)].cpu().numpy()
    return picked


def cpu_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a model's state."""
    return {name: value.detach().cpu() for name, value in model.state_dict().items()}
