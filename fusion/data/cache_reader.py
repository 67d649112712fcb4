"""Reading the caches that an experiment names, with every finding told at once.

An utterance has a modality when all features of that modality are `ok`; otherwise it has none of it. Half of a
modality would have to be filled with values that nobody measured.
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
from fusion.data.ragged import Ragged, concatenated, ragged

Floats = NDArray[np.float32]
RECIPE = ("encoder", "version", "params", "weights", "faces", "context")
SHOWN = 5


@dataclass(frozen=True)
class Modality:
    """The joined features of a modality for some utterances.

    Attributes:
        values: [N, D]; rows without the modality are 0 and mean nothing.
        present: [N].
    """

    values: Floats
    present: NDArray[np.bool_]


@dataclass
class Findings:
    """What a reading found, beside the values.

    Attributes:
        problems: what makes the caches unusable, one sentence each.
        marks: what must stand beside any result.
        again: features of which a cache file is not there or not of this manifest; to be extracted (again).
        digests: cache file -> sha256 in its head.
        recipes: feature -> how it was made.
    """

    problems: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    random_weights: bool = False
    leak: bool = False

    def mark(self, text: str) -> None:
        """Note a mark once."""
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
) -> tuple[dict[str, Modality], Findings]:
    """All features of some parts of a corpus, joined by modality; rows in manifest order of these parts.

    Args:
        root: folder of the caches.
        features: modality -> names of features, joined in that order.
        test_parts: parts that hold test data; no checkpoint may have seen them.
        test_ids: utterances of the test data; no extractor of ours may have been trained or chosen on them.

    Returns:
        The modalities, without meaning unless the findings hold no problem, and the findings.
    """
    findings = Findings()
    reader = _Reader(root, manifest, findings, test_parts, test_ids, allow_random_weights, allow_leak)
    joined: dict[str, Modality] = {}
    for modality, names in features.items():
        columns = [reader.feature(modality, name, parts) for name in names]
        read = [column for column in columns if column is not None]
        if read:
            present = np.logical_and.reduce([column.present for column in read])
            values = np.concatenate([column.values for column in read], axis=1)
            joined[modality] = Modality(np.where(present[:, None], values, np.float32(0)), present)
    return joined, findings


def read_sequences(
    root: Path,
    manifest: Manifest,
    features: Mapping[str, Sequence[str]],
    parts: Sequence[str],
    roles: Mapping[str, Sequence[str]],
    **guards: Any,
) -> tuple[dict[str, Ragged], Findings]:
    """All features of some parts of a corpus with their steps, by role; utterances in manifest order of these parts.

    Args:
        features: modality -> names of features, each for the role of its rank.
        roles: modality -> roles, as a model names them.
        guards: as those of `read_modalities`.

    Returns:
        The sequences, without meaning unless the findings hold no problem, and the findings.
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

    def feature(self, modality: str, chosen: str, parts: Sequence[str]) -> Modality | None:
        """One feature, or `feature:array`, over all parts; None when a part cannot be used."""
        good = self._parts(modality, chosen, parts, self._vectors)
        if good is None or not self._alike(chosen, [part.values.shape[1:] for part in good]):
            return None
        return Modality(np.concatenate([p.values for p in good]), np.concatenate([p.present for p in good]))

    def sequence(self, modality: str, chosen: str, parts: Sequence[str]) -> Ragged | None:
        """The steps of one feature, or `feature:array`, over all parts; None when a part cannot be used."""

        def take(cache: CacheFile, array: str, part: str) -> Ragged | None:
            return self._steps(cache, array, part, modality)

        good = self._parts(modality, chosen, parts, take)
        if good is None or not self._alike(chosen, [tuple(part.values.shape[1:]) for part in good]):
            return None
        return concatenated(good)

    def _alike(self, chosen: str, shapes: Sequence[tuple[int, ...]]) -> bool:
        widths = sorted({"x".join(map(str, shape)) or "1" for shape in shapes})
        if len(widths) > 1:
            self._problem(
                f"{split_array_name(chosen)[0]}: its parts have different widths ({', '.join(widths)})"
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
            self._problem(f"{path}: not there")
            self.findings.again.append(name)
            return None
        try:
            self.findings.digests[where] = sealed_digest(path)
            with CacheFile(path) as cache:
                if cache.provenance.get("partial"):
                    self._problem(f"{path}: a partial cache, made of the first utterances only")
                    self.findings.again.append(name)
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
            other = f"of corpus {made.get('corpus')!r}, not {self.manifest.corpus!r}"
            self._problem(f"{cache.path}: {other}")
        recipe = {key: made.get(key) for key in RECIPE}
        if self.findings.recipes.setdefault(name, recipe) != recipe:
            changed = [key for key in RECIPE if recipe[key] != self.findings.recipes[name][key]]
            self._problem(
                f"{name}: its parts were made with different {', '.join(changed)}; extract it again"
            )
        if not made.get("encoder"):
            self.findings.mark(f"origin of {name} unknown")

    def _check_records(self, cache: CacheFile, modality: str, name: str, part: str) -> None:
        records = cache.provenance.get("records")  # older caches do not say
        if records is not None and records != self.manifest.records_digest(
            modality, part, cache.provenance.get("context")
        ):
            self._problem(
                f"{cache.path}: its inputs (text or media) are not those of the manifest any more; extract it again"
            )
            self.findings.again.append(name)

    def _check_weights(self, cache: CacheFile, name: str) -> None:
        weights = cache.provenance.get("weights") or {}
        if weights.get("random"):
            self.findings.random_weights = True
            self.findings.mark("random weights")
            if not self.allow_random_weights:
                self._problem(f"{cache.path}: made with random weights (--allow-random-weights accepts them)")
        corpus = self.manifest.corpus
        leaked = sorted(set(self.test_parts).intersection((weights.get("seen") or {}).get(corpus, ())))
        if leaked:
            self._leak(name, f"{', '.join(leaked)} of {corpus}, which holds test data")
        trained = set(self.test_ids).intersection((cache.provenance.get("seen") or {}).get(corpus, ()))
        if trained:
            self._leak(name, f"{len(trained)} test utterances of {corpus} ({_some(sorted(trained))})")

    def _leak(self, name: str, told: str) -> None:
        self.findings.leak = True
        self.findings.mark(f"leak: the checkpoint of {name} has seen {told}")
        if not self.allow_leak:
            self._problem(
                f"{name}: its checkpoint has seen {told} (--allow-leak accepts it and marks the result)"
            )

    def _vectors(self, cache: CacheFile, array: str, part: str) -> Modality | None:
        """Vectors of the array asked for, or of all arrays of vectors side by side."""
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
            ok &= (
                has_row  # an utterance without an optional part would have to be filled with nobody's values
            )
        values = np.where(ok[:, None], np.concatenate(columns, axis=1), np.float32(0))
        order = [cache.row[i] for i in ids]
        self._check_values(cache, np.logical_not(np.isfinite(values[order]).all(axis=1)), ids)
        return Modality(values[order], ok[order])

    def _steps(self, cache: CacheFile, array: str, part: str, modality: str) -> Ragged | None:
        """The steps of the array asked for, or of the only one that has any."""
        ids = self._ids(cache, part)
        if ids is None:
            return None
        arrays = self._arrays(cache, array, ("sequence",))
        if len(arrays) != 1:
            many = "several" if arrays else "no"
            self._problem(self._no_array(cache, array, many, "sequence, of which this model takes one"))
            return None
        found = ragged(modality, *cache.read(arrays[0])).of(torch.tensor([cache.row[i] for i in ids]))
        self._check_values(cache, found.damaged().numpy(), ids)
        return found

    def _ids(self, cache: CacheFile, part: str) -> list[str] | None:
        """Ids of a part in manifest order; None when the cache has other ones."""
        ids = [u.id for u in self.manifest.of_part(part)]
        if set(ids) != set(cache.ids):
            self._problem(f"{cache.path}: {_differing(ids, cache.ids)}")
            return None
        later = sum(entry.status == Status.UNAVAILABLE for entry in cache.entries)
        if later:
            self.findings.mark(f"{cache.path.stem}: {later} utterances unavailable in the extraction")
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
    told = [f"lacks {_some(lacking)}"] if lacking else []
    told += [f"has {_some(extra)}"] if extra else []
    return f"other ids than the manifest: {'; '.join(told)}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
