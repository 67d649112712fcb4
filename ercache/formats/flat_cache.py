"""A cache as plain columns and arrays: the form between a cache file and npz, safetensors and parquet files."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ercache.cache import Array, ArraySpec, CacheFile, Status
from ercache.errors import UsageError
from ercache.manifest import Manifest
from ercache.wording import count_noun

LABEL: Final = "label:"  # prefix of a column with the labels of a label set


@dataclass(frozen=True)
class FlatCache:
    """The content of a cache with N utterances, as plain columns and arrays.

    Attributes:
        about: dictionary of JSON values: `specs` of the arrays, and `provenance` (how the feature was computed).
        columns: dictionary from column name to N values, one per utterance. It always has `id`, `status`, `reason` and
            `frames`. With a manifest, it also has `dialogue`, `index`, `speaker` and `label:<label set>`. A text is
            None where the manifest has none.
        arrays: dictionary from array name to two arrays: values [sum T, ...], the rows of all utterances one after the
            other, and offsets [N + 1]. Utterance i owns values[offsets[i]:offsets[i + 1]].
    """

    about: Mapping[str, Any]
    columns: Mapping[str, list[Any]]
    arrays: Mapping[str, tuple[Array, NDArray[np.int64]]]

    @property
    def specs(self) -> tuple[ArraySpec, ...]:
        """Read the specs of the arrays (name, kind, axes, shape, type, unit) from `about`, and check them.

        Raises:
            UsageError: the specs are missing or invalid, or the arrays do not fit them.
        """
        try:
            specs = tuple(
                ArraySpec(s["name"], s["kind"], tuple(s["axes"]), tuple(s["shape"]), s["dtype"], s["units"])
                for s in self.about["specs"]
            )
            fits = all(
                self.arrays[s.name][0].shape[1:] == s.shape
                and self.arrays[s.name][0].dtype == np.dtype(s.dtype)
                and _cuts(*self.arrays[s.name], len(self.columns["id"]))
                for s in specs
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"damaged, or not exported by ercache: the file lacks a valid description of its arrays ({error!r})"
            ) from error
        if not fits:
            raise UsageError(
                "damaged: an array has another shape, type or number of rows than the file states"
            )
        return specs

    @property
    def present(self) -> NDArray[np.bool_]:
        """Whether each of the N utterances has the feature, bool [N]."""
        return np.array([status == Status.OK for status in self.columns["status"]], dtype=bool)


def _cuts(values: Array, offsets: NDArray[np.int64], count: int) -> bool:
    whole = len(offsets) == count + 1 and offsets[0] == 0 and offsets[-1] == len(values)
    return bool(whole and (np.diff(offsets) >= 0).all())


def flatten_cache(cache: CacheFile, manifest: Manifest | None) -> FlatCache:
    """Read a cache into plain columns and arrays. With a manifest, the labels, dialogues and speakers are added.

    Raises:
        UsageError: an utterance of the cache is not in the manifest.
    """
    columns: dict[str, list[Any]] = {
        "id": [e.id for e in cache.entries],
        "status": [e.status.value for e in cache.entries],
        "reason": [e.reason for e in cache.entries],
        "frames": [e.frames for e in cache.entries],
    }
    if manifest is not None:
        columns |= _of_manifest(manifest, columns["id"])
    about = {"specs": [asdict(spec) for spec in cache.specs.values()], "provenance": cache.provenance}
    return FlatCache(about, columns, {name: cache.read(name) for name in cache.specs})


def _of_manifest(manifest: Manifest, ids: Sequence[str]) -> dict[str, list[Any]]:
    by_id = {u.id: u for u in manifest.utterances}
    unknown = [i for i in ids if i not in by_id]
    if unknown:
        raise UsageError(
            f"the cache holds {count_noun(len(unknown), 'utterance')} that the manifest of {manifest.corpus} lacks, "
            f"for example {unknown[0]}",
            hint="scan the corpus again, then extract the feature again",
        )
    rows = [by_id[i] for i in ids]
    named: dict[str, list[Any]] = {
        "dialogue": [u.dialogue for u in rows],
        "index": [u.index for u in rows],
        "speaker": [u.speaker for u in rows],
    }
    return named | {f"{LABEL}{name}": [u.labels.get(name) for u in rows] for name in manifest.label_sets}
