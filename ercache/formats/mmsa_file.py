"""Write caches as one feature pickle in MMSA's format.

Layout: a dictionary of `train`, `valid` and `test`, each with texts, names, labels, and arrays padded to the longest
utterance.
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.cache import Array, CacheFile, Status
from ercache.errors import UsageError
from ercache.files import atomic_file
from ercache.formats.content import first_few
from ercache.formats.mult import MODES
from ercache.manifest import Manifest, Utterance
from ercache.wording import count_noun

_KEYS: Final = {"text": "text", "audio": "audio", "visual": "vision"}
_SUBSETS: Final = {"train": "train", "dev": "valid", "test": "test"}  # part or subset -> mode
_ALWAYS: Final = (
    "why an utterance is missing: it becomes zeros of length 0",
    "dialogues, speakers and the order of turns: MMSA reads single utterances",
    "the provenance of the features",
    "text_bert: a cache holds no token ids",
)


def write_mmsa(
    caches: Sequence[CacheFile], manifest: Manifest, path: Path, label_set: str, split: str, array: str
) -> tuple[int, list[str]]:
    """Write several caches of one corpus into one MMSA pickle.

    Args:
        caches: open cache files, at most one for each modality and each part of the corpus.
        manifest: manifest of the corpus.
        path: file to write.
        label_set: label set to write; "" means the first one of the manifest.
        split: name of a split of the manifest. Its train, validation and test subsets become MMSA's train, valid and
            test. "" means the parts train, dev and test that the corpus comes with.
        array: name of the array to write; may be "" if each cache has only one array.

    Returns:
        Two values: the number of utterances written, and a list of sentences that say what the format cannot hold.

    Raises:
        UsageError: two caches give the same modality of an utterance, or the split or label set is unknown.
    """
    mode_of = _modes(manifest, split)
    labels = _label_set(manifest, label_set)
    values: dict[str, dict[str, Array | None]] = {}
    lost = list(_ALWAYS)
    for cache in caches:
        key = _key(cache, manifest)
        name = _array(cache, array)
        lost += [f"the array {other} of {cache.path.name}" for other in cache.specs if other != name]
        if len(cache.specs[name].shape) > 1:
            lost.append(
                f"the axes of {name} of {cache.path.name}: rows of {list(cache.specs[name].shape)} are flat"
            )
        for entry in cache.entries:
            if entry.id in values.setdefault(key, {}):
                message = f"two of the caches hold {key} features of utterance {entry.id}"
                raise UsageError(message, hint="give only one cache per modality and corpus part")
            values[key][entry.id] = cache[entry.id][name] if entry.status == Status.OK else None
    rows = [u for u in manifest.utterances if any(u.id in given for given in values.values())]
    outside = [u.id for u in rows if u.id not in mode_of]
    if outside:
        lost.append(
            f"{count_noun(len(outside), 'utterance')} outside train, dev and test: {first_few(outside)}"
        )
    content = {}
    for mode in MODES:
        mine = [u for u in rows if mode_of.get(u.id) == mode]
        if mine:
            content[mode] = _mode(mine, values, labels, manifest)
    null = [u.id for u in rows if u.labels.get(labels) is None]
    if null:
        lost.append(
            f"class -1 for {count_noun(len(null), 'utterance')} without a label of {labels}: {first_few(null)}"
        )
    if not _numbers(manifest.label_sets[labels]):
        lost.append(f"{labels} is no scale: regression_labels hold the number of the class")
    lost += [f"the label set {name}" for name in manifest.label_sets if name != labels]
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        pickle.dump(content, stream, protocol=4)
    return sum(len(part["id"]) for part in content.values()), list(dict.fromkeys(lost))


def _key(cache: CacheFile, manifest: Manifest) -> str:
    told = cache.provenance
    if told["corpus"] != manifest.corpus:
        raise UsageError(
            f"{cache.path}: belongs to corpus {told['corpus']!r}, not {manifest.corpus!r}",
            hint="export the caches of each corpus separately",
        )
    unknown = sorted(set(cache.ids) - {u.id for u in manifest.utterances})
    if unknown:
        message = (
            f"{cache.path}: {count_noun(len(unknown), 'utterance')} not in the manifest: {first_few(unknown)}"
        )
        raise UsageError(message, hint="scan the corpus again, then extract the feature again")
    if told.get("modality") not in _KEYS:
        raise UsageError(
            f"{cache.path}: the cache does not state whether it is text, audio or visual, which the format mmsa needs",
            hint="export it to npz",
        )
    return _KEYS[str(told["modality"])]


def _array(cache: CacheFile, wanted: str) -> str:
    name = wanted or next(iter(cache.specs)) if wanted or len(cache.specs) == 1 else ""
    if name not in cache.specs:
        message = f"{cache.path}: the feature has the arrays {', '.join(cache.specs)}, but the format mmsa holds one"
        raise UsageError(message, hint="choose one of them with --array")
    return name


def _modes(manifest: Manifest, split: str) -> dict[str, str]:
    if split:
        if split not in manifest.splits:
            known = ", ".join(manifest.splits) or "none"
            raise UsageError(f"unknown split {split!r} of {manifest.corpus}", hint=f"its splits are: {known}")
        return {i: _SUBSETS[s] for s, ids in manifest.splits[split].items() if s in _SUBSETS for i in ids}
    if not set(manifest.parts) <= set(_SUBSETS):
        raise UsageError(
            f"the parts of corpus {manifest.corpus} ({first_few(manifest.parts)}) are not train, dev and test, which "
            "the format mmsa needs",
            hint=f"choose a split with --split, one of: {', '.join(manifest.splits) or 'none in this manifest'}",
        )
    return {u.id: _SUBSETS[u.part] for u in manifest.utterances}


def _label_set(manifest: Manifest, name: str) -> str:
    name = name or next(iter(manifest.label_sets), "")
    if name not in manifest.label_sets:
        known = ", ".join(manifest.label_sets) or "none"
        raise UsageError(
            f"unknown label set {name!r} of {manifest.corpus}", hint=f"its label sets are: {known}"
        )
    return name


def _mode(
    rows: Sequence[Utterance],
    values: Mapping[str, Mapping[str, Array | None]],
    label_set: str,
    manifest: Manifest,
) -> dict[str, Any]:
    classes = manifest.label_sets[label_set]
    given = [u.labels.get(label_set) for u in rows]
    numbers = [classes.index(g) if g in classes else -1 for g in given]
    scale = _numbers(classes)
    content: dict[str, Any] = {
        "raw_text": np.array([u.text or "" for u in rows], dtype=str),
        "id": [u.id for u in rows],
        "annotations": ["" if g is None else g for g in given],
        "classification_labels": np.array(numbers, np.int64),
        "regression_labels": np.array(
            [np.nan if n < 0 else float(classes[n]) if scale else n for n in numbers], np.float32
        ),
    }
    for key, of in values.items():
        content |= _padded(key, [of.get(u.id) for u in rows])
    return content


def _numbers(classes: Sequence[str]) -> bool:
    return all(value.lstrip("+-").replace(".", "", 1).isdigit() for value in classes)


def _padded(key: str, rows: Sequence[Array | None]) -> dict[str, Any]:
    flat = [row.reshape(len(row), -1) if row is not None else None for row in rows]
    there = [row for row in flat if row is not None]
    if not there:
        return {}
    longest = max(len(row) for row in there)
    padded = np.zeros((len(rows), longest, there[0].shape[1]), there[0].dtype)
    for i, row in enumerate(flat):
        if row is not None:
            padded[i, : len(row)] = row
    return {key: padded, f"{key}_lengths": [0 if row is None else len(row) for row in flat]}
