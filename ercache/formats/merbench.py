"""Read feature folders of MERBench.

The folder `<encoder>-UTT` has one file `<name>.npy` per utterance. The folder `<encoder>-FRA` has one folder per
utterance, with one .npy file per frame.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.content import ARRAY, FileContent, FoundFeature, first_few, modality_of
from ercache.formats.ids import IdMatcher
from ercache.formats.npy import read_npy
from ercache.manifest import Manifest


def read_merbench(path: Path, manifest: Manifest, modality: str) -> FileContent:
    """Read the folder of one encoder of MERBench. The .npy files are read later, one at a time.

    Raises:
        UsageError: the path is not a folder, the folder holds no `.npy` file, or the modality is unknown.
    """
    if not path.is_dir():
        raise UsageError(
            f"{path}: not a folder",
            hint="give the folder of one encoder, such as features/chinese-hubert-large-UTT",
        )
    ids = IdMatcher(manifest)
    places: dict[str, Path] = {}
    unknown: list[str] = []
    empty: list[str] = []
    for place in sorted(path.iterdir()):
        if place.name.startswith(".") or (place.suffix != ".npy" and not place.is_dir()):
            continue
        name = place.name if place.is_dir() else place.stem
        utterance = ids.of(name)
        if utterance is None:
            unknown.append(name)
        elif utterance in places:
            raise UsageError(
                f"{path}: {places[utterance].name} and {place.name} both belong to utterance {utterance}; remove one "
                "of them"
            )
        elif _row(place).size:
            places[utterance] = place
        else:
            empty.append(utterance)
    if not places and not unknown and not empty:
        raise UsageError(
            f"{path}: the folder holds no .npy file",
            hint="give the folder of one encoder, such as features/chinese-hubert-large-UTT, not its parent folder",
        )
    name = path.resolve().name
    found = FoundFeature(name, modality_of(name, modality), tuple(places), partial(_read, places))
    notes = (
        [f"{len(unknown)} of its files belong to no utterance of the manifest: {first_few(unknown)}"]
        if unknown
        else []
    )
    notes += (
        [f"{len(empty)} of its arrays are empty; these utterances are missing: {first_few(empty)}"]
        if empty
        else []
    )
    return FileContent((found,), tuple(notes), name=name)


def _read(places: Mapping[str, Path], utterance: str) -> Mapping[str, Array]:
    return {ARRAY: _row(places[utterance])}


def _row(place: Path) -> Array:
    if not place.is_dir():
        return read_npy(place)
    frames = [read_npy(frame) for frame in sorted(place.glob("*.npy"))]
    if not frames:
        return np.empty(0, np.float32)
    if len({frame.shape for frame in frames}) > 1:
        raise UsageError(
            f"{place}: the frames in this folder have different shapes",
            hint="check that the folder is complete",
        )
    return np.stack([frame[0] if frame.ndim > 1 and len(frame) == 1 else frame for frame in frames])
