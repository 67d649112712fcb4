"""Evaluates a trained run on a subset: loads the weights, predicts from the feature caches, and computes scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ercache.errors import UsageError
from ercache.params.load import suggestion
from ercache.params.schema import TrainingParams
from ercache.training.determinism import deterministic, threads_for
from fusion.data.batches import PaddedBatches, standardized_on_device
from fusion.data.modality_dropout import remove_modalities
from fusion.experiment.source import SUBSETS, Source, read_source
from fusion.models import MODELS
from fusion.papers.deviations import recorded_deviations
from fusion.runs.predict import predict, score_subset
from fusion.runs.predictions import Predictions, concatenate_folds
from fusion.runs.schema import RunRecord, as_json, changes_since, read_run
from fusion.runs.weights import MODEL_FILE, read_statistics, read_tensors
from fusion.training.folds import FOLDS, folder_of


def evaluate(
    model_dir: Path,
    data: Path,
    subset: str = "test",
    *,
    device: str = "cpu",
    lacking: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluate the models of all seeds of a run on one subset (train, dev or test).

    Args:
        model_dir: the run folder.
        data: folder with the manifest and the caches that the run was trained on.
        subset: train, dev or test.
        device: name of a torch device, such as `cpu` or `cuda:0`.
        lacking: modalities to remove from all utterances, to test the model without them.

    Returns:
        The dict that `ercache evaluate --json` prints. The name of the subset (such as `test`) is a key; its value is
        metric -> `{"mean", "std", "ci95"}` over seeds. Other keys are `per_class`, `confusion`, `marks` (notes on the
        result) and `deviations` (from the paper of the model; None for a model without a paper).

    Raises:
        UsageError: the run, the subset or a cache cannot be used.
    """
    if subset not in SUBSETS:
        raise UsageError(f"unknown subset {subset!r}", hint=suggestion(subset, SUBSETS))
    run = read_run(model_dir)
    for name in lacking:
        if name not in run.features:
            raise UsageError(
                f"{model_dir}: the run has no modality {name!r} to remove",
                hint=suggestion(name, run.features),
            )
    if run.folds:
        places = [model_dir / FOLDS / folder_of(fold) for fold in run.folds]
        parts = [_predict_again(place, read_run(place), data, subset, device, lacking) for place in places]
    else:
        parts = [_predict_again(model_dir, run, data, subset, device, lacking)]
    found = [
        concatenate_folds(seeds) for seeds in zip(*(predictions for predictions, _ in parts), strict=True)
    ]
    result = score_subset(found, run.classes)
    return {
        "experiment": run.experiment,
        "model": run.model,
        "corpus": run.corpus,
        "subset": subset,
        "lacking": list(lacking),
        "seeds": run.seeds,
        "epochs": run.epochs,
        subset: as_json(result.scores),
        "per_class": as_json(result.per_class),
        "confusion": result.confusion,
        "deviations": recorded_deviations(run),
        "marks": list(dict.fromkeys([*run.marks, *(mark for _, marks in parts for mark in marks)])),
    }


def _predict_again(
    folder: Path, run: RunRecord, data: Path, subset: str, device: str, lacking: Sequence[str]
) -> tuple[list[Predictions], list[str]]:
    """Predict a subset with the models of all seeds of a run.

    Returns:
        Two lists: the predictions of each seed; one sentence for each change of labels, split or caches since the
        training.
    """
    source = source_of(run, data, subset)
    return predictions_of(folder, run, source, subset, device, lacking), changes_since(
        run, source.labels_digest, source.findings.digests
    )


def source_of(run: RunRecord, data: Path, subset: str) -> Source:
    """Read the labels and features that a run needs for one subset (train, dev or test).

    Features of networks with random weights, or of checkpoints trained on test data, are accepted if the training run
    used such features.
    """
    return read_source(
        data,
        run.as_experiment(),
        (subset,),
        allow_random_weights=run.provenance.random_weights,
        allow_leak=run.provenance.leak,
    )


def predictions_of(
    model_dir: Path,
    run: RunRecord,
    source: Source,
    subset: str,
    device: str = "cpu",
    lacking: Sequence[str] = (),
) -> list[Predictions]:
    """Predict the classes of a subset with the model of each seed of a run; return one `Predictions` for each seed."""
    if list(source.classes) != run.classes:
        raise UsageError(
            f"{model_dir}: the classes in the manifest have changed since the training; train the experiment again",
            details=[f"run: {', '.join(run.classes)}", f"manifest: {', '.join(source.classes)}"],
        )
    found = []
    raw = source.subset(subset)
    if raw.widths != run.widths:
        raise UsageError(
            f"{model_dir}: the model was trained on feature sizes {run.widths}, but the caches have {raw.widths}; "
            "train the experiment again"
        )
    for seed in run.seeds:
        folder = model_dir / f"seed{seed}"
        statistics = read_statistics(folder)
        if statistics is None and TrainingParams(**run.training).standardize:
            raise UsageError(
                f"{folder}: the feature statistics are missing (mean and standard deviation)",
                hint="train the experiment again",
            )
        model = load_model(folder, run).to(device)
        with deterministic(threads_for(model)):
            shown = remove_modalities(standardized_on_device(raw, statistics, device), lacking)
            found.append(predict(model, PaddedBatches(shown, source.window), seed))
    return found


def load_model(folder: Path, run: RunRecord) -> nn.Module:
    """Load the trained model of one seed, in eval mode.

    Args:
        folder: folder of the seed, inside the run folder.
        run: the contents of the run's `run.json`.

    Raises:
        UsageError: the weights are missing, damaged or from another model.
    """
    if run.model not in MODELS:
        raise UsageError(
            f"{folder}: the run names an unknown model, {run.model!r}", hint=suggestion(run.model, MODELS)
        )
    entry = MODELS[run.model]
    model = entry.build(run.widths, len(run.classes), entry.resolve(run.preset, run.config))
    try:
        model.load_state_dict(read_tensors(folder / MODEL_FILE))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{folder}: the weights do not fit the model {run.model} ({reason}); train the experiment again"
        ) from error
    return model.eval()
