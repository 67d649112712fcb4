"""The predictions of a run: a Parquet table in the run folder, with one row for each seed and utterance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from ercache.errors import UsageError
from ercache.manifest import Manifest, Utterance
from ercache.training.losses import IGNORED
from fusion.runs.schema import read_run

PREDICTIONS_FILE: Final = "predictions.parquet"
NONE: Final = "none"  # label of an utterance without any of the emotions, in a multi-label task
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Predictions:
    """The predictions of one seed's model for one subset.

    Attributes:
        seed: the seed.
        subset: name of the subset, such as `test`.
        utterances: the N utterances of the subset.
        probabilities: predicted probability of each class, [N, C]. A row adds up to 1, except in a multi-label task.
        truth: true class indices [N]; in a multi-label task [N, C] with 1 (present) and 0 (absent). -100 if unknown.
    """

    seed: int
    subset: str
    utterances: tuple[Utterance, ...]
    probabilities: NDArray[np.float32]
    truth: NDArray[np.int64]

    @property
    def several(self) -> bool:
        """Whether the task is multi-label: an utterance may have several classes."""
        return self.truth.ndim == 2

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Predicted class index of each of the N utterances, [N]: the most probable class.

        In a multi-label task with C classes, [N, C] with 1 for probabilities above 0.5, else 0.
        """
        best: NDArray[np.int64] = (
            (self.probabilities > 0.5).astype(np.int64) if self.several else self.probabilities.argmax(1)
        )
        return best


def concatenate_folds(parts: Sequence[Predictions]) -> Predictions:
    """Join the predictions that one seed made for the same subset (such as test) in several folds, fold after fold."""
    return Predictions(
        parts[0].seed,
        parts[0].subset,
        tuple(u for part in parts for u in part.utterances),
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.truth for part in parts]),
    )


def read_predictions(folder: Path, manifest: Manifest) -> dict[str, list[Predictions]]:
    """Read the stored predictions of a finished run.

    Args:
        folder: the run folder.
        manifest: the corpus; gives the utterances for the stored ids.

    Returns:
        Subset (`dev`, `test`) -> predictions of each seed.
    """
    run, by_id = read_run(folder), {u.id: u for u in manifest.utterances}
    rank = {name: c for c, name in enumerate(run.classes)}
    found: dict[str, list[Predictions]] = {"dev": [], "test": []}
    for name, predictions in found.items():
        table = read_rows(folder, name)
        for seed in run.seeds:
            rows = table.filter(pc.field("seed") == seed)
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


def read_rows(folder: Path, subset: str, needed: Sequence[str] = ()) -> pa.Table:
    """Read one subset's rows of a run's predictions table, with all columns.

    Args:
        folder: the run folder.
        subset: `dev` or `test`.
        needed: names of columns that the table must have.

    Raises:
        UsageError: the file is absent or damaged, or a column is missing.
    """
    path, hint = folder / PREDICTIONS_FILE, "train the experiment again"
    try:
        known = parquet.read_schema(path).names
        lacking = [name for name in ("subset", *needed) if name not in known]
        if lacking:
            raise UsageError(
                f"{path}: this table of predictions lacks the columns {', '.join(lacking)}", hint=hint
            )
        return parquet.read_table(path, filters=[("subset", "==", subset)])
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path}: cannot be read ({error})", hint=hint) from error


def write_predictions(path: Path, predictions: Sequence[Predictions], classes: Sequence[str]) -> None:
    """Write predictions as a Parquet table with one row for each seed and utterance; an unknown label is null."""
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
    """Turn the labels of N utterances into names; None for an unknown label.

    In a multi-label task, a name lists all present classes (`happy+sad`), or is `none`.

    Args:
        labels: class indices [N]; in a multi-label task [N, C] with 1 (present), 0 (absent) and -100 (unknown).
        classes: names of the C classes.
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


def majority_vote(votes: Ints, chance: NDArray[np.floating[Any]]) -> Ints:
    """Return the class index that most seeds predict for each utterance, [N].

    In a tie, the class with the highest mean probability wins.

    Args:
        votes: class index that each of S seeds predicts for each of N utterances, [S, N].
        chance: probability of each class, averaged over seeds, [N, C].
    """
    count = (votes[:, :, None] == np.arange(chance.shape[1])).sum(0)
    best: Ints = np.where(count == count.max(1, keepdims=True), chance, -1.0).argmax(1)
    return best


@dataclass(frozen=True)
class MajorityVote:
    """The label that most seeds of a run predict for one utterance.

    Attributes:
        label: name of the true label; None if unknown.
        predicted: name of the label that most seeds predict.
        votes: number of seeds that predict this label.
        seeds: number of all seeds.
        probability: probability of the predicted label, averaged over seeds; None in a multi-label task.
    """

    label: str | None
    predicted: str
    votes: int
    seeds: int
    probability: float | None


def read_majority_votes(folder: Path, subset: str) -> dict[str, MajorityVote]:
    """Read, for each utterance of a subset, the label that most seeds of a run predict.

    Args:
        folder: the run folder.
        subset: `dev` or `test`.

    Returns:
        Utterance id -> majority vote of the seeds.

    Raises:
        UsageError: the predictions file is absent or damaged.
    """
    by_id: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(folder, subset, ("id", "label", "predicted")).to_pylist():
        by_id.setdefault(row["id"], []).append(row)
    return {name: _majority_of(votes) for name, votes in by_id.items()}


def _majority_of(rows: Sequence[Mapping[str, Any]]) -> MajorityVote:
    """Compute the majority vote for one utterance from its rows in the predictions table, one row for each seed."""
    labels = sorted({row["predicted"] for row in rows})
    votes = np.array([[labels.index(row["predicted"])] for row in rows])
    known = all(f"p_{label}" in row for row in rows for label in labels)
    chance = (
        np.array([[row[f"p_{label}"] for label in labels] for row in rows]).mean(0)
        if known
        else np.zeros(len(labels))
    )
    best = int(majority_vote(votes, chance[None])[0])
    return MajorityVote(
        rows[0]["label"],
        labels[best],
        int((votes == best).sum()),
        len(rows),
        float(chance[best]) if known else None,
    )
