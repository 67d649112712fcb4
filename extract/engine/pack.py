"""Packing: unit results -> one cache file per feature and part, from the previous file or the store."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ercache.cache import CacheFile, Entry, Status, content_digest, verify_cache, write_cache
from ercache.digests import canonical_json
from ercache.errors import WorkError
from ercache.manifest import Manifest
from ercache.reasons import Reason
from extract.engine.plan import Feature, Plan
from extract.engine.records import Record, unpack_record
from extract.engine.run import no_arrays
from extract.engine.store import Store


class Results:
    """Where finished units are looked up: previous cache files first, then the store.

    Args:
        files: cache files that may hold some of them; damaged or foreign ones are passed over.
    """

    def __init__(self, files: Sequence[Path], store: Store) -> None:
        self._store = store
        self._place: dict[str, tuple[Path, str]] = {}
        self._open: dict[Path, CacheFile] = {}
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
        for entry in cache.entries:
            if entry.key and entry.status != Status.UNAVAILABLE:
                self._place.setdefault(entry.key, (path, entry.id))

    def __contains__(self, unit: str) -> bool:
        return unit in self._place or unit in self._store

    def get(self, unit: str) -> Record | None:
        """The finished result of a unit, if there is one."""
        if unit not in self._place:
            payload = self._store.get(unit)
            return unpack_record(payload) if payload is not None else None
        path, utterance = self._place[unit]
        cache = self._open[path]
        entry = cache.entries[cache.row[utterance]]
        made = cache.provenance["made"][cache.provenance["made_of"].get(utterance, 0)]
        reason = Reason(entry.reason) if entry.reason else None
        return Record(cache[utterance], entry.frames, reason, made=made)

    def close(self) -> None:
        """Close the previous cache files."""
        for cache in self._open.values():
            cache.close()
        self._open.clear()


def collect(
    plan: Plan, feature: Feature, ids: Sequence[str], get: Callable[[str], Record | None]
) -> dict[str, Record]:
    """The result of every utterance of a part."""
    results: dict[str, Record] = {}
    for utterance in ids:
        key = plan.keys[feature.name][utterance]
        if isinstance(key, Reason):
            results[utterance] = no_arrays(key)
            continue
        record = get(key)
        if record is None:
            raise WorkError(
                f"{feature.name}: no result for {utterance!r}",
                hint="the store was changed meanwhile; run again",
            )
        results[utterance] = record
    return results


def pack(
    path: Path,
    manifest: Manifest,
    part: str,
    feature: Feature,
    plan: Plan,
    results: Mapping[str, Record],
    partial: bool,
) -> None:
    """Write the cache file of a feature and part; `partial` when it lacks utterances of the manifest."""
    arrays = {u: record.arrays for u, record in results.items() if record.reason is None}
    entries = [_entry(plan, feature, u, record) for u, record in results.items()]
    made = sorted({canonical_json(r.made): r.made for r in results.values() if r.made}.items())
    rank = {text: i for i, (text, _) in enumerate(made)}
    provenance: dict[str, Any] = {
        "corpus": manifest.corpus,
        "part": part,
        "feature": feature.name,
        "modality": feature.spec.modality,
        **feature.recipe,
        "context": feature.spec.context,
        "tolerance": feature.spec.tolerance,
        "licence": feature.spec.licence,
        "records": manifest.records_digest(feature.spec.modality, part),
        **({"partial": True} if partial else {}),
        "made": [value for _, value in made],
        "made_of": {u: n for u, r in results.items() if r.made and (n := rank[canonical_json(r.made)])},
    }
    write_cache(path, feature.arrays, entries, arrays, provenance)


def _entry(plan: Plan, feature: Feature, utterance: str, record: Record) -> Entry:
    key = plan.keys[feature.name][utterance]
    unit = "" if isinstance(key, Reason) else key
    if record.reason is not None:
        return Entry(utterance, record.reason.status, record.reason.value, record.frames, unit)
    return Entry(utterance, Status.OK, "", record.frames, unit, content_digest(record.arrays))
