"""Compare trained systems (models with their features): with a reference model, and with single modalities."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ercache.errors import UsageError
from ercache.params.schema import ExperimentParams, Params
from ercache.training.selection import METRIC
from ercache.wording import task_label
from fusion.evaluation.ranking import Ranking, rank_systems
from fusion.evaluation.scored_run import ScoredRun, read_scored_runs
from fusion.evaluation.significance import compare_pair, holm
from fusion.experiment.resolve import experiment_of
from fusion.papers.deviations import recorded_deviations
from fusion.runs.schema import RunRecord, as_json, read_run

# Task -> model that the others are compared with.
REFERENCES: Final = {"erc": "bc_lstm", "epc": "copy_last"}
LEVEL: Final = 0.05
P_VALUES: Final = ("p", "p_mcnemar")


@dataclass(frozen=True)
class System:
    """A system to compare: an experiment of params.yaml that was trained, with its scores.

    Attributes:
        name: name of the experiment.
        entry: its entry in params.yaml.
        run: content of `run.json` in the run folder: settings, scores and origin.
        folder: the run folder.
    """

    name: str
    entry: ExperimentParams
    run: RunRecord
    folder: Path

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities (text, audio, visual) of the features that the experiment uses."""
        return tuple(self.entry.features)

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Four values: corpus, task, label set and split. Systems can be compared if all four are equal."""
        e = self.entry
        return e.corpus, task_label(e.task, e.epc_target), e.label_set, e.split


def trained_systems(params: Params, models: Path) -> list[System]:
    """Find the experiments that were trained, in the order of params.yaml.

    Args:
        models: folder that holds the run folders.

    Raises:
        UsageError: a run was trained with other features or switches than params.yaml has now. The details list all
            such runs.
    """
    found, stale = [], []
    for name, entry in params.experiments.items():
        folder = models / name
        if not folder.is_dir():
            continue
        run, experiment = read_run(folder), experiment_of(name, params)
        training = experiment.training.model_dump(mode="json")
        wanted = (entry.features, experiment.config.model_dump(mode="json"), training)
        # Another number of seeds is accepted; the tables show it.
        if (run.features, run.config, {**run.training, "seeds": training["seeds"]}) != wanted:
            stale.append(f"{folder}: trained with other features or switches than in params.yaml")
        found.append(System(name, entry, run, folder))
    if stale:
        raise UsageError(
            "some runs were trained with other params than params.yaml has now",
            details=stale,
            hint="train these experiments again: ercache train EXPERIMENT",
        )
    return found


def comparable_groups(systems: Iterable[System]) -> list[list[System]]:
    """Divide the systems into groups that can be compared: same corpus, task, label set and split."""
    by_place: dict[tuple[str, ...], list[System]] = {}
    for system in systems:
        by_place.setdefault(system.place, []).append(system)
    return list(by_place.values())


def reference_of(group: list[System]) -> str:
    """Name of the model that all other models of a group are compared with: one for each task (erc, epc)."""
    return REFERENCES[group[0].entry.task]


def rank_models(group: list[System]) -> Ranking | None:
    """Rank the models of a group by their mean rank over the test dialogues. None if there is only one model.

    On each dialogue, the models are ranked by weighted F1. If several systems have the same model, the one with the
    most modalities is ranked.
    """
    fullest = _fullest(group)
    return rank_systems(list(_outcomes(fullest.values()).values())) if len(fullest) > 1 else None


def against_reference(group: list[System]) -> list[dict[str, Any]]:
    """Compare every model with the reference model of its task (see `reference_of`).

    If several systems have the same model, the one with the most modalities is compared.

    Returns:
        One dictionary per model, sorted by test score, best first. Each has `system`, `model`, `modalities`,
            `parameters`, `seeds`, `validation` and `test` (`{"mean", "std", "ci95"}` for each metric), `marks` and
            `deviations` (from the paper of the model; None if it has no paper). All but the reference also have
            `difference`, `ci95`, `p` and `p_mcnemar`. The p values are Holm-corrected over all models.
    """
    fullest = _fullest(group)
    outcomes = _outcomes(fullest.values())
    reference = fullest.get(reference_of(group))
    rows = []
    for system in fullest.values():
        row = _described(system)
        if reference is not None and system.name != reference.name:
            row |= _difference(outcomes[system.name], outcomes[reference.name])
        rows.append(row)
    _correct(rows)
    return sorted(rows, key=lambda row: -float(row["test"][METRIC]["mean"]))


def against_single(group: list[System]) -> list[dict[str, Any]]:
    """Compare each single-modality system to the system of the same model that has the most modalities.

    Returns:
        One dictionary per single-modality system, with the fields of `against_reference`. Here, `difference` is the
            score of the system with the most modalities minus the score of the single-modality system. Two fields are
            new: `full`, the name of the system with the most modalities; and `better`, whether it is significantly
            better (Holm-corrected p value below 0.05).
    """
    fullest = _fullest(group)
    pairs = [
        (fullest[s.entry.model], s)
        for s in group
        if len(s.modalities) == 1 and len(fullest[s.entry.model].modalities) > 1
    ]
    outcomes = _outcomes(s for pair in pairs for s in pair)
    rows = []
    for full, single in pairs:
        row = {**_described(single), "full": full.name}
        rows.append(row | _difference(outcomes[full.name], outcomes[single.name]))
    _correct(rows)
    for row in rows:
        row["better"] = row["difference"] > 0 and row["p"] < LEVEL
    return rows


def _fullest(group: list[System]) -> dict[str, System]:
    """Find the system with the most modalities for each model. Returns a dictionary from model to system."""
    found: dict[str, System] = {}
    for system in group:
        held = found.get(system.entry.model)
        if held is None or len(system.modalities) > len(held.modalities):
            found[system.entry.model] = system
    return found


def _outcomes(systems: Iterable[System]) -> dict[str, ScoredRun]:
    folders = {s.name: s.folder for s in systems}
    return dict(zip(folders, read_scored_runs(list(folders.values())), strict=True)) if folders else {}


def _difference(a: ScoredRun, b: ScoredRun) -> dict[str, Any]:
    pair = compare_pair(a, b)
    return {key: pair[key] for key in ("difference", "ci95", *P_VALUES)}


def _correct(rows: list[dict[str, Any]]) -> None:
    compared = [row for row in rows if "p" in row]
    for key in P_VALUES if compared else ():
        for row, value in zip(compared, holm([row[key] for row in compared]), strict=True):
            row[key] = value


def _described(system: System) -> dict[str, Any]:
    run = system.run
    return {
        "system": system.name,
        "model": system.entry.model,
        "modalities": list(system.modalities),
        "parameters": run.parameters,
        "seeds": len(run.seeds),
        "validation": as_json(run.validation),
        "test": as_json(run.test),
        "marks": run.marks,
        "deviations": recorded_deviations(run),
    }
