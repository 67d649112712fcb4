"""Checks before training: the split, the modalities, and whether features see utterances that are to be predicted."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ercache.errors import UsageError
from ercache.manifest import Manifest, Promise
from ercache.params.load import suggestion
from ercache.params.schema import ExperimentParams
from ercache.wording import count_noun
from fusion.data.cache_reader import Findings
from fusion.data.labels import label_space


def split_problems(manifest: Manifest, entry: ExperimentParams, subsets: Sequence[str]) -> list[str]:
    """Check the split and the label set of an experiment against the manifest; return one sentence for each problem.

    Problems are, for example, a subset without labels, or two subsets that share utterances.
    """
    problems = []
    space = label_space(manifest, entry.label_set)
    if space is None:
        problems.append(
            f"unknown label set {entry.label_set!r}; {suggestion(entry.label_set, manifest.label_sets)}"
        )
    if entry.split not in manifest.splits:
        # If the scan could not make the split, it noted why, and what helps.
        why = [
            p.detail for p in manifest.problems if p.reason == "split_not_made" and entry.split in p.detail
        ]
        unknown = f"unknown split {entry.split!r}; {suggestion(entry.split, manifest.splits)}"
        return [*problems, "; ".join([unknown, *why])]
    split = manifest.splits[entry.split]
    labelled = {u.id for u in manifest.utterances if space is not None and space.has_label(u)}
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


def broken_promises(manifest: Manifest, split: str, subsets: Sequence[str], findings: Findings) -> list[str]:
    """Check that a split keeps its promises: what its subsets must not share, such as speakers or dialogues.

    The manifest records the promises of each split. A split without promises may have utterances of one dialogue in two
    subsets. This is allowed, but recorded as a note (mark) in `findings`.

    Returns:
        One sentence for each pair of subsets (train, dev, test) that breaks a promise.
    """
    promised = manifest.promises.get(split, ())
    if not promised:
        for text in shared_groups(manifest, split, subsets, "dialogue"):
            findings.mark(text)
    return [text for kind in promised for text in shared_groups(manifest, split, subsets, kind)]


def shared_groups(manifest: Manifest, split: str, subsets: Sequence[str], kind: Promise) -> list[str]:
    """Find pairs of subsets (train, dev, test) that share speakers (`kind` is `speaker`) or dialogues (`dialogue`).

    Returns:
        One sentence for each such pair, with the names of the first three shared speakers or dialogues.
    """
    group = {
        u.id: (u.part, u.dialogue) if kind == "dialogue" else ("", u.speaker) for u in manifest.utterances
    }
    held = {name: {group[i] for i in manifest.splits.get(split, {}).get(name, ())} for name in subsets}
    shared = {(a, b): sorted(held[a] & held[b]) for a in subsets for b in subsets if a < b}
    return [
        f"split {split!r}: {a} and {b} share {kind} {', '.join(name for _, name in both[:3])}"
        + (f" and {len(both) - 3} more" if len(both) > 3 else "")
        for (a, b), both in shared.items()
        if both
    ]


def trained_on(manifest: Manifest, entry: ExperimentParams) -> list[str]:
    """Return the ids of the training utterances, without unlabelled ones if the experiment says `unlabelled: drop`."""
    ids = set(manifest.splits.get(entry.split, {}).get("train", ()))
    seen = (u for u in manifest.utterances if u.id in ids)
    space = label_space(manifest, entry.label_set)
    return [u.id for u in seen if entry.unlabelled == "keep" or (space is not None and space.has_label(u))]


def absent_modalities(
    train: Sequence[str], present: Mapping[str, NDArray[np.bool_]], rows: Mapping[str, int]
) -> list[str]:
    """Find modalities that are absent in all training utterances.

    Args:
        train: ids of the training utterances.
        present: modality -> bool [N]; whether each of the N utterances that were read has the modality.
        rows: utterance id -> row index in `present`.

    Returns:
        One sentence for each such modality.
    """
    picked = [rows[i] for i in train]
    return [
        f"modality {name!r}: no utterance of train has all features of this modality"
        for name, has in present.items()
        if picked and not has[picked].any()
    ]


def looks_ahead(findings: Findings) -> list[str]:
    """Find features that were computed with later utterances, which a prediction model (EPC) must not know.

    Milder findings are recorded as notes (marks) in `findings`: the context of a feature is unknown, or the feature
    knows the next speaker.

    Returns:
        One sentence for each feature that sees later utterances.
    """
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


def refuse(entry: ExperimentParams, problems: Sequence[str], findings: Findings) -> None:
    """Raise an error that lists all problems of an experiment; do nothing if there are none.

    Args:
        entry: the experiment.
        problems: one sentence for each problem.
        findings: findings of reading the caches; the error's hint names the features that must be extracted again.

    Raises:
        UsageError: there is at least one problem; the message lists all.
    """
    if not problems:
        return
    names = ",".join(dict.fromkeys(findings.to_extract))
    hint = f"ercache extract {entry.corpus} --features {names}" if names else ""
    raise UsageError(
        f"{entry.corpus}: the manifest or the caches do not fit the experiment "
        f"({count_noun(len(problems), 'problem')})",
        details=problems,
        hint=hint,
    )
