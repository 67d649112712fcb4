"""Checks before an experiment starts: its split, its modalities, and how far its features look ahead."""

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
    """Problems of the split and the label set that an experiment names, one sentence each."""
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
    """Promises of a split (no shared speakers, no shared dialogues) that it does not keep, one sentence each.

    A split without promises, such as a user's own table, may have parts of one dialogue in two subsets. That is no
    problem, but the results carry a mark.
    """
    promised = manifest.promises.get(split, ())
    if not promised:
        for text in shared_groups(manifest, split, subsets, "dialogue"):
            findings.mark(text)
    return [text for kind in promised for text in shared_groups(manifest, split, subsets, kind)]


def shared_groups(manifest: Manifest, split: str, subsets: Sequence[str], kind: Promise) -> list[str]:
    """Find subsets of a split that share speakers or dialogues.

    Returns:
        One sentence for each pair of subsets that does.
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
    """Ids of the utterances of train that the models will see."""
    ids = set(manifest.splits.get(entry.split, {}).get("train", ()))
    seen = (u for u in manifest.utterances if u.id in ids)
    space = label_space(manifest, entry.label_set)
    return [u.id for u in seen if entry.unlabelled == "keep" or (space is not None and space.has_label(u))]


def absent_modalities(
    train: Sequence[str], present: Mapping[str, NDArray[np.bool_]], rows: Mapping[str, int]
) -> list[str]:
    """Find modalities that no utterance of train has.

    Args:
        train: ids of the utterances that are trained on.
        present: modality -> bool [N], whether each row has it.
        rows: id -> row.

    Returns:
        One sentence for each such modality.
    """
    picked = [rows[i] for i in train]
    return [
        f"modality {name!r}: no utterance of train has it (all of its features together)"
        for name, has in present.items()
        if picked and not has[picked].any()
    ]


def looks_ahead(findings: Findings) -> list[str]:
    """Problems of features that see the target of a prediction (EPC) before it is spoken, one sentence each."""
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
    """Stop if there is any problem.

    Args:
        entry: the experiment.
        problems: one sentence each.
        findings: for the hint, which features to extract.

    Raises:
        UsageError: with all problems.
    """
    if not problems:
        return
    names = ",".join(dict.fromkeys(findings.to_extract))
    hint = f"ercache extract {entry.corpus} --features {names}" if names else ""
    raise UsageError(
        f"{entry.corpus}: the experiment cannot use what is there ({count_noun(len(problems), 'finding')})",
        details=problems,
        hint=hint,
    )
