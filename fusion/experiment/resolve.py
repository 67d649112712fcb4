"""An experiment, resolved and checked as a whole before any work: model, switches, manifest, split, caches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ercache.counting import counted
from ercache.digests import digest_of_file
from ercache.errors import UsageError
from ercache.manifest import Manifest, read_manifest
from ercache.params.load import nearest
from ercache.params.schema import ExperimentParams, Params, TrainingParams
from ercache.training.loop import IGNORED
from fusion.data.batches import Subset, dialogues_of, make_subset, present_of
from fusion.data.cache_reader import Findings, Modality, read_modalities, read_sequences
from fusion.data.labels import LabelSpace, label_space
from fusion.data.ragged import Ragged
from fusion.data.windows import DIALOGUES, View, view_of
from fusion.experiment.lengths import too_long
from fusion.models import MODELS
from fusion.models.base import ModelEntry, in_order

SUBSETS = ("train", "dev", "test")


@dataclass(frozen=True)
class Experiment:
    """What params.yaml says of an experiment, with nothing left open."""

    name: str
    entry: ExperimentParams
    model: ModelEntry
    config: BaseModel
    training: TrainingParams


@dataclass(frozen=True)
class Source:
    """The features and labels that an experiment may use; subsets are made when they are asked for."""

    manifest: Manifest
    manifest_digest: str
    label_set: str
    split: str
    modalities: dict[str, Modality]
    sequences: dict[str, Ragged]
    rows: dict[str, int]
    findings: Findings
    view: View = DIALOGUES
    drop_unlabelled: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Values of the label set, or emotions of a family of sets, in order."""
        return self.labels.classes

    @property
    def labels(self) -> LabelSpace:
        """What is to be told of an utterance."""
        space = label_space(self.manifest, self.label_set)
        assert space is not None  # an unknown one was refused when the experiment was read
        return space

    @property
    def labels_digest(self) -> str:
        """Digest of labels and split."""
        return self.manifest.labels_digest(self.label_set, self.split)

    def subset(self, name: str) -> Subset:
        """The dialogues of one subset of the split."""
        return make_subset(
            self.manifest,
            name,
            self.manifest.splits[self.split][name],
            self.label_set,
            self.rows,
            self.modalities,
            self.view,
            self.drop_unlabelled,
            self.sequences,
        )

    @property
    def present(self) -> dict[str, NDArray[np.bool_]]:
        """Which of the utterances that were read have each modality."""
        return {m: joined.present for m, joined in self.modalities.items()} | {
            m: has.numpy() for m, has in present_of(self.sequences).items()
        }


def experiment_of(name: str, params: Params) -> Experiment:
    """An experiment of params.yaml.

    Raises:
        UsageError: it is unknown, or its model, preset, switches or modalities are wrong.
    """
    if name not in params.experiments:
        raise UsageError(f"unknown experiment {name!r}", hint=nearest(name, params.experiments))
    entry = params.experiments[name]
    if entry.model not in MODELS:
        raise UsageError(f"{name}: unknown model {entry.model!r}", hint=nearest(entry.model, MODELS))
    model = MODELS[entry.model]
    bad = [
        f"modality {m!r} is not one of {', '.join(model.modalities)}"
        for m in entry.features
        if m not in model.modalities
    ]
    bad += [f"modality {m!r} names no feature" for m, names in entry.features.items() if not names]
    bad += [
        f"modality {m!r} names {len(names)} features, this model takes {len(model.roles[m])} "
        f"({', '.join(model.roles[m])})"
        for m, names in entry.features.items()
        if m in model.roles and len(names) > len(model.roles[m])
    ]
    if entry.task not in model.tasks:
        bad.append(f"model {model.key} does not do the task {entry.task!r}")
    if bad:
        raise UsageError(f"{name}: unusable experiment", details=bad)
    return Experiment(
        name, entry, model, model.resolve(entry.preset, entry.config), params.training_of(entry)
    )


def read_source(
    data: Path,
    entry: ExperimentParams,
    subsets: Sequence[str] = SUBSETS,
    *,
    allow_random_weights: bool = False,
    allow_leak: bool = False,
) -> Source:
    """Manifest and caches of an experiment, checked.

    Args:
        data: folder with manifests/ and caches/.
        subsets: of the split; only caches that these need are read.
        allow_leak: accept features of checkpoints that have seen test data of the split; marks the result.

    Raises:
        UsageError: with everything that is wrong.
    """
    if entry.folds is not None:
        hint = f"name one split, e.g. `split: {entry.folds}/...`"
        raise UsageError(f"{entry.corpus}: the folds {entry.folds!r} where one split is needed", hint=hint)
    path = data / "manifests" / f"{entry.corpus}.jsonl"
    manifest = read_manifest(path)
    problems = _split_problems(manifest, entry, subsets)
    split = manifest.splits.get(entry.split, {})
    wanted = {i for name in subsets for i in split.get(name, ())}
    dialogues = dialogues_of(manifest, wanted)
    problems += too_long(entry, dialogues)
    needed = {u.part for dialogue in dialogues for u in dialogue} or set(manifest.parts)
    parts = [part for part in manifest.parts if part in needed]
    features = {m: entry.features[m] for m in in_order(entry.features)}  # type: ignore[index]
    test = set(split.get("test", ()))
    modalities: dict[str, Modality] = {}
    sequences: dict[str, Ragged] = {}
    guards: dict[str, Any] = {
        "test_parts": {u.part for u in manifest.utterances if u.id in test},
        "test_ids": test,
        "allow_random_weights": allow_random_weights,
        "allow_leak": allow_leak,
    }
    roles = MODELS[entry.model].roles
    if roles:
        sequences, findings = read_sequences(data / "caches", manifest, features, parts, roles, **guards)
    else:
        modalities, findings = read_modalities(data / "caches", manifest, features, parts, **guards)
    rows = {u.id: i for i, u in enumerate(u for part in parts for u in manifest.of_part(part))}
    problems += findings.problems
    if entry.task == "epc":
        problems += _looks_ahead(findings)
    torn = torn_groups(manifest, entry.split, subsets)
    if "/" in entry.split or promise_of(entry.split) == "speaker":
        problems += torn
    else:  # a table of the user's own may tear dialogues apart; the reader of the result must know
        for told in torn:
            findings.mark(told)
    source = Source(
        manifest,
        digest_of_file(path),
        entry.label_set,
        entry.split,
        modalities,
        sequences,
        rows,
        findings,
        view_of(entry),
        entry.unlabelled == "drop",
    )
    if not findings.problems:
        problems += _absent_modalities(_trained_on(manifest, entry), source.present, rows, subsets)
    _refuse(entry, problems, findings)
    if "train" in subsets:
        _mark_absent_classes(source)
    return source


def _split_problems(manifest: Manifest, entry: ExperimentParams, subsets: Sequence[str]) -> list[str]:
    problems = []
    space = label_space(manifest, entry.label_set)
    if space is None:
        problems.append(
            f"unknown label set {entry.label_set!r}; {nearest(entry.label_set, manifest.label_sets)}"
        )
    if entry.split not in manifest.splits:
        # The scan knows why it made none, and what helps.
        why = [
            p.detail for p in manifest.problems if p.reason == "split_not_made" and entry.split in p.detail
        ]
        told = f"unknown split {entry.split!r}; {nearest(entry.split, manifest.splits)}"
        return [*problems, "; ".join([told, *why])]
    split = manifest.splits[entry.split]
    labelled = {u.id for u in manifest.utterances if space is not None and space.known(u)}
    for name in subsets:
        if labelled.isdisjoint(split.get(name, ())):
            problems.append(f"split {entry.split!r}: {name} is empty or has no {entry.label_set!r} label")
    for label_set in space.sets if space else ():
        values = {u.labels.get(label_set) for u in manifest.utterances} - {None}
        strange = sorted(values.difference(manifest.label_sets[label_set]))  # type: ignore[type-var]
        problems += [f"label {v!r} is not in the label set {label_set!r}" for v in strange]
    shared = [
        (a, b) for a in subsets for b in subsets if a < b and set(split.get(a, ())) & set(split.get(b, ()))
    ]
    problems += [f"split {entry.split!r}: {a} and {b} share utterances" for a, b in shared]
    return problems


# How splits by people begin, of every corpus.
BY_SPEAKER: Final = ("speaker", "actors", "avtca", "katerynach")


def promise_of(split: str) -> str:
    """What a split never has in two subsets: `speaker` where its name says so, else `dialogue`."""
    return "speaker" if split.startswith(BY_SPEAKER) else "dialogue"


def torn_groups(manifest: Manifest, split: str, subsets: Sequence[str]) -> list[str]:
    """Which subsets share a speaker or a dialogue although the split promises that they do not."""
    promise = promise_of(split)
    group = {
        u.id: (u.part, u.dialogue) if promise == "dialogue" else ("", u.speaker) for u in manifest.utterances
    }
    held = {name: {group[i] for i in manifest.splits.get(split, {}).get(name, ())} for name in subsets}
    shared = {(a, b): sorted(held[a] & held[b]) for a in subsets for b in subsets if a < b}
    return [
        f"split {split!r}: {a} and {b} share {promise} {', '.join(name for _, name in both[:3])}"
        + (f" and {len(both) - 3} more" if len(both) > 3 else "")
        for (a, b), both in shared.items()
        if both
    ]


def _trained_on(manifest: Manifest, entry: ExperimentParams) -> list[str]:
    """Ids of train that the models will see."""
    ids = set(manifest.splits.get(entry.split, {}).get("train", ()))
    seen = (u for u in manifest.utterances if u.id in ids)
    space = label_space(manifest, entry.label_set)
    return [u.id for u in seen if entry.unlabelled == "keep" or (space is not None and space.known(u))]


def _absent_modalities(
    train: Sequence[str],
    present: Mapping[str, NDArray[np.bool_]],
    rows: Mapping[str, int],
    subsets: Sequence[str],
) -> list[str]:
    if "train" not in subsets:
        return []
    picked = [rows[i] for i in train]
    return [
        f"modality {name!r}: no utterance of train has it (all of its features together)"
        for name, has in present.items()
        if picked and not has[picked].any()
    ]


def _looks_ahead(findings: Findings) -> list[str]:
    """Prediction must not be told of its target by a feature of the utterance before it."""
    found = []
    for name, recipe in findings.recipes.items():
        context = recipe["context"]
        if context is None:
            findings.mark(f"how far {name} looks ahead is unknown")
            continue
        if context.get("speaker") == "next":
            findings.mark(f"{name} knows who speaks next")
        if context.get("future"):
            found.append(
                f"{name} sees {context['future']} later utterances of the dialogue, which are to be predicted"
            )
    return found


def _refuse(entry: ExperimentParams, problems: Sequence[str], findings: Findings) -> None:
    if not problems:
        return
    names = ",".join(dict.fromkeys(findings.again))
    hint = f"ercache extract {entry.corpus} --features {names}" if names else ""
    raise UsageError(
        f"{entry.corpus}: the experiment cannot use what is there ({counted(len(problems), 'finding')})",
        details=problems,
        hint=hint,
    )


def _mark_absent_classes(source: Source) -> None:
    labels = source.subset("train").labels
    if source.labels.multi:
        seen = set((labels == 1).any(0).nonzero().flatten().tolist())
    else:
        seen = set(labels[labels != IGNORED].tolist())
    for rank, name in enumerate(source.classes):
        if rank not in seen:
            source.findings.mark(f"class {name} has no example in train")


def provenance_of(source: Source) -> dict[str, Any]:
    """Where the features and labels of a run are from."""
    recipes = source.findings.recipes
    return {
        "labels_digest": source.labels_digest,
        "manifest_digest": source.manifest_digest,
        "unlabelled": "drop" if source.drop_unlabelled else "keep",
        "caches": dict(sorted(source.findings.digests.items())),
        "encoders": {
            name: {k: v for k, v in made.items() if k != "context"} for name, made in recipes.items()
        },
        "context": {name: made["context"] for name, made in recipes.items()},
        "random_weights": source.findings.random_weights,
        "leak": source.findings.leak,
    }
