"""Reads the features and labels of an experiment from the manifest and the caches, and checks them before training."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ercache.digests import digest_of_file
from ercache.errors import UsageError
from ercache.manifest import Manifest, Utterance, read_manifest
from ercache.params.schema import ExperimentParams
from ercache.training.losses import IGNORED
from fusion.data.batches import Subset, dialogues_of, make_subset, present_of
from fusion.data.cache_reader import Findings, ModalityFeatures, read_modalities, read_sequences
from fusion.data.labels import LabelSpace, label_space
from fusion.data.ragged import Ragged
from fusion.data.windows import WHOLE_DIALOGUES, ContextWindow, context_window_of
from fusion.experiment.checks import (
    absent_modalities,
    broken_promises,
    looks_ahead,
    refuse,
    split_problems,
    trained_on,
)
from fusion.experiment.lengths import too_long
from fusion.models import MODELS
from fusion.models.base import in_order

SUBSETS = ("train", "dev", "test")


@dataclass(frozen=True)
class Source:
    """Features and labels of an experiment, as read from the manifest and the caches.

    Attributes:
        manifest: the manifest of the corpus: its utterances, labels and splits.
        manifest_digest: sha256 of the manifest file.
        label_set: name of a label set, or of a family of label sets (multi-label).
        split: name of a split in the manifest.
        modalities: modality -> pooled features; empty for a model that takes sequences.
        sequences: role (an input of the model) -> steps; empty for a model that takes pooled features.
        rows: utterance id -> row index in `modalities` and `sequences`.
        findings: problems and notes from reading the caches.
        window: context window of the task.
        drop_unlabelled: leave out utterances without a label, instead of keeping them as context.
    """

    manifest: Manifest
    manifest_digest: str
    label_set: str
    split: str
    modalities: dict[str, ModalityFeatures]
    sequences: dict[str, Ragged]
    rows: dict[str, int]
    findings: Findings
    window: ContextWindow = WHOLE_DIALOGUES
    drop_unlabelled: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in order: the values of the label set, or the emotions of a multi-label task."""
        return self.labels.classes

    @property
    def labels(self) -> LabelSpace:
        """The possible labels: one of several classes for each utterance, or any number in a multi-label task."""
        space = label_space(self.manifest, self.label_set)
        assert space is not None  # `read_source` refuses an unknown label set
        return space

    @property
    def labels_digest(self) -> str:
        """Digest of the labels and the split; it changes if a label or the split in the manifest changes."""
        return self.manifest.labels_digest(self.label_set, self.split)

    def subset(self, name: str) -> Subset:
        """Make the subset `name` (train, dev or test) of the split: its dialogues, features and labels."""
        return make_subset(
            self.manifest,
            name,
            self.manifest.splits[self.split][name],
            self.label_set,
            self.rows,
            self.modalities,
            self.window,
            self.drop_unlabelled,
            self.sequences,
        )

    @property
    def present(self) -> dict[str, NDArray[np.bool_]]:
        """Dict from modality to bools [N]: whether each of the N utterances that were read has the modality."""
        return {m: joined.present for m, joined in self.modalities.items()} | {
            m: has.numpy() for m, has in present_of(self.sequences).items()
        }


def read_source(
    data: Path,
    entry: ExperimentParams,
    subsets: Sequence[str] = SUBSETS,
    *,
    allow_random_weights: bool = False,
    allow_leak: bool = False,
) -> Source:
    """Read the manifest and the caches of an experiment, and check them.

    Args:
        data: folder with manifests/ and caches/.
        entry: the experiment.
        subsets: the subsets (train, dev, test) to read; other caches are not opened.
        allow_random_weights: accept features of networks with random weights; the result gets a note (mark).
        allow_leak: accept features of checkpoints that were trained on test data; the result gets a note (mark).

    Raises:
        UsageError: the manifest or the caches cannot be used; the message lists all problems.
    """
    if entry.folds is not None:
        hint = f"name a single split in the experiment, e.g. `split: {entry.folds}/...`"
        raise UsageError(
            f"{entry.corpus}: this command takes one split, not the folds {entry.folds!r}", hint=hint
        )
    path = data / "manifests" / f"{entry.corpus}.jsonl"
    manifest = read_manifest(path)
    split = manifest.splits.get(entry.split, {})
    dialogues = dialogues_of(manifest, {i for name in subsets for i in split.get(name, ())})
    parts = _parts_of(manifest, dialogues)
    test = set(split.get("test", ()))
    modalities, sequences, findings = _read_caches(
        data / "caches",
        manifest,
        entry,
        parts,
        test_parts={u.part for u in manifest.utterances if u.id in test},
        test_ids=test,
        allow_random_weights=allow_random_weights,
        allow_leak=allow_leak,
    )
    source = Source(
        manifest,
        digest_of_file(path),
        entry.label_set,
        entry.split,
        modalities,
        sequences,
        rows={u.id: row for row, u in enumerate(u for part in parts for u in manifest.of_part(part))},
        findings=findings,
        window=context_window_of(entry),
        drop_unlabelled=entry.unlabelled == "drop",
    )
    problems = [
        *split_problems(manifest, entry, subsets),
        *too_long(entry, dialogues),
        *findings.problems,
        *(looks_ahead(findings) if entry.task == "epc" else ()),
        *broken_promises(manifest, entry.split, subsets, findings),
    ]
    if "train" in subsets and not findings.problems:
        problems += absent_modalities(trained_on(manifest, entry), source.present, source.rows)
    refuse(entry, problems, findings)
    if "train" in subsets:
        _mark_absent_classes(source)
    return source


def _parts_of(manifest: Manifest, dialogues: Iterable[Sequence[Utterance]]) -> list[str]:
    """Return the corpus parts (such as `train`, `Ses01`) that hold the dialogues; without any dialogue, all parts."""
    needed = {u.part for dialogue in dialogues for u in dialogue} or set(manifest.parts)
    return [part for part in manifest.parts if part in needed]


def _read_caches(
    root: Path, manifest: Manifest, entry: ExperimentParams, parts: Sequence[str], **guards: Any
) -> tuple[dict[str, ModalityFeatures], dict[str, Ragged], Findings]:
    """Read the features of an experiment.

    Returns:
        Three values. The first is modality -> pooled features; it is empty for a model that takes sequences. The second
        is role (an input of the model) -> steps; it is empty for a model that takes pooled features. The third holds
        the problems and notes found while reading.
    """
    features = {m: entry.features[m] for m in in_order(entry.features)}  # type: ignore[index]
    roles = MODELS[entry.model].roles
    if roles:
        sequences, findings = read_sequences(root, manifest, features, parts, roles, **guards)
        return {}, sequences, findings
    modalities, findings = read_modalities(root, manifest, features, parts, **guards)
    return modalities, {}, findings


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
    """Return where the features and labels of an experiment come from, such as encoders and digests of cache files.

    The keys are fields of `fusion.runs.schema.Provenance`.
    """
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
