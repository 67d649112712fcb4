"""Chooses a label set and a split where the user names none, if the manifest leaves no doubt."""

from typing import Final

from ercache.errors import UsageError
from ercache.manifest import Manifest
from ercache.params.schema import ExperimentParams

# Splits of a user's own folder, in order of preference: the user's, else one that divides no dialogue.
PREFERRED: Final = (ExperimentParams.model_fields["split"].default, "dialogues", "speakers")


def default_label_set(manifest: Manifest) -> str:
    """Choose the label set of a corpus: `emotion7` if the manifest has it, else the only label set with labels.

    Raises:
        UsageError: the corpus has no labels, or several label sets with labels but no `emotion7`.
    """
    usual: str = ExperimentParams.model_fields["label_set"].default
    if manifest.sets_of(usual):
        return usual
    used = [s for s in manifest.label_sets if any(u.labels.get(s) is not None for u in manifest.utterances)]
    if len(used) == 1:
        return used[0]
    if used:
        raise UsageError(
            f"{manifest.corpus} has {len(used)} label sets: {', '.join(used)}",
            hint=f"choose one, for example --label-set {used[0]}",
        )
    raise UsageError(
        f"{manifest.corpus} has no labels to train on",
        hint="add a label column (emotion, sentiment, label or label:NAME) to its table, and scan it again",
    )


def default_split(manifest: Manifest) -> str:
    """Choose the split of a corpus: the first of `official`, `dialogues`, `speakers` that exists, else the only split.

    Raises:
        UsageError: the manifest has no split, or several splits but none of these three.
    """
    splits = [name for name in manifest.splits if "/" not in name]  # the others are folds
    for name in PREFERRED:
        if name in splits:
            return name
    if len(splits) == 1:
        return splits[0]
    if splits:
        raise UsageError(
            f"{manifest.corpus} has {len(splits)} splits: {', '.join(splits)}",
            hint=f"choose one, for example --split {splits[0]}",
        )
    why = [p.detail for p in manifest.problems if p.reason == "split_not_made"]
    raise UsageError(
        f"{manifest.corpus} has no split into train, dev and test",
        details=why,
        hint="add more dialogues, or a column `split` to its table, and scan it again",
    )
