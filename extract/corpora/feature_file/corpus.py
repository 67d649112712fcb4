"""The corpus that a features file holds, and what all its readers share: its manifest and pooled features."""

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
    """A corpus made of a features file.

    Attributes:
        form: format of the file, as `ercache cache import` calls it.
        manifest: the corpus.
        content: its features. There may be none: the file then holds sentences and labels only.
    """

    form: str
    manifest: Manifest
    content: FileContent


@dataclass
class Turns:
    """The utterances of a file in order, with label sets, and the ids that the file assigns to train, dev and test.

    Attributes:
        given: subset -> utterance ids; an absent or empty subset is not given.
        notes: notes (reason, detail).
    """

    utterances: list[Utterance]
    label_sets: dict[str, tuple[str, ...]]
    given: Split
    notes: list[tuple[str, str]]


def manifest_of(turns: Turns, corpus: str, sources: Mapping[str, str]) -> Manifest:
    """Build the manifest of a features file.

    If the file gives no dev, a tenth of the training dialogues are drawn for it. If it gives no train or no test, the
    split `dialogues` is made.

    Args:
        turns: what the file holds.
        corpus: name of the corpus.
        sources: name and digest of each file.
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
    """Name of a file or folder, as the manifest names its source."""
    return path.resolve().name


def with_pooled(content: FileContent) -> FileContent:
    """Add to each feature that is a sequence its mean over the steps, for models that read one vector per utterance."""
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
    """Names of classes of which only the numbers are known: `0`, `1`, ... up to the largest one."""
    return tuple(str(n) for n in range(max(values, default=-1) + 1))
