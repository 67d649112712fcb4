"""A cache as plain columns and arrays: what npz, safetensors and parquet files hold, and are read back from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ercache.cache import Array, ArraySpec, CacheFile, Status
from ercache.errors import UsageError
from ercache.manifest import Manifest

LABEL: Final = "label:"  # before the name of a label set


@dataclass(frozen=True)
class FlatCache:
    """One row an utterance.

    Attributes:
        about: specs of the arrays and the provenance, JSON-like.
        columns: `id`, `status`, `reason`, `frames`; `dialogue`, `index`, `speaker` and `label:<set>` where there is a
            manifest. Texts may be None.
        arrays: name -> values [sum T, ...] and offsets [N + 1].
    """

    about: Mapping[str, Any]
    columns: Mapping[str, list[Any]]
    arrays: Mapping[str, tuple[Array, NDArray[np.int64]]]

    @property
    def specs(self) -> tuple[ArraySpec, ...]:
        """The arrays' specs.

        Raises:
            UsageError: they are not told, or the arrays do not fit them.
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
            raise UsageError(f"its arrays are not described as ercache exports them ({error!r})") from error
        if not fits:
            raise UsageError("its arrays do not fit their description")
        return specs

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which utterances have values, shape [N]."""
        return np.array([status == Status.OK for status in self.columns["status"]], dtype=bool)


def _cuts(values: Array, offsets: NDArray[np.int64], count: int) -> bool:
    whole = len(offsets) == count + 1 and offsets[0] == 0 and offsets[-1] == len(values)
    return bool(whole and (np.diff(offsets) >= 0).all())


def flatten_cache(cache: CacheFile, manifest: Manifest | None) -> FlatCache:
    """A cache and, where there is a manifest, the labels of its utterances."""
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
            f"{len(unknown)} utterances of the cache are not in the manifest of {manifest.corpus}: {unknown[0]}",
            hint="scan the corpus again, then extract the feature again",
        )
    rows = [by_id[i] for i in ids]
    named: dict[str, list[Any]] = {
        "dialogue": [u.dialogue for u in rows],
        "index": [u.index for u in rows],
        "speaker": [u.speaker for u in rows],
    }
    return named | {f"{LABEL}{name}": [u.labels.get(name) for u in rows] for name in manifest.label_sets}
