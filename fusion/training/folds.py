"""Cross-validation: trains one experiment for each fold, then pools the test predictions of all folds in one run.

A fold is a split in the manifest, named `<folds>/<what is held out>`, with train, dev and test subsets. Feature
extractors that are trained on the corpus are trained anew for each fold. The test subset is read once, after the epochs
are chosen on dev.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from ercache.errors import UsageError
from ercache.files import write_csv
from ercache.manifest import Manifest, read_manifest
from ercache.params.load import suggestion
from ercache.params.schema import SPLIT_MARK, ExperimentParams, Params, split_array_name
from fusion.experiment.resolve import Experiment
from fusion.runs.predict import score_subset
from fusion.runs.predictions import Predictions, concatenate_folds, read_predictions
from fusion.runs.schema import FoldRecord, Provenance, RunRecord, Score, Scores, read_curves, read_run
from fusion.training.write_run import with_deviations, write_results

FOLDS: Final = "folds"  # subfolder of the run folder, with a run folder for each fold


def fold_experiments(experiment: Experiment, params: Params, data: Path) -> dict[str, Experiment]:
    """Make one experiment for each fold of a cross-validation experiment.

    Args:
        experiment: an experiment with the entry `folds`.
        params: contents of params.yaml; says which feature extractors are trained on the corpus.
        data: folder with manifests/.

    Returns:
        Name of the fold -> experiment of the fold, in the order of the manifest.

    Raises:
        UsageError: the manifest has no such folds, or two folds test the same utterance.
    """
    entry = experiment.entry
    manifest = read_manifest(data / "manifests" / f"{entry.corpus}.jsonl")
    name = str(entry.folds)
    folds = manifest.folds_of(name)
    if not folds:
        known = {split.rpartition("/")[0] for split in manifest.splits if "/" in split}
        raise UsageError(
            f"{entry.corpus}: unknown folds {name!r}",
            hint=suggestion(name, known),
        )
    tested = [i for fold in folds for i in manifest.splits[fold].get("test", ())]
    if len(set(tested)) < len(tested):
        twice = len(tested) - len(set(tested))
        raise UsageError(
            f"{entry.corpus}: the folds {name!r} test {twice} utterances more than once",
            hint="scan the corpus again",
        )
    return {
        fold: replace(experiment, name=f"{experiment.name}, {fold}", entry=_entry_of(entry, fold, params))
        for fold in folds
    }


def _entry_of(entry: ExperimentParams, fold: str, params: Params) -> ExperimentParams:
    features = {
        m: [_feature_of(name, entry.corpus, fold, params) for name in f] for m, f in entry.features.items()
    }
    return entry.model_copy(update={"split": fold, "folds": None, "features": features})


def _feature_of(name: str, corpus: str, fold: str, params: Params) -> str:
    """Return the name of the feature to use in one fold: `<feature>@<fold>`, or the unchanged name.

    The fold is part of the name if the feature's extractor is trained on this corpus: each fold then has an extractor
    of its own. Otherwise all folds share one feature.
    """
    feature, array = split_array_name(name)
    known = params.features.get(feature)
    extractor = params.pretrain.get(str(known.params.get("pretrained"))) if known else None
    if extractor is None or extractor.corpus != corpus:
        return name
    return f"{feature}{SPLIT_MARK}{fold}" + (f":{array}" if array else "")


def folder_of(fold: str) -> str:
    """Return the name of a fold's folder (in `folds/` of the run folder): the fold's name behind its last slash."""
    return fold.rpartition("/")[2]


def write_pooled(folder: Path, experiment: Experiment, folds: Sequence[str], data: Path) -> RunRecord:
    """Pool the finished runs of all folds into one run, and write its files.

    Args:
        folder: the run folder; already holds the run folder of each fold.
        experiment: the experiment that names the folds.
        folds: names of the folds.
        data: folder with manifests/.

    Returns:
        The record of the pooled run. `test` holds scores over the test utterances of all folds together. `over_folds`
        holds mean and standard deviation of the folds' own test scores.
    """
    entry = experiment.entry
    manifest = read_manifest(data / "manifests" / f"{entry.corpus}.jsonl")
    runs = {fold: read_run(folder / FOLDS / folder_of(fold)) for fold in folds}
    first = next(iter(runs.values()))
    found = pooled_predictions(folder, folds, manifest)
    dev, after = score_subset(found["dev"], first.classes), score_subset(found["test"], first.classes)
    record = first.model_copy(
        update={
            "experiment": experiment.name,
            "split": str(entry.folds),
            "features": {modality: list(names) for modality, names in entry.features.items()},
            "epochs": [epoch for run in runs.values() for epoch in run.epochs],
            "folds": {fold: _of_fold(run) for fold, run in runs.items()},
            "over_folds": _over_folds(runs),
            "missing": {"test": _sum([run.missing["test"] for run in runs.values()])},
            "validation": dev.scores,
            "test": after.scores,
            "per_class": after.per_class,
            "confusion": after.confusion,
            "provenance": _provenance(runs, manifest, entry),
            "marks": _marks(runs),
        }
    )
    record = with_deviations(record)
    header, rows = _curves(folder, folds)
    write_csv(folder / "curves.csv", header, rows)
    write_results(folder, record, found)
    return record


def pooled_predictions(
    folder: Path, folds: Sequence[str], manifest: Manifest
) -> dict[str, list[Predictions]]:
    """Read the stored predictions of all folds, and join those of the same seed.

    Returns:
        Subset (`dev`, `test`) -> the joined predictions of each seed.
    """
    places = [folder / FOLDS / folder_of(fold) for fold in folds]
    stored = [read_predictions(place, manifest) for place in places]
    return {
        name: [concatenate_folds(parts) for parts in zip(*(one[name] for one in stored), strict=True)]
        for name in ("dev", "test")
    }


def _of_fold(run: RunRecord) -> FoldRecord:
    return FoldRecord(
        epochs=run.epochs, validation=run.validation, test=run.test, missing=run.missing, marks=run.marks
    )


def _over_folds(runs: Mapping[str, RunRecord]) -> Scores:
    means = {m: [run.test[m].mean for run in runs.values()] for m in next(iter(runs.values())).test}
    return {
        m: Score(mean=float(np.mean(v)), std=float(np.std(v, ddof=1)) if len(v) > 1 else 0.0)
        for m, v in means.items()
    }


def _sum(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for count in counts for name in count)
    return {name: sum(count.get(name, 0) for count in counts) for name in names}


def _provenance(runs: Mapping[str, RunRecord], manifest: Manifest, entry: ExperimentParams) -> Provenance:
    """Merge the provenance of all folds: where their features and labels come from (caches, encoders, digests).

    The versions of libraries are those of the first fold.
    """
    every = [run.provenance for run in runs.values()]
    merged = {
        name: {key: value for one in every for key, value in getattr(one, name).items()}
        for name in ("caches", "encoders", "context")
    }
    return every[0].model_copy(
        update={
            **merged,
            "labels_digest": manifest.labels_digest(entry.label_set, str(entry.folds)),
            "random_weights": any(one.random_weights for one in every),
            "leak": any(one.leak for one in every),
            "run_digest": {fold: run.provenance.run_digest for fold, run in runs.items()},
        }
    )


def _marks(runs: Mapping[str, RunRecord]) -> list[str]:
    """Merge the notes (marks) of all folds. If only some folds have a note, their names are added to it."""
    where: dict[str, list[str]] = {}
    for fold, run in runs.items():
        for mark in run.marks:
            where.setdefault(mark, []).append(fold)
    return [
        mark if len(folds) == len(runs) else f"{mark} ({', '.join(folds)})" for mark, folds in where.items()
    ]


def _curves(folder: Path, folds: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Join the training curves of all folds into one table with the fold as first column; return header and rows."""
    header: list[str] = []
    rows: list[list[str]] = []
    for fold in folds:
        (header, *own) = read_curves(folder / FOLDS / folder_of(fold))
        rows += [[fold, *row] for row in own]
    return ["fold", *header], rows
