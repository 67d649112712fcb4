"""Packing: unit results -> one cache file per feature and part, from the previous file or the store.

What a unit came to (its row of the index) is looked at once and remembered; its arrays are read again when they are
written, one utterance at a time.
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
from extract.engine.plan import Feature, Plan
from extract.engine.records import Record, no_arrays, unpack_record
from extract.engine.store import Store


@dataclass(frozen=True)
class Result:
    """What a unit came to, without its arrays.

    Attributes:
        frames, reason, detail, note: as in its record.
        made: what made it, as canonical JSON; empty when nothing did.
        digest: of the content; empty when there is a reason.
        lengths: array name -> rows.
        arrays: reads the arrays; WorkError when they are not there any more.
    """

    frames: int
    reason: Reason | None = None
    detail: str = ""
    note: str = ""
    made: str = ""
    digest: str = ""
    lengths: Mapping[str, int] = field(default_factory=dict)
    arrays: Callable[[], Mapping[str, Array]] = dict


def result_of(record: Record, arrays: Callable[[], Mapping[str, Array]] = dict) -> Result:
    """The result of a record, and where to read its arrays."""
    digest = content_digest(record.arrays) if record.reason is None else ""
    lengths = {name: len(array) for name, array in record.arrays.items()}
    return Result(
        record.frames, record.reason, record.detail, record.note, _made(record.made), digest, lengths, arrays
    )


def _made(made: Mapping[str, Any]) -> str:
    return sys.intern(canonical_json(made)) if made else ""  # thousands of records share a few of them


def finished(cache: CacheFile) -> list[Entry]:
    """Entries whose unit need not be computed again."""
    return [entry for entry in cache.entries if entry.key and entry.status != Status.UNAVAILABLE]


class Results:
    """Where finished units are looked up: previous cache files first, then the store.

    Args:
        files: cache files that may hold some of them; damaged or foreign ones are passed over.

    Attributes:
        passed_over: files that were damaged.
    """

    def __init__(self, files: Sequence[Path], store: Store) -> None:
        self._store = store
        self._place: dict[str, tuple[Path, str]] = {}
        self._open: dict[Path, CacheFile] = {}
        self._notes: dict[Path, dict[str, str]] = {}
        self._known: dict[str, Result] = {}
        self.passed_over: list[Path] = []
        for path in files:
            self._index(path)

    def _index(self, path: Path) -> None:
        if not path.is_file():
            return
        if verify_cache(path):
            self.passed_over.append(path)
            return
        cache = self._open[path] = CacheFile(path)
        self._notes[path] = notes_of(cache.provenance)
        for entry in finished(cache):
            self._place.setdefault(entry.key, (path, entry.id))

    def __contains__(self, unit: str) -> bool:
        return self.get(unit) is not None

    def get(self, unit: str) -> Result | None:
        """What a finished unit came to, if it is finished; its payload is read and checked the first time only."""
        if unit not in self._known:
            result = self._in_cache(unit) if unit in self._place else self._in_store(unit)
            if result is None:
                return None
            self._known[unit] = result
        return self._known[unit]

    def holds(
        self, path: Path, feature: Feature, entries: Sequence[Entry], provenance: Mapping[str, Any]
    ) -> bool:
        """Whether a cache file is there already and says just this; then its arrays are the same too."""
        cache = self._open.get(path)
        return (
            cache is not None
            and path.is_file()
            and cache.entries == tuple(entries)
            and cache.specs == {spec.name: spec for spec in feature.arrays}
            and canonical_json(cache.provenance) == canonical_json(provenance)
        )

    def _in_cache(self, unit: str) -> Result:
        path, utterance = self._place[unit]
        cache = self._open[path]
        entry = cache.entries[cache.row[utterance]]
        made = cache.provenance["made"][cache.provenance["made_of"].get(utterance, 0)]
        reason = Reason(entry.reason) if entry.reason else None
        arrays = functools.partial(cache.__getitem__, utterance)
        note = self._notes[path].get(utterance, "")
        return Result(
            entry.frames, reason, "", note, _made(made), entry.digest, cache.lengths(utterance), arrays
        )

    def _in_store(self, unit: str) -> Result | None:
        payload = self._store.get(unit)
        if payload is None:
            return None
        return result_of(unpack_record(payload), functools.partial(self._stored_arrays, unit))

    def _stored_arrays(self, unit: str) -> Mapping[str, Array]:
        payload = self._store.get(unit)
        if payload is None:
            raise WorkError(
                f"{self._store.folder}: the result of unit {unit} was there and is gone",
                hint="the store was changed meanwhile; run again",
            )
        return unpack_record(payload).arrays

    def close(self) -> None:
        """Close the previous cache files."""
        for cache in self._open.values():
            cache.close()
        self._open.clear()


def collect(
    plan: Plan, feature: Feature, ids: Sequence[str], get: Callable[[str], Result | Record | None]
) -> dict[str, Result]:
    """What every utterance of a part came to.

    Args:
        get: unit -> its result, or the record of what this run failed on.

    Raises:
        WorkError: a unit of the plan has no result.
    """
    results: dict[str, Result] = {}
    for utterance in ids:
        key = plan.keys[feature.name][utterance]
        found = no_arrays(key) if isinstance(key, Reason) else get(key)
        if found is None:
            raise WorkError(
                f"{feature.name}: no result for {utterance!r}",
                hint="the store was changed meanwhile; run again",
            )
        results[utterance] = result_of(found) if isinstance(found, Record) else found
    return results


@dataclass(frozen=True)
class _Arrays:
    """The arrays of an utterance, read when they are asked for."""

    results: Mapping[str, Result]

    def __getitem__(self, utterance: str) -> Mapping[str, Array]:
        return self.results[utterance].arrays()


def pack(
    path: Path,
    manifest: Manifest,
    part: str,
    feature: Feature,
    plan: Plan,
    results: Mapping[str, Result],
    partial: bool,
    previous: Results | None = None,
) -> None:
    """Write the cache file of a feature and part.

    Args:
        results: what each utterance came to, in manifest order.
        partial: it lacks utterances of the manifest.
        previous: leave the file alone where this knows that it says the same already.

    Raises:
        WorkError: the disk is full, or a result is not there any more.
    """
    entries = [_entry(plan, feature, u, result) for u, result in results.items()]
    made = sorted({result.made for result in results.values() if result.made})
    rank = {text: i for i, text in enumerate(made)}
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
        **({NOTES: notes} if notes else {}),
        "made": [json.loads(text) for text in made],
        "made_of": {u: n for u, r in results.items() if r.made and (n := rank[r.made])},
    }
    if previous is None or not previous.holds(path, feature, entries, provenance):
        lengths = [result.lengths for result in results.values()]
        write_cache(path, feature.arrays, entries, _Arrays(results), provenance, lengths)


def _entry(plan: Plan, feature: Feature, utterance: str, result: Result) -> Entry:
    key = plan.keys[feature.name][utterance]
    unit = "" if isinstance(key, Reason) else key
    if result.reason is not None:
        return Entry(utterance, result.reason.status, result.reason.value, result.frames, unit)
    return Entry(utterance, Status.OK, "", result.frames, unit, result.digest)
