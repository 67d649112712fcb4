"""The corpus in a features file, and what the readers of all file formats share: manifest and pooled features."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from ercache.cache import Array
from ercache.formats.content import ARRAY, FileContent, FoundFeature
from ercache.manifest import Manifest, Problem, Promise, Utterance
from ercache.wording import count_noun
from extract.corpora.common.listing import list_some
from extract.corpora.common.splits import Split, actor_disjoint, with_drawn_dev

VERSION: Final = "features of another project"
PART: Final = "all"
UNKNOWN: Final = "unknown"
POOLED: Final = "mean"  # array with the mean over the steps of a sequence


@dataclass(frozen=True)
class FileCorpus:
    """A corpus that was read from a features file.

    Attributes:
        form: name of the file format, as in `ercache cache import`.
        manifest: the utterances, label sets and splits.
        content: the features; empty if the file holds only sentences and labels.
    """

    form: str
    manifest: Manifest
    content: FileContent


@dataclass
class Turns:
    """What a reader finds in a features file besides the features.

    Attributes:
        utterances: the utterances, in the order of their dialogues.
        label_sets: label set -> its labels.
        given: train, dev or test -> ids of the utterances that the file assigns to it. A subset that is absent or
            empty is one that the file does not define.
        notes: notes (reason, detail) for the manifest.
    """

    utterances: list[Utterance]
    label_sets: dict[str, tuple[str, ...]]
    given: Split
    notes: list[tuple[str, str]]


def manifest_of(turns: Turns, corpus: str, sources: Mapping[str, str]) -> Manifest:
    """Build the manifest of a features file, with its split.

    If the file defines train and test, they become the split `official`. Its dev is that of the file, or a randomly
    chosen tenth of the training dialogues. If the file lacks train or test, its dialogues are divided into a new split
    `dialogues`.

    Args:
        turns: the utterances and subsets of the file.
        corpus: name of the corpus.
        sources: file name -> digest.
    """
    dialogues = {u.id: u.dialogue for u in turns.utterances}
    splits: dict[str, Split] = {}
    promises: dict[str, tuple[Promise, ...]] = {}
    notes = list(turns.notes)
    if turns.given.get("train") and turns.given.get("test"):
        splits["official"] = with_drawn_dev(turns.given, dialogues)
        if not turns.given.get("dev"):
            notes.append(
                ("dev_drawn", "the file names no dev: a tenth of the dialogues of train are taken for it")
            )
        torn = _in_several(splits["official"], dialogues)
        promises["official"] = () if torn else ("dialogue",)
        if torn:
            what = f"`official` of the file has {count_noun(len(torn), 'dialogue')} in several subsets"
            notes.append(
                ("torn_dialogue", f"{what}, so a model is tested on what it has seen: {list_some(torn)}")
            )
    elif split := actor_disjoint(dialogues):
        splits["dialogues"], promises["dialogues"] = split, ("dialogue",)
        notes.append(("split_made", "the file names no train and test: `dialogues` divides its dialogues"))
    else:
        notes.append(
            (
                "split_not_made",
                "dialogues: train, dev and test need one each, and the file names no train and test",
            )
        )
    problems = tuple(Problem(None, "note", reason, detail) for reason, detail in notes)
    return Manifest(
        corpus, VERSION, dict(sources), turns.label_sets, tuple(turns.utterances), problems, splits, promises
    )


def _in_several(split: Split, dialogues: Mapping[str, str]) -> list[str]:
    """List the dialogues that are in two or more subsets of a split."""
    count = Counter(dialogue for ids in split.values() for dialogue in {dialogues[i] for i in ids})
    return sorted(dialogue for dialogue, subsets in count.items() if subsets > 1)


def file_name(path: Path) -> str:
    """Return the name of a file or folder without the folders above it, as the manifest lists it in `sources`."""
    return path.resolve().name


def with_pooled(content: FileContent) -> FileContent:
    """Return features with an additional array `mean` for each feature that is a sequence of vectors.

    It is the mean over the sequence, for models that read one vector per utterance.
    """
    features: list[FoundFeature] = []
    pooled: list[str] = []
    for feature in (f for f in content.features if f.ids):
        if not feature.specs and any(_rows(feature, i) > 1 for i in feature.ids):
            pooled.append(feature.name)
            feature = replace(feature, read=partial(_with_mean, feature))
        features.append(feature)
    notes = (
        [f"{', '.join(pooled)}: sequences; their mean was added as the array {POOLED!r}"] if pooled else []
    )
    return replace(content, features=tuple(features), notes=(*content.notes, *notes))


def _rows(feature: FoundFeature, utterance: str) -> int:
    array = feature.read(utterance)[ARRAY]
    return len(array) if array.ndim > 1 else 1


def _with_mean(feature: FoundFeature, utterance: str) -> Mapping[str, Array]:
    given = feature.read(utterance)
    steps = np.atleast_2d(given[ARRAY])
    mean: Array = steps.reshape(len(steps), -1).mean(axis=0, dtype=np.float64).astype(np.float32)
    return {**given, ARRAY: steps, POOLED: mean}


def named_classes(values: Sequence[int]) -> tuple[str, ...]:
    """Return class names for a file that gives only class numbers: the texts `0`, `1` and so on up to the largest."""
    return tuple(str(n) for n in range(max(values, default=-1) + 1))
