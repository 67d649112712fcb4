"""Write one cache file for each feature and split part (train, dev, test).

A unit is one feature of one input (utterance). Its result comes from the cache file of an earlier run or from the store
of finished results. The arrays are not all in memory: they are loaded one utterance at a time, when they are written.
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
    """What is known about the result of one feature of one input, without its arrays, which are read later.

    Attributes:
        frames: number of frames, tokens or windows that the arrays are computed from.
        reason: why there are no arrays; None when there are.
        detail: error message of the library or tool, for the reason.
        note: what was lacking in the input, for example frames that could not be decoded; empty if nothing was.
        environment: library versions, device and precision with which the result was computed, as canonical JSON; empty
            if nothing was computed.
        digest: digest of the arrays; empty if there are none.
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
    """Return what is known about a stored result, without its arrays.

    Args:
        record: the result as it is stored.
        arrays: function that reads the arrays again when they are needed.
    """
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
    """Return the entries (one per utterance) of a cache file whose features need not be computed again.

    These are computed features, and missing ones whose reason is final, for example an utterance without a face.
    """
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
        """Return the finished result with a key; None if there is none yet. A result is read only once."""
        if unit not in self._looked_up:
            result = self._in_cache(unit) if unit in self._location else self._in_store(unit)
            if result is None:
                return None
            self._looked_up[unit] = result
        return self._looked_up[unit]

    def matches(
        self, path: Path, feature: Feature, entries: Sequence[Entry], provenance: Mapping[str, Any]
    ) -> bool:
        """Return whether the cache file of an earlier run at `path` already has exactly the content to write.

        The arrays need not be compared, because the entries contain their digests.

        Args:
            path: path of the cache file.
            feature: the feature, which says the names and shapes of the arrays.
            entries: the entries to write, one per utterance.
            provenance: the provenance to write.
        """
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
                f"{self._store.folder}: the stored result with key {unit} has disappeared",
                hint="the store was changed during the run; run again",
            )
        return unpack_record(payload).arrays

    def close(self) -> None:
        """Close the cache files of earlier runs; results that were returned can then no longer read their arrays."""
        for cache in self._open.values():
            cache.close()
        self._open.clear()


def collect(
    plan: Plan, feature: Feature, ids: Sequence[str], get: Callable[[str], UnitResult | Record | None]
) -> dict[str, UnitResult]:
    """Return the result of a feature for each of the given utterances, as input for its cache file.

    Args:
        plan: the plan that contains the feature; it holds the keys of all results.
        feature: the feature.
        ids: utterance ids.
        get: function that takes the key of a result and returns the finished result, or the failure of this run that
            may be temporary, or None if there is neither.

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
    """Maps an utterance id to the arrays of its feature, which are read from disk only when accessed."""

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
        partial: whether `results` lacks some of the manifest's utterances of this split part.
        previous: results of earlier runs: if the file at `path` has exactly this content already, nothing is written.
            With None, the file is always written.

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
