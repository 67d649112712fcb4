"""Read the feature pickles of MulT (Multimodal-Transformer; MOSI, MOSEI).

Layout: a dictionary of `train`, `valid` and `test`, each a dictionary with feature arrays and with `id`, which names a
row by video, start and end. These come from the label file of the CMU-MultimodalSDK, so rows are matched with
utterances by time. The files do not give the lengths of sequences. In aligned files, padding zeros come before the
values.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.content import FileContent, feature_from_rows, first_few
from ercache.formats.csd import utterance_times
from ercache.formats.ids import IdMatcher
from ercache.formats.numbers import as_numbers
from ercache.formats.timed import best_overlap, by_video
from ercache.formats.unpickle import load_pickle
from ercache.manifest import Manifest

MODES: Final = ("train", "valid", "test")
MODALITY: Final = {"text": "text", "audio": "audio", "vision": "visual"}
_LAYOUT: Final = (
    "MulT's layout, a dictionary of train, valid and test, each with `id` [N, 3] of video, start and end"
)


def read_mult(path: Path, manifest: Manifest, modality: str) -> FileContent:
    """Read a feature pickle of MulT, and match its rows with utterances by time.

    Args:
        modality: ignored, because the layout of the file defines the modality of each feature.

    Raises:
        UsageError: the file has another layout or holds code, or the times of the utterances are unknown.
    """
    return mult_content(load_pickle(path), path, manifest)


def is_mult(given: Any) -> bool:
    """Whether a loaded pickle is a file of MulT: its dictionaries train, valid and test have `id` [N, 3] for N rows."""
    modes = [given[m] for m in MODES if isinstance(given.get(m), dict)] if isinstance(given, dict) else []
    shapes: list[Any] = [getattr(mode.get("id"), "shape", ()) for mode in modes]
    return bool(shapes) and all(len(shape) == 2 and shape[1] == 3 for shape in shapes)


def mult_content(given: Any, path: Path, manifest: Manifest) -> FileContent:
    """Turn a MulT pickle that is already loaded into features, matching its rows with utterances by time.

    Args:
        given: the loaded pickle.
        path: path of the pickle, for error messages and to find a label file beside it.
        manifest: manifest of the corpus.

    Raises:
        UsageError: the pickle has another layout, or the times of the utterances are unknown.
    """
    if not is_mult(given):
        lacking = isinstance(given, dict) and all(
            "id" not in part for part in given.values() if isinstance(part, dict)
        )
        why = "; it has no `id`, so the utterances of its rows are unknown" if lacking else ""
        raise UsageError(
            f"{path}: not {_LAYOUT}{why}", hint="check --format; docs/features.md describes the formats"
        )
    ids = IdMatcher(manifest)
    try:
        videos = by_video(utterance_times(path, manifest), ids)
    except UsageError as error:
        raise UsageError(f"{error.message}; it has {_LAYOUT}", hint=error.hint) from error
    rows: dict[str, dict[str, Array]] = {key: {} for key in MODALITY}
    unknown: list[str] = []
    for mode in (m for m in MODES if m in given):
        _add(given[mode], f"{path}: {mode}", videos, rows, unknown)
    notes = [f"{_LAYOUT}: utterances were matched by time"]
    if unknown:
        notes.append(
            f"{len(unknown)} of its rows belong to no utterance of the manifest: {first_few(unknown)}"
        )
    zeros = [f"{key} ({side})" for key in MODALITY if (side := _zeros(rows[key]))]
    if zeros:
        notes.append(f"the file gives no lengths, so padding is kept as values; zeros in {', '.join(zeros)}")
    notes.append("labels and modes were not imported: the manifest has its own")
    features = tuple(feature_from_rows(key, MODALITY[key], rows[key]) for key in MODALITY if rows[key])
    return FileContent(features, tuple(notes), {"padding": "kept"})


def _add(
    part: Mapping[str, Any],
    where: str,
    videos: Mapping[str, Mapping[str, tuple[float, float]]],
    rows: dict[str, dict[str, Array]],
    unknown: list[str],
) -> None:
    names = [tuple(_text(cell) for cell in row) for row in part["id"].tolist()]
    values = {key: as_numbers(part[key], f"{where}, {key}") for key in MODALITY if key in part}
    for key, array in values.items():
        if array.ndim < 2 or len(array) != len(names):
            raise UsageError(
                f"{where}: the array {key!r} has shape {list(array.shape)}, but there are {len(names)} ids",
                hint="check that the file is complete",
            )
    for i, (video, start, end) in enumerate(names):
        utterance = best_overlap(*_seconds(start, end, where), dict(videos.get(video, {})))
        if utterance is None:
            unknown.append(f"{video} {start} to {end}")
            continue
        for key, array in values.items():
            if utterance in rows[key]:
                raise UsageError(
                    f"{where}: two rows belong to utterance {utterance}",
                    hint="check that --corpus names the corpus of this file",
                )
            rows[key][utterance] = array[i]


def _text(cell: Any) -> str:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else str(cell)


def _seconds(start: str, end: str, where: str) -> tuple[float, float]:
    try:
        return float(start), float(end)
    except ValueError as error:
        message = f"{where}: {start!r} and {end!r} are not seconds; {_LAYOUT} is expected"
        raise UsageError(message, hint="check --format; docs/features.md describes the formats") from error


def _zeros(rows: Mapping[str, Array]) -> str:
    """Describe in words, for a note, how many utterances have rows of zeros at the start or end, perhaps padding."""
    full = [np.flatnonzero(row.reshape(len(row), -1).any(axis=1)) for row in rows.values() if row.ndim > 1]
    ends = [
        (at[0] > 0, at[-1] < len(row) - 1) for at, row in zip(full, rows.values(), strict=False) if len(at)
    ]
    front, back = sum(a for a, _ in ends), sum(b for _, b in ends)
    places = [f"at the start in {front} utterances"] * bool(front) + [f"at the end in {back}"] * bool(back)
    return " and ".join(places)
