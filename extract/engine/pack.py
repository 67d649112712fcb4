"""Write one cache file for each feature and split part (train, dev, test).

A unit is one feature of one input. The result of a unit comes from the previous cache file or from the store. Only a
short description of the result stays in memory. The arrays are loaded one utterance at a time, when they are written.
"""

import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ercache.cache import Array, CacheFile, Entry, Status, content_digest, verify_cache
from ercache.cache_writer import write_cache
from ercache.digests import canonical_json
from ercache.errors import WorkError
from ercache.manifest import Manifest
from ercache.notes import KEY as NOTES
from ercache.notes import notes_of
from ercache.reasons import Reason
from ercache.trained_extractors import TRAINING
from extract.engine.plan import Feature, Plan
from extract.engine.records import Record, no_arrays, unpack_record
from extract.engine.store import Store


@dataclass(frozen=True)
class UnitResult:
    """The description of one computed feature of one input; the arrays themselves are read later.

    Attributes:
        frames: number of frames, tokens or windows that the arrays are computed from.
        reason: why there are no arrays; None when there are.
        detail: error message of the library or tool, for the reason.
        note: how the input differs from what was requested; empty if it does not.
        environment: libraries, device and precision that computed the result, as canonical JSON; empty if nothing was
            computed.
        digest: digest of the arrays; empty when there is a reason.
        lengths: array name -> length of its first axis.
        arrays: function that reads the arrays; it raises WorkError when they no longer exist.
    """

    frames: int
    reason: Reason | None = None
    detail: str = ""
    note: str = ""
    environment: str = ""
    digest: str = ""
    lengths: Mapping[str, int] = field(default_factory=dict)
    arrays: Callable[[], Mapping[str, Array]] = dict


def result_of(record: Record, arrays: Callable[[], Mapping[str, Array]] = dict) -> UnitResult:
    """Return the description of a stored result. The function `arrays` reads the arrays later."""
    digest = content_digest(record.arrays) if record.reason is None else ""
    lengths = {name: len(array) for name, array in record.arrays.items()}
    return UnitResult(
        record.frames,
        record.reason,
        record.detail,
        record.note,
        _environment_json(record.environment),
        digest,
        lengths,
        arrays,
    )


def _environment_json(environment: Mapping[str, Any]) -> str:
    return (
        sys.intern(canonical_json(environment)) if environment else ""
    )  # thousands of records share a few values


def finished_entries(cache: CacheFile) -> list[Entry]:
    """Return the entries (one per utterance) of a cache file that are final, so that no later run tries them again."""
    return [entry for entry in cache.entries if entry.key and entry.status != Status.UNAVAILABLE]


class FinishedUnits:
    """Looks up finished results by key: first in earlier cache files, then in the store.

    Args:
        files: cache files of earlier runs; damaged files are not used.
        store: the store.

    Attributes:
        damaged_files: cache files that are damaged.
    """

    def __init__(self, files: Sequence[Path], store: Store) -> None:
        self._store = store
        self._location: dict[str, tuple[Path, str]] = {}
        self._open: dict[Path, CacheFile] = {}
        self._notes: dict[Path, dict[str, str]] = {}
        self._looked_up: dict[str, UnitResult] = {}
        self.damaged_files: list[Path] = []
        for path in files:
            self._index(path)

    def _index(self, path: Path) -> None:
        if not path.is_file():
            return
        if verify_cache(path):
            self.damaged_files.append(path)
            return
        cache = self._open[path] = CacheFile(path)
        self._notes[path] = notes_of(cache.provenance)
        for entry in finished_entries(cache):
            self._location.setdefault(entry.key, (path, entry.id))

    def __contains__(self, unit: str) -> bool:
        return self.get(unit) is not None

    def get(self, unit: str) -> UnitResult | None:
        """Return the finished result with a key; None if there is none yet. A result is read and checked only once."""
        if unit not in self._looked_up:
            result = self._in_cache(unit) if unit in self._location else self._in_store(unit)
            if result is None:
                return None
            self._looked_up[unit] = result
        return self._looked_up[unit]

    def matches(
        self, path: Path, feature: Feature, entries: Sequence[Entry], provenance: Mapping[str, Any]
    ) -> bool:
        """Return whether the cache file at `path` has these entries and this provenance, and so the same arrays."""
        cache = self._open.get(path)
        return (
            cache is not None
            and path.is_file()
            and cache.entries == tuple(entries)
            and cache.specs == {spec.name: spec for spec in feature.arrays}
            and canonical_json(cache.provenance) == canonical_json(provenance)
        )

    def _in_cache(self, unit: str) -> UnitResult:
        path, utterance = self._location[unit]
        cache = self._open[path]
        entry = cache.entries[cache.row[utterance]]
        made = cache.provenance["made"][cache.provenance["made_of"].get(utterance, 0)]
        reason = Reason(entry.reason) if entry.reason else None
        arrays = functools.partial(cache.__getitem__, utterance)
        note = self._notes[path].get(utterance, "")
        return UnitResult(
            entry.frames,
            reason,
            "",
            note,
            _environment_json(made),
            entry.digest,
            cache.lengths(utterance),
            arrays,
        )

    def _in_store(self, unit: str) -> UnitResult | None:
        payload = self._store.get(unit)
        if payload is None:
            return None
        return result_of(unpack_record(payload), functools.partial(self._stored_arrays, unit))

    def _stored_arrays(self, unit: str) -> Mapping[str, Array]:
        payload = self._store.get(unit)
        if payload is None:
            raise WorkError(
                f"{self._store.folder}: the stored result {unit} has disappeared",
                hint="the store was changed during the run; run again",
            )
        return unpack_record(payload).arrays

    def close(self) -> None:
        """Close the cache files of earlier runs."""
        for cache in self._open.values():
            cache.close()
        self._open.clear()


def collect(
    plan: Plan, feature: Feature, ids: Sequence[str], get: Callable[[str], UnitResult | Record | None]
) -> dict[str, UnitResult]:
    """Return the result of a feature for each of the given utterances.

    Args:
        plan: the plan (keys of all results to compute) that contains the feature.
        feature: the feature.
        ids: utterance ids.
        get: takes the key of a result; returns the finished result, the record of a failure in this run, or None if
            there is neither.

    Returns:
        Utterance id -> result.

    Raises:
        WorkError: there is no result for an utterance.
    """
    results: dict[str, UnitResult] = {}
    for utterance in ids:
        key = plan.keys[feature.name][utterance]
        found = no_arrays(key) if isinstance(key, Reason) else get(key)
        if found is None:
            raise WorkError(
                f"{feature.name}: the result of utterance {utterance!r} is not in the store",
                hint="the store was changed during the run; run again",
            )
        results[utterance] = result_of(found) if isinstance(found, Record) else found
    return results


@dataclass(frozen=True)
class _LazyArrays:
    """Maps an utterance id to its arrays, which are read only when accessed."""

    results: Mapping[str, UnitResult]

    def __getitem__(self, utterance: str) -> Mapping[str, Array]:
        return self.results[utterance].arrays()


def pack(
    path: Path,
    manifest: Manifest,
    part: str,
    feature: Feature,
    plan: Plan,
    results: Mapping[str, UnitResult],
    partial: bool,
    previous: FinishedUnits | None = None,
) -> None:
    """Write the cache file of a feature for one split part of a corpus.

    Args:
        path: path of the cache file.
        manifest: manifest of the corpus.
        part: name of the split part (train, dev, test).
        feature: the feature.
        plan: the plan that contains the feature.
        results: utterance id -> result, in manifest order.
        partial: whether the file lacks some of the manifest's utterances of this part.
        previous: results of earlier runs. If it shows that the file at `path` has exactly this content already, nothing
            is written. None: the file is always written.

    Raises:
        WorkError: the disk is full, or a stored result has disappeared.
    """
    entries = [_entry(plan, feature, u, result) for u, result in results.items()]
    environment = sorted({result.environment for result in results.values() if result.environment})
    rank = {text: i for i, text in enumerate(environment)}
    notes = {u: result.note for u, result in results.items() if result.note}
    provenance: dict[str, Any] = {
        "corpus": manifest.corpus,
        "part": part,
        "feature": feature.name,
        "modality": feature.spec.modality,
        **feature.recipe,
        "context": feature.context,
        "tolerance": feature.spec.tolerance,
        "licence": feature.spec.licence,
        "records": manifest.records_digest(feature.spec.modality, part, feature.context),
        **({"partial": True} if partial else {}),
        **({"seen": {k: list(ids) for k, ids in feature.seen.items()}} if feature.seen else {}),
        **({TRAINING: dict(feature.trained)} if feature.trained else {}),
        **({NOTES: notes} if notes else {}),
        "made": [json.loads(text) for text in environment],
        "made_of": {u: n for u, r in results.items() if r.environment and (n := rank[r.environment])},
    }
    if previous is None or not previous.matches(path, feature, entries, provenance):
        lengths = [result.lengths for result in results.values()]
        write_cache(path, feature.arrays, entries, _LazyArrays(results), provenance, lengths)


def _entry(plan: Plan, feature: Feature, utterance: str, result: UnitResult) -> Entry:
    key = plan.keys[feature.name][utterance]
    unit = "" if isinstance(key, Reason) else key
    if result.reason is not None:
        return Entry(utterance, result.reason.status, result.reason.value, result.frames, unit)
    return Entry(utterance, Status.OK, "", result.frames, unit, result.digest)
