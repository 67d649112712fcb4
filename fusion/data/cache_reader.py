"""Reads the feature caches that an experiment names, and reports all problems together.

An utterance has a modality only if the caches hold every feature of this modality for the utterance. Otherwise the
whole modality counts as absent: missing values are never filled in.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ercache.cache import CacheFile, Status, sealed_digest
from ercache.errors import CacheError
from ercache.manifest import Manifest
from ercache.params.schema import split_array_name
from ercache.trained_extractors import TRAINED_ON, TRAINING
from fusion.data.ragged import Ragged, concatenate_ragged, ragged_of_packed

Floats = NDArray[np.float32]
RECIPE = ("encoder", "version", "params", "weights", "faces", "context")  # provenance: how a feature was made
SHOWN = 5  # names in a message, at most


@dataclass(frozen=True)
class ModalityFeatures:
    """All features of one modality, concatenated, for N utterances.

    Attributes:
        values: [N, D]; 0 for utterances without the modality.
        present: bool [N]; whether the utterance has the modality.
    """

    values: Floats
    present: NDArray[np.bool_]


@dataclass
class Findings:
    """What was found while reading feature caches: problems, notes, and where the features come from.

    Attributes:
        problems: why the caches cannot be used, one sentence each.
        marks: notes that must stand beside every result from these caches.
        to_extract: features whose cache file is missing or outdated.
        digests: path of a cache file -> sha256 that the file states at its beginning.
        recipes: feature -> how it was made: encoder, version, params, weights, face policy and context; with a trained
            extractor, also how that was trained.
        random_weights: whether a feature comes from a network with random weights.
        leak: whether a feature comes from a checkpoint that was trained on test data.
    """

    problems: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    to_extract: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    random_weights: bool = False
    leak: bool = False

    def mark(self, text: str) -> None:
        """Add a note (mark) that will stand beside every result; a note that is already listed is not repeated."""
        if text not in self.marks:
            self.marks.append(text)


def read_modalities(
    root: Path,
    manifest: Manifest,
    features: Mapping[str, Sequence[str]],
    parts: Sequence[str],
    *,
    test_parts: Collection[str] = (),
    test_ids: Collection[str] = (),
    allow_random_weights: bool = False,
    allow_leak: bool = False,
) -> tuple[dict[str, ModalityFeatures], Findings]:
    """Read pooled features (one vector for each utterance), and concatenate the features of each modality.

    Args:
        root: folder of the caches.
        manifest: the corpus.
        features: modality -> names of features (`feature` or `feature:array`), concatenated in this order.
        parts: corpus parts to read, such as `train` or `Ses01`; each part has its own cache files.
        test_parts: corpus parts that hold test data; no checkpoint may have been trained on them.
        test_ids: ids of the test utterances; no extractor trained by ercache may have been trained on them.
        allow_random_weights: features of networks with random weights give a note (mark), not a problem.
        allow_leak: features of checkpoints that were trained on test data give a note (mark), not a problem.

    Returns:
        Two values. The first is modality -> features; utterances are in manifest order, one corpus part after the
        other. The second is the findings (problems and notes); if there is a problem, do not use the features.
    """
    findings = Findings()
    reader = _Reader(root, manifest, findings, test_parts, test_ids, allow_random_weights, allow_leak)
    joined: dict[str, ModalityFeatures] = {}
    for modality, names in features.items():
        columns = [reader.feature(modality, name, parts) for name in names]
        read = [column for column in columns if column is not None]
        if read:
            present = np.logical_and.reduce([column.present for column in read])
            values = np.concatenate([column.values for column in read], axis=1)
            joined[modality] = ModalityFeatures(np.where(present[:, None], values, np.float32(0)), present)
    return joined, findings


def read_sequences(
    root: Path,
    manifest: Manifest,
    features: Mapping[str, Sequence[str]],
    parts: Sequence[str],
    roles: Mapping[str, Sequence[str]],
    **guards: Any,
) -> tuple[dict[str, Ragged], Findings]:
    """Read sequence features (words, frames or segments of each utterance), one feature for each input of the model.

    Args:
        root: folder of the caches.
        manifest: the corpus.
        features: modality -> names of features, in the order of the modality's roles.
        parts: corpus parts to read, such as `train` or `Ses01`; each part has its own cache files.
        roles: modality -> roles (names of the model's inputs) that take features of this modality.
        guards: the arguments `test_parts`, `test_ids`, `allow_random_weights` and `allow_leak` of `read_modalities`.

    Returns:
        Two values. The first is role -> steps; utterances are in manifest order, one corpus part after the other. The
        second is the findings (problems and notes); if there is a problem, do not use the steps.
    """
    reader = _Reader(root, manifest, Findings(), **guards)
    read = {
        role: reader.sequence(modality, name, parts)
        for modality, names in features.items()
        for role, name in zip(roles[modality], names, strict=False)
    }
    return {role: found for role, found in read.items() if found is not None}, reader.findings


T = TypeVar("T")


@dataclass
class _Reader:
    root: Path
    manifest: Manifest
    findings: Findings
    test_parts: Collection[str] = ()
    test_ids: Collection[str] = ()
    allow_random_weights: bool = False
    allow_leak: bool = False

    def feature(self, modality: str, chosen: str, parts: Sequence[str]) -> ModalityFeatures | None:
        """Read the vectors of one feature from the cache files of all corpus parts; None if a file cannot be used."""
        good = self._parts(modality, chosen, parts, self._vectors)
        if good is None or not self._same_width(chosen, [part.values.shape[1:] for part in good]):
            return None
        return ModalityFeatures(
            np.concatenate([p.values for p in good]), np.concatenate([p.present for p in good])
        )

    def sequence(self, modality: str, chosen: str, parts: Sequence[str]) -> Ragged | None:
        """Read the steps of one feature from the cache files of all corpus parts; None if a file cannot be used."""

        def take(cache: CacheFile, array: str, part: str) -> Ragged | None:
            return self._steps(cache, array, part, modality)

        good = self._parts(modality, chosen, parts, take)
        if good is None or not self._same_width(chosen, [tuple(part.values.shape[1:]) for part in good]):
            return None
        return concatenate_ragged(good)

    def _same_width(self, chosen: str, shapes: Sequence[tuple[int, ...]]) -> bool:
        widths = sorted({"x".join(map(str, shape)) or "1" for shape in shapes})
        if len(widths) > 1:
            self._problem(
                f"{split_array_name(chosen)[0]}: the cache files of its corpus parts have vectors of different "
                f"sizes ({', '.join(widths)})"
            )
        return len(widths) == 1

    def _parts(
        self,
        modality: str,
        chosen: str,
        parts: Sequence[str],
        take: Callable[[CacheFile, str, str], T | None],
    ) -> list[T] | None:
        name, array = split_array_name(chosen)
        read = [self._part(modality, name, array, part, take) for part in parts]
        good = [part for part in read if part is not None]
        return good if len(good) == len(read) else None

    def _part(
        self,
        modality: str,
        name: str,
        array: str,
        part: str,
        take: Callable[[CacheFile, str, str], T | None],
    ) -> T | None:
        where = f"{self.manifest.corpus}/{modality}/{name}.{part}.h5"
        path = self.root / where
        if not path.is_file():
            self._problem(f"{path}: no such cache file")
            self.findings.to_extract.append(name)
            return None
        try:
            self.findings.digests[where] = sealed_digest(path)
            with CacheFile(path) as cache:
                if cache.provenance.get("partial"):
                    self._problem(f"{path}: a partial cache, which holds only the first utterances")
                    self.findings.to_extract.append(name)
                    return None
                self._check_origin(cache, name)
                self._check_records(cache, modality, name, part)
                self._check_weights(cache, name)
                return take(cache, array, part)
        except CacheError as error:
            self._problem(error.message)
            return None

    def _check_origin(self, cache: CacheFile, name: str) -> None:
        made = cache.provenance
        if made.get("corpus") != self.manifest.corpus:
            other = f"a cache of corpus {made.get('corpus')!r}, not {self.manifest.corpus!r}"
            self._problem(f"{cache.path}: {other}")
        recipe = {key: made.get(key) for key in RECIPE}
        recipe |= {TRAINING: made[TRAINING]} if TRAINING in made else {}
        if self.findings.recipes.setdefault(name, recipe) != recipe:
            changed = [
                key for key in (*RECIPE, TRAINING) if recipe.get(key) != self.findings.recipes[name].get(key)
            ]
            self._problem(
                f"{name}: the cache files of this feature differ in {', '.join(changed)}; extract the feature again"
            )
        if not made.get("encoder"):
            self.findings.mark(f"origin of {name} unknown")

    def _check_records(self, cache: CacheFile, modality: str, name: str, part: str) -> None:
        records = cache.provenance.get("records")  # older caches do not say
        if records is not None and records != self.manifest.records_digest(
            modality, part, cache.provenance.get("context")
        ):
            self._problem(
                f"{cache.path}: outdated: text or media in the manifest have changed; extract the feature again"
            )
            self.findings.to_extract.append(name)

    def _check_weights(self, cache: CacheFile, name: str) -> None:
        weights = cache.provenance.get("weights") or {}
        if weights.get("random"):
            self.findings.random_weights = True
            self.findings.mark("random weights")
            if not self.allow_random_weights:
                self._problem(f"{cache.path}: made with random weights (--allow-random-weights accepts them)")
        if weights.get(TRAINED_ON):
            self.findings.mark(f"extractor of {name} trained on {', '.join(weights[TRAINED_ON])}")
        corpus = self.manifest.corpus
        leaked = sorted(set(self.test_parts).intersection((weights.get("seen") or {}).get(corpus, ())))
        if leaked:
            self._leak(name, f"{', '.join(leaked)} of {corpus}, which holds test data")
        trained = set(self.test_ids).intersection((cache.provenance.get("seen") or {}).get(corpus, ()))
        if trained:
            self._leak(name, f"{len(trained)} test utterances of {corpus} ({_some(sorted(trained))})")

    def _leak(self, name: str, test_data: str) -> None:
        self.findings.leak = True
        self.findings.mark(f"leak: the checkpoint of {name} has seen {test_data}")
        if not self.allow_leak:
            self._problem(
                f"{name}: its checkpoint has seen {test_data} (--allow-leak accepts it and marks the result)"
            )

    def _vectors(self, cache: CacheFile, array: str, part: str) -> ModalityFeatures | None:
        """Read one vector for each utterance from a cache file: the array named `array`.

        If this name is empty, all vector arrays of the file are concatenated. If the file cannot be used, the method
        records the problem in the findings and returns None.
        """
        ids = self._ids(cache, part)
        if ids is None:
            return None
        arrays = self._arrays(cache, array, ("vector", "optional"))
        if not arrays:
            self._problem(self._no_array(cache, array, "no", "vector, which a pooled model takes"))
            return None
        ok = np.ones(len(ids), dtype=bool)
        columns: list[Floats] = []
        for name in arrays:
            packed, offsets = cache.read(name)
            has_row = np.diff(offsets) == 1
            column = np.zeros((len(ids), math.prod(cache.specs[name].shape)), np.float32)
            column[has_row] = packed.astype(np.float32).reshape(len(packed), column.shape[1])
            columns.append(column)
            ok &= has_row  # without an optional array the utterance lacks the feature: nothing is filled in
        values = np.where(ok[:, None], np.concatenate(columns, axis=1), np.float32(0))
        order = [cache.row[i] for i in ids]
        self._check_values(cache, np.logical_not(np.isfinite(values[order]).all(axis=1)), ids)
        return ModalityFeatures(values[order], ok[order])

    def _steps(self, cache: CacheFile, array: str, part: str, modality: str) -> Ragged | None:
        """Read the steps of each utterance from a cache file: the sequence array named `array`.

        If this name is empty, the file's only sequence array is read. If the file cannot be used, the method records
        the problem in the findings and returns None.
        """
        ids = self._ids(cache, part)
        if ids is None:
            return None
        arrays = self._arrays(cache, array, ("sequence",))
        if len(arrays) != 1:
            many = "several" if arrays else "no"
            self._problem(self._no_array(cache, array, many, "sequence, of which this model takes one"))
            return None
        found = ragged_of_packed(modality, *cache.read(arrays[0])).select(
            torch.tensor([cache.row[i] for i in ids])
        )
        self._check_values(cache, found.not_finite().numpy(), ids)
        return found

    def _ids(self, cache: CacheFile, part: str) -> list[str] | None:
        """Return the utterance ids of a corpus part in manifest order.

        If the cache file holds other ids than the manifest, the method records this problem in the findings and returns
        None.
        """
        ids = [u.id for u in self.manifest.of_part(part)]
        if set(ids) != set(cache.ids):
            self._problem(f"{cache.path}: {_differing(ids, cache.ids)}")
            return None
        unavailable = sum(entry.status == Status.UNAVAILABLE for entry in cache.entries)
        if unavailable:
            self.findings.mark(f"{cache.path.stem}: {unavailable} utterances unavailable in the extraction")
        return ids

    def _arrays(self, cache: CacheFile, array: str, kinds: Collection[str]) -> list[str]:
        return [n for n, spec in cache.specs.items() if spec.kind in kinds and array in ("", n)]

    def _no_array(self, cache: CacheFile, array: str, many: str, wanted: str) -> str:
        kinds = ", ".join(f"{n} ({spec.kind})" for n, spec in cache.specs.items()) or "none"
        named = f" named {array!r}" if array else ""
        what = "array" if many == "no" else "arrays"
        hint = "; name one as FEATURE:ARRAY" if many == "several" else ""
        return f"{cache.path}: {many} {what}{named} of kind {wanted} (arrays: {kinds}{hint})"

    def _check_values(self, cache: CacheFile, damaged: NDArray[np.bool_], ids: Sequence[str]) -> None:
        bad = [ids[i] for i in np.flatnonzero(damaged).tolist()]
        if bad:
            self._problem(f"{cache.path}: NaN or infinite values in {_some(bad)}")

    def _problem(self, sentence: str) -> None:
        if sentence not in self.findings.problems:
            self.findings.problems.append(sentence)


def _differing(ids: Sequence[str], found: Sequence[str]) -> str:
    lacking = [i for i in ids if i not in set(found)]
    extra = [i for i in found if i not in set(ids)]
    differences = [f"lacks {_some(lacking)}"] if lacking else []
    differences += [f"has {_some(extra)}"] if extra else []
    return f"other ids than the manifest: {'; '.join(differences)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
