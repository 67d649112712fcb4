"""Section of the report: which utterances have which feature, why others lack it, and how the feature was computed."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.report.corpus import LIST_LIMIT, ReasonCount, meaning_of
from app.report.gather import CacheIndex
from ercache.cache import Entry, Status
from ercache.manifest import MODALITIES, Manifest
from ercache.notes import KEY, notes_of

_LONGEST = 40  # longer mappings and lists of a provenance are replaced by their size


@dataclass(frozen=True)
class CoverageRow:
    """How many utterances of one corpus part (train, dev or test) have a feature.

    Attributes:
        path: the cache file; "" if there is none.
        ok, missing, unavailable: numbers of utterances with this status of the feature.
        reasons: why utterances lack the feature, and how many.
        notes: number of utterances whose feature has a note, for example `frames 4 of 6`.
        warning: a sentence if the cache file is absent or its utterance ids differ from the manifest; otherwise "".
    """

    part: str
    path: str
    ok: int
    missing: int
    unavailable: int
    total: int
    reasons: tuple[ReasonCount, ...]
    notes: int
    warning: str


@dataclass(frozen=True)
class NotedIds:
    """Utterances of one corpus part (train, dev or test) whose feature has a note, for example `frames 4 of 6`.

    Attributes:
        count: number of these utterances.
        notes: utterance id and note of the first ones.
        more: number of these utterances that are not listed.
    """

    part: str
    count: int
    notes: tuple[tuple[str, str], ...]
    more: int


@dataclass(frozen=True)
class MissingIds:
    """Utterances of one corpus part (train, dev or test) that lack a feature for the same reason.

    Attributes:
        ids: ids of the first ones.
        more: number of these utterances that are not listed.
    """

    part: str
    reason: ReasonCount
    ids: tuple[str, ...]
    more: int


@dataclass(frozen=True)
class FeatureView:
    """What the report shows about a feature: how it was computed, its arrays, and which utterances have it.

    Attributes:
        known: whether ercache computed the feature. False if it was imported.
        rows: how many utterances have the feature; one row per corpus part (train, dev or test).
        gaps: utterances without the feature; one entry per corpus part and reason.
        noted: utterances whose feature has a note (such as `frames 4 of 6`); one entry per corpus part.
        provenance: how the feature was computed, as JSON text.
    """

    name: str
    modality: str
    encoder: str
    known: bool
    arrays: tuple[str, ...]
    weights: str
    licence: str
    rows: tuple[CoverageRow, ...]
    gaps: tuple[MissingIds, ...]
    noted: tuple[NotedIds, ...]
    provenance: str


@dataclass(frozen=True)
class IncompleteUtterance:
    """An utterance that lacks at least one feature.

    Attributes:
        reasons: one text per feature of the corpus: why the utterance lacks it, or "" if the utterance has it.
    """

    id: str
    part: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class CoverageView:
    """What the report shows about all features of a corpus together.

    Attributes:
        features: one entry per feature.
        gaps: the first utterances that lack at least one feature.
        more: number of further utterances that lack a feature.
        complete: number of utterances that have every feature.
        total: number of all utterances.
    """

    corpus: str
    features: tuple[FeatureView, ...]
    gaps: tuple[IncompleteUtterance, ...]
    more: int
    complete: int
    total: int


def coverage_view(corpus: str, caches: Sequence[CacheIndex], manifest: Manifest | None) -> CoverageView:
    """Collect from the caches of a corpus which utterances have which feature. Features are ordered by modality.

    Args:
        corpus: name of the corpus.
        caches: what the cache files of the corpus say, without values.
        manifest: manifest of the corpus; None if it is absent.
    """
    features: dict[tuple[str, str], list[CacheIndex]] = {}
    parts = manifest.parts if manifest else ("train", "dev", "test")
    for cache in sorted(
        caches, key=lambda c: (_rank(c.modality, MODALITIES), c.feature, _rank(c.part, parts))
    ):
        features.setdefault((cache.modality, cache.feature), []).append(cache)
    gaps = _gap_rows(list(features.values()))
    ids = {entry.id for cache in caches for entry in cache.entries}
    return CoverageView(
        corpus=corpus,
        features=tuple(_feature_view(files, manifest) for files in features.values()),
        gaps=tuple(gaps[:LIST_LIMIT]),
        more=max(0, len(gaps) - LIST_LIMIT),
        complete=len(ids) - len(gaps),
        total=len(ids),
    )


def _rank(name: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def _feature_view(files: Sequence[CacheIndex], manifest: Manifest | None) -> FeatureView:
    first = files[0]
    by_part = {cache.part: cache for cache in files}
    parts = dict.fromkeys([*(manifest.parts if manifest else ()), *by_part])
    origin = first.provenance
    known = bool(origin.get("encoder")) and origin.get("origin") != "unknown"
    return FeatureView(
        name=first.feature,
        modality=first.modality,
        encoder=f"{origin.get('encoder')} (version {origin.get('version', '?')})"
        if known
        else "origin unknown",
        known=known,
        arrays=tuple(
            f"{s.name}: {s.kind}, {' × '.join(map(str, s.shape)) or '1'}, {s.dtype}, unit {s.units}"
            for s in first.specs
        ),
        weights=weights_text(origin) if known else "unknown",
        licence=str(origin.get("licence") or ""),
        rows=tuple(_row(part, by_part.get(part), manifest) for part in parts),
        gaps=tuple(gap for cache in files for gap in _gaps(cache)),
        noted=tuple(noted for cache in files if (noted := _noted(cache)).count),
        provenance=json.dumps(shortened(origin), indent=1, sort_keys=True, ensure_ascii=False),
    )


def weights_text(provenance: dict[str, Any]) -> str:
    """Describe the encoder's weights in one line: checkpoint, revision, sha256, and whether they are random.

    Args:
        provenance: how a feature was computed, as its cache file records it.
    """
    weights = provenance.get("weights")
    if not weights:
        return "none (the encoder is not trained)"
    if not isinstance(weights, dict):
        return str(weights)
    name = next((str(weights[k]) for k in ("id", "key", "name", "source") if weights.get(k)), "unnamed")
    digest = weights.get("sha256") or ""
    files = digest if isinstance(digest, dict) else {"": digest} if digest else {}
    digests = [f"{file} sha256 {str(value)[:12]}…".strip() for file, value in files.items()]
    random = "RANDOM WEIGHTS" if weights.get("random") else ""
    return " · ".join(filter(None, [name, str(weights.get("revision") or ""), *digests, random]))


def shortened(value: Any) -> Any:
    """Copy a JSON value with every long dictionary and list replaced by a text such as `(120 entries)`."""
    if isinstance(value, dict):
        if len(value) > _LONGEST:
            return f"({len(value):,} entries)"
        return {key: shortened(inner) for key, inner in value.items() if key not in ("made_of", KEY)}
    if isinstance(value, list):
        return f"({len(value):,} entries)" if len(value) > _LONGEST else [shortened(v) for v in value]
    return value


def _row(part: str, cache: CacheIndex | None, manifest: Manifest | None) -> CoverageRow:
    expected = [u.id for u in manifest.of_part(part)] if manifest else []
    if cache is None:
        return CoverageRow(part, "", 0, 0, 0, len(expected), (), 0, "no cache file yet")
    count = Counter(entry.status for entry in cache.entries)
    differs = bool(manifest) and expected != [entry.id for entry in cache.entries]
    return CoverageRow(
        part=part,
        path=cache.path,
        ok=count[Status.OK],
        missing=count[Status.MISSING],
        unavailable=count[Status.UNAVAILABLE],
        total=len(cache.entries),
        reasons=tuple(_reasons(cache.entries)),
        notes=len(notes_of(cache.provenance)),
        warning="its ids differ from the manifest: extract again" if differs else "",
    )


def _reasons(entries: Sequence[Entry]) -> list[ReasonCount]:
    count = Counter((e.status.value, e.reason) for e in entries if e.status != Status.OK)
    ranked = sorted(count.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return [ReasonCount(status, reason, meaning_of(reason), n) for (status, reason), n in ranked]


def _gaps(cache: CacheIndex) -> list[MissingIds]:
    gaps = []
    for reason in _reasons(cache.entries):
        same = [e.id for e in cache.entries if (e.status.value, e.reason) == (reason.status, reason.reason)]
        gaps.append(MissingIds(cache.part, reason, tuple(same[:LIST_LIMIT]), max(0, len(same) - LIST_LIMIT)))
    return gaps


def _noted(cache: CacheIndex) -> NotedIds:
    notes = tuple(notes_of(cache.provenance).items())
    return NotedIds(cache.part, len(notes), notes[:LIST_LIMIT], max(0, len(notes) - LIST_LIMIT))


def _gap_rows(features: Sequence[Sequence[CacheIndex]]) -> list[IncompleteUtterance]:
    found: dict[str, dict[int, str]] = {}
    part_of: dict[str, str] = {}  # in manifest order, as every cache file is
    for column, files in enumerate(features):
        for cache in files:
            for entry in cache.entries:
                part_of.setdefault(entry.id, cache.part)
                if entry.status != Status.OK:
                    found.setdefault(entry.id, {})[column] = entry.reason or entry.status.value
    columns = range(len(features))
    return [
        IncompleteUtterance(i, part, tuple(found[i].get(c, "") for c in columns))
        for i, part in part_of.items()
        if i in found
    ]
