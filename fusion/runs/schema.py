"""The run folder: what a training leaves behind, written whole and with equal bytes for equal inputs."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ercache.digests import canonical_json
from ercache.errors import UsageError
from ercache.files import write_csv as write_csv
from ercache.files import write_json as write_json
from ercache.manifest import Manifest, Utterance
from ercache.params.schema import EpcTarget, ExperimentParams, Task
from ercache.training.losses import IGNORED
from fusion.data.batches import Statistics, Subset

MODEL_FILE = "model.safetensors"
STATISTICS_FILE = "statistics.safetensors"
PREDICTIONS_FILE = "predictions.parquet"
NONE = "none"  # of several emotions, none is there
CURVES = ("train_loss", "validation_loss", "validation_weighted_f1", "validation_accuracy")


class RunRecord(BaseModel):
    """What `run.json` says that later commands need; it says more."""

    experiment: str
    model: str
    preset: str
    corpus: str
    task: Task
    history: int | None = None
    epc_target: EpcTarget = "next_utterance"
    label_set: str
    split: str
    folds: dict[str, Any] | None = None
    several: bool = False
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
        fields = (
            "model",
            "corpus",
            "task",
            "history",
            "epc_target",
            "label_set",
            "split",
            "features",
            "preset",
        )
        unlabelled = self.provenance.get("unlabelled", "keep")
        return ExperimentParams(unlabelled=unlabelled, **{name: getattr(self, name) for name in fields})


@dataclass(frozen=True)
class Predictions:
    """What one seed says about one subset.

    Attributes:
        subset: its name.
        utterances: of the subset, N.
        probabilities: of each class, [N, C]; where several may hold at once, of each on its own.
        truth: class indices, [N], or which classes hold (1, 0), [N, C]; -100 where that is unknown.
    """

    seed: int
    subset: str
    utterances: tuple[Utterance, ...]
    probabilities: NDArray[np.float32]
    truth: NDArray[np.int64]

    @property
    def several(self) -> bool:
        """Whether any number of classes may hold at once."""
        return self.truth.ndim == 2

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class, [N], or which classes are more probable than not, [N, C]."""
        best: NDArray[np.int64] = (
            (self.probabilities > 0.5).astype(np.int64) if self.several else self.probabilities.argmax(1)
        )
        return best


def joined(parts: Sequence[Predictions]) -> Predictions:
    """What one seed says about one subset of several folds, one fold after the other."""
    return Predictions(
        parts[0].seed,
        parts[0].subset,
        tuple(u for part in parts for u in part.utterances),
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.truth for part in parts]),
    )


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
    per_class = {name: run["per_class"][name] for name in run["classes"]}  # the file's keys are sorted
    return {"scores": run["test"], "per_class": per_class, "confusion": run["confusion"]}


def read_record(folder: Path) -> dict[str, Any]:
    """All that `run.json` of a run that is whole says."""
    record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return record


def read_curves(folder: Path) -> list[list[str]]:
    """The rows of `curves.csv` of a run that is whole, its header first."""
    with (folder / "curves.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


def read_predictions(folder: Path, manifest: Manifest) -> dict[str, list[Predictions]]:
    """`dev` and `test` -> the predictions of every seed of a run that is whole."""
    run, by_id = read_run(folder), {u.id: u for u in manifest.utterances}
    rank = {name: c for c, name in enumerate(run.classes)}
    found: dict[str, list[Predictions]] = {"dev": [], "test": []}
    table = parquet.read_table(folder / PREDICTIONS_FILE)
    for name, predictions in found.items():
        for seed in run.seeds:
            rows = table.filter((pc.field("subset") == name) & (pc.field("seed") == seed))
            columns = {key: rows.column(key) for key in rows.column_names}
            chance = np.stack([columns[f"p_{c}"].to_numpy() for c in run.classes], axis=1)
            if run.several:
                held = [columns[f"label_{c}"].fill_null(IGNORED).to_numpy() for c in run.classes]
                truth = np.stack(held, axis=1).astype(np.int64)
            else:
                truth = np.array([rank.get(v, IGNORED) for v in columns["label"].to_pylist()], np.int64)
            utterances = tuple(by_id[i] for i in columns["id"].to_pylist())
            predictions.append(Predictions(seed, name, utterances, chance.astype(np.float32), truth))
    return found


def write_predictions(path: Path, predictions: Sequence[Predictions], classes: Sequence[str]) -> None:
    """One row per seed and utterance; the label is null where there is none."""
    parquet.write_table(pa.concat_tables(_table(p, classes) for p in predictions), path)


def _table(predictions: Predictions, classes: Sequence[str]) -> pa.Table:
    rows = predictions.utterances
    columns: dict[str, Any] = {
        "seed": pa.array([predictions.seed] * len(rows), pa.int32()),
        "id": [u.id for u in rows],
        "dialogue": [u.dialogue for u in rows],
        "index": pa.array([u.index for u in rows], pa.int32()),
        "speaker": [u.speaker for u in rows],
        "subset": [predictions.subset] * len(rows),
        "label": pa.array(names_of(predictions.truth, classes), pa.string()),
        "predicted": pa.array(names_of(predictions.predicted, classes), pa.string()),
    }
    columns |= {f"p_{name}": predictions.probabilities[:, c] for c, name in enumerate(classes)}
    if predictions.several:
        known = predictions.truth >= 0
        columns |= {
            f"label_{name}": pa.array(predictions.truth[:, c], pa.int8(), mask=~known[:, c])
            for c, name in enumerate(classes)
        }
    return pa.table(columns)


def names_of(labels: NDArray[np.int64], classes: Sequence[str]) -> list[str | None]:
    """Labels as words: a class, or the classes that hold (`happy+sad`, `none`); None where nothing is known.

    Args:
        labels: [N], or [N, C] of 1, 0 and -100.
    """
    if labels.ndim == 1:
        names = [*classes, None]  # -100 is moved to the end
        return [names[c] if c >= 0 else None for c in labels]
    return [
        None
        if (row < 0).all()
        else "+".join(name for name, has in zip(classes, row, strict=True) if has == 1) or NONE
        for row in labels
    ]


def inside_rows(subset: Subset, values: Tensor) -> NDArray[Any]:
    """Values [N, ...] of the utterances that belong to the subset."""
    picked: NDArray[Any] = values[subset.inside.to(values.device)].cpu().numpy()
    return picked


def cpu_state(model: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a model's state."""
    return {name: value.detach().cpu() for name, value in model.state_dict().items()}
