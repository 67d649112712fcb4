"""Write imported features as caches: one cache per feature and part of the corpus (train, dev, test), in manifest
order.

The provenance of these caches says that their origin is unknown.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.cache import Array, ArraySpec, CacheFile, Entry, Status, content_digest
from ercache.cache_writer import write_cache
from ercache.errors import CacheError, UsageError
from ercache.formats.content import FileContent, FoundFeature, first_few
from ercache.formats.numbers import NUMBERS
from ercache.manifest import Manifest
from ercache.reasons import Reason
from ercache.wording import count_noun

LACKING: Final = Reason.ABSENT  # reason of utterances that the file does not name


@dataclass
class ImportResult:
    """What the import of a file has written: features, cache files and notes.

    Attributes:
        features: names of the imported features.
        files: paths of the cache files.
        utterances: number of utterances that have at least one of the features.
        notes: sentences for the user.
    """

    features: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    utterances: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Inspected:
    """What reading all values of an imported feature once has found, so that its caches can be written.

    Attributes:
        specs: name, shape and type of each array.
        entries: utterance id -> its entry for the index of the cache.
        lengths: utterance id -> number of rows of each array.
        notes: sentences for the user about suspicious values.
    """

    specs: tuple[ArraySpec, ...]
    entries: Mapping[str, Entry]
    lengths: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]


class _Rows:
    """Gives the arrays of an imported feature by utterance id, converted to one shape and type for `write_cache`."""

    def __init__(self, found: FoundFeature, specs: Sequence[ArraySpec]) -> None:
        self._found, self._specs = found, specs

    def __getitem__(self, utterance: str, /) -> Mapping[str, Array]:
        given = self._found.read(utterance)
        return {
            s.name: np.ascontiguousarray(given[s.name], np.dtype(s.dtype)).reshape(-1, *s.shape)
            for s in self._specs
        }


def pack(
    content: FileContent, manifest: Manifest, root: Path, prefix: str, imported: Mapping[str, Any]
) -> ImportResult:
    """Write the features of an imported file as caches, one for each feature and part of the corpus.

    If the file has no utterance of a part (such as dev), no cache is written for this part. Three files for train, dev
    and test can therefore be imported one after the other.

    Args:
        content: what the reader found in the file.
        manifest: manifest of the corpus.
        root: folder for the caches.
        prefix: name of the feature; if there are several features, the beginning of their names.
        imported: format, name and sha256 of the file, as JSON values. They are stored in the provenance.

    Returns:
        Names of the features, paths of the caches, number of utterances, and notes for the user.

    Raises:
        UsageError: no utterance of the file belongs to this corpus, values are not numbers, or a cache that ercache
            extracted itself would be overwritten.
    """
    features = [found for found in content.features if found.ids or found.gaps]
    if not features:
        raise UsageError(
            f"no row of the file belongs to an utterance of {manifest.corpus}",
            details=content.notes,
            hint="check that --corpus names the corpus of this file, and that the file has ids like "
            + first_few([repr(u.id) for u in manifest.utterances], 2),
        )
    packed = ImportResult(notes=list(content.notes))
    packed.utterances = len({utterance for found in features for utterance in found.ids})
    names = feature_names(features, prefix)
    places = [root / manifest.corpus / f.modality / n for f, n in zip(features, names, strict=True)]
    _check_places(places, manifest.parts)
    # Everything is checked before anything is written, so that an error leaves no file.
    every = [_inspect(found) for found in features]
    for found, surveyed, place in zip(features, every, places, strict=True):
        packed.notes += [f"{place.name}: {note}" for note in surveyed.notes]
        packed.features.append(place.name)
        for part in manifest.parts:
            origin = {**imported, "name": found.name, "claims": dict(content.claims)}
            provenance = {"corpus": manifest.corpus, "part": part, "feature": place.name, "modality": found.modality,
                          "origin": "unknown", "imported": origin}  # fmt: skip
            ids = [u.id for u in manifest.of_part(part)]
            if not {*surveyed.entries, *found.gaps}.intersection(ids):
                packed.notes.append(
                    f"{place.name}: the file has no utterance of the part {part}, so it gets no cache"
                )
                continue
            entries = [surveyed.entries.get(i) or _gap(i, found) for i in ids]
            path = place.with_name(f"{place.name}.{part}.h5")
            lengths = [surveyed.lengths.get(i, {}) for i in ids]
            write_cache(path, surveyed.specs, entries, _Rows(found, surveyed.specs), provenance, lengths)
            packed.files.append(str(path))
    return packed


def feature_names(features: Sequence[FoundFeature], prefix: str) -> list[str]:
    """Choose the names of imported features: `prefix` for a single feature, `prefix_<name in the file>` for several."""
    names = [prefix if len(features) == 1 else f"{prefix}_{found.name}" for found in features]
    return [plain_name(name) for name in names]


def plain_name(name: str) -> str:
    """Turn a text into a name for params.yaml and file paths, such as `Bert (large)` into `bert_large`."""
    return re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_") or "imported"


def _gap(utterance: str, found: FoundFeature) -> Entry:
    reason = found.gaps.get(utterance, LACKING)
    return Entry(utterance, reason.status, reason.value)


def _check_places(places: Sequence[Path], parts: Sequence[str]) -> None:
    twice = sorted({str(place) for place in places if places.count(place) > 1})
    if twice:
        raise UsageError(
            f"two features of the file would be written to the same cache: {first_few(twice)}",
            hint="choose another name with --name, or give --modality",
        )
    known = []
    for path in (place.with_name(f"{place.name}.{part}.h5") for place in places for part in parts):
        if path.is_file() and _has_origin(path):
            known.append(str(path))
    if known:
        raise UsageError(
            "the import would overwrite caches that ercache extracted itself",
            details=known,
            hint="choose another name with --name",
        )


def _has_origin(path: Path) -> bool:
    try:
        with CacheFile(path) as cache:
            return cache.provenance.get("origin") != "unknown"
    except CacheError:
        return False  # a damaged file may be overwritten


def _inspect(found: FoundFeature) -> _Inspected:
    """Read all values of a feature once, to find its specs, lengths, digests, and suspicious values.

    Shapes and types are determined first, because values of mixed types are converted to a common type, of which the
    digests are computed.
    """
    specs = found.specs or _specs_of(found)
    rows = _Rows(found, specs)
    entries: dict[str, Entry] = {}
    lengths: dict[str, dict[str, int]] = {}
    zeros: list[str] = []
    odd: list[str] = []
    for utterance in found.ids:
        arrays = rows[utterance]
        lengths[utterance] = {name: len(array) for name, array in arrays.items()}
        frames = found.frames.get(utterance, max(lengths[utterance].values(), default=0))
        entries[utterance] = Entry(utterance, Status.OK, "", frames, "", content_digest(arrays))
        if not any(array.any() for array in arrays.values()):
            zeros.append(utterance)
        if any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in arrays.values()):
            odd.append(utterance)
    notes = []
    if zeros:
        notes.append(
            f"only zeros, which were kept, for {count_noun(len(zeros), 'utterance')}: {first_few(zeros)}"
        )
    if odd:
        notes.append(
            f"NaN or infinite values, which training will refuse, for {count_noun(len(odd), 'utterance')}:"
            f" {first_few(odd)}"
        )
    return _Inspected(specs, entries, lengths, tuple(notes))


def _specs_of(found: FoundFeature) -> tuple[ArraySpec, ...]:
    shapes: dict[str, set[tuple[int, ...]]] = {}
    types: dict[str, set[np.dtype[Any]]] = {}
    single: dict[str, bool] = {}
    for utterance in found.ids:
        for name, array in found.read(utterance).items():
            if array.dtype.kind not in NUMBERS:
                raise UsageError(
                    f"{found.name} of utterance {utterance}: values of type {array.dtype} cannot be features; give a "
                    "file of numbers"
                )
            shapes.setdefault(name, set()).add(array.shape[1:] if array.ndim > 1 else array.shape)
            types.setdefault(name, set()).add(array.dtype.newbyteorder("="))
            single[name] = single.get(name, True) and (array.ndim < 2 or len(array) == 1)
    for name, found_shapes in shapes.items():
        if len(found_shapes) > 1:
            told = first_few([list(shape) for shape in sorted(found_shapes)])
            raise UsageError(f"feature {found.name}: the rows of array {name!r} have different shapes: {told}",
                             hint="all rows must have one shape; check that the file is complete")  # fmt: skip
    return tuple(
        ArraySpec(
            name,
            "vector" if single[name] else "sequence",
            (
                "utterance" if single[name] else "step",
                *(f"dim{i}" if i else "dim" for i in range(len(shape))),
            ),
            shape,
            str(np.result_type(*types[name])),
        )
        for name, (shape,) in shapes.items()
    )
