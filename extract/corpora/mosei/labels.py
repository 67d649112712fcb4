"""Read CMU-MOSEI's ratings and make label sets from them.

The ratings come from the file `CMU_MOSEI_Labels.csd` (HDF5) or from the raters' tables. A segment may show several
emotions at once, but a manifest holds one value per label set. So the multi-label task becomes six label sets with the
values absent and present, `emotions6_happy` to `emotions6_fear`, in the order of the CMU-MultimodalSDK.
"""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from ercache.errors import CorpusError
from extract.corpora.common.subtitles import decode

EMOTIONS: Final = ("happy", "sad", "anger", "surprise", "disgust", "fear")  # order of the SDK's columns
MULTI: Final = tuple(f"emotions6_{emotion}" for emotion in EMOTIONS)
LABEL_SETS: Final[Mapping[str, tuple[str, ...]]] = {
    "sentiment7": ("-3", "-2", "-1", "0", "1", "2", "3"),  # by the SDK's intervals
    "sentiment7_rounded": ("-3", "-2", "-1", "0", "1", "2", "3"),  # as MMSA does
    "sentiment2": ("negative", "non-negative"),
    "sentiment2_nonzero": ("negative", "positive"),  # zeros have no label
    "emotion6": EMOTIONS,  # the strongest emotion; without any, or with a tie, there is no label
    **{name: ("absent", "present") for name in MULTI},
}
_ANSWERS: Final = ("sentiment", "happiness", "sadness", "anger", "surprise", "disgust", "fear")
COLUMNS: Final = tuple(f"Answer.{answer}" for answer in _ANSWERS)
KEYS: Final = ("Input.VIDEO_ID", "Input.CLIP")
CSD: Final = "CMU_MOSEI_Labels.csd"
_LOWEST: Final = np.array([-3.0, 0, 0, 0, 0, 0, 0])
Scores = tuple[float, ...]  # sentiment in [-3, 3], then EMOTIONS in [0, 3]


@dataclass(frozen=True)
class Rating:
    """The raters' scores of a segment, with its clip number (from raters' tables) or its times (from the csd file).

    Attributes:
        scores: sentiment from -3 to 3, then six emotions from 0 to 3.
        clip: clip number in the raters' tables; else None.
        start, end: seconds in the recording, from the csd file; else None.
        row: row of the segment in the csd file; else None.
    """

    scores: Scores
    clip: str | None = None
    start: float | None = None
    end: float | None = None
    row: int | None = None


@dataclass
class MoseiRatings:
    """All ratings that were found, from the csd file or from the raters' tables.

    Attributes:
        of_video: video id -> its ratings, in the order of the file.
        notes: notes (reason, detail) for the manifest.
        tables: paths of the files that were read.
    """

    of_video: dict[str, list[Rating]] = field(default_factory=lambda: defaultdict(list))
    notes: list[tuple[str, str]] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)


def labels_of(scores: Scores | None) -> dict[str, str | None]:
    """Return the label of a segment in every label set, computed from its scores.

    Args:
        scores: sentiment and six emotions; None if nobody rated the segment, which makes all labels None.
    """
    if scores is None:
        return dict.fromkeys(LABEL_SETS)
    sentiment, emotions = scores[0], scores[1:]
    strongest = [e for e, value in zip(EMOTIONS, emotions, strict=True) if value == max(emotions) > 0]
    return {
        "sentiment7": str(_class_of(sentiment)),
        "sentiment7_rounded": str(round(sentiment)),
        "sentiment2": "negative" if sentiment < 0 else "non-negative",
        "sentiment2_nonzero": None if sentiment == 0 else "negative" if sentiment < 0 else "positive",
        "emotion6": strongest[0] if len(strongest) == 1 else None,
        **{name: "present" if value > 0 else "absent" for name, value in zip(MULTI, emotions, strict=True)},
    }


def _class_of(sentiment: float) -> int:
    """Round a sentiment score away from 0 to a class from -3 to 3, as the CMU-MultimodalSDK does.

    [-1, 0) gives -1, 0 gives 0, (0, 1] gives 1, and so on. All scores below -2 give -3, all scores above 2 give 3.
    """
    return max(-3, math.floor(sentiment)) if sentiment < 0 else min(3, math.ceil(sentiment))


def read_csd(path: Path) -> MoseiRatings:
    """Read the ratings in CMU_MOSEI_Labels.csd (HDF5).

    For each video with n rated segments the file holds two arrays under `<root>/data/<video>`: `features` [n, 7] are
    the scores (sentiment and six emotions), `intervals` [n, 2] start and end in seconds.

    Raises:
        CorpusError: the file has another format.
    """
    found = MoseiRatings()
    try:
        with h5py.File(path, "r", locking=False) as file:
            data = _member(_member(file, next(iter(file), "")), "data")
            for video in data:
                _add_video(found, video, _member(data, video))
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        message = f"mosei: {path.name} is not a readable CSD file of labels ({type(error).__name__}: {error})"
        raise CorpusError(message, hint="download the file from the CMU-MultimodalSDK again") from error
    return found


def _member(group: Any, name: str) -> Any:
    """Return the member of an HDF5 group with a given name. Links, for example to other files, are not followed.

    Raises:
        ValueError: the member is absent or a link.
    """
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name!r} is not in the file itself")
    return group[name]


def _add_video(found: MoseiRatings, video: str, group: Any) -> None:
    features = np.asarray(_member(group, "features")[()], np.float64)
    intervals = np.asarray(_member(group, "intervals")[()], np.float64)
    if features.shape != (len(intervals), 7) or intervals.shape != (len(features), 2):
        raise ValueError(f"{video}: features {features.shape}, intervals {intervals.shape}")
    for row, (scores, (start, end)) in enumerate(zip(features, intervals, strict=True)):
        if not (np.isfinite(scores).all() and math.isfinite(start) and math.isfinite(end)):
            found.notes.append(("unreadable_label", f"{video}[{row}]: not numbers; it has no label"))
            continue
        clean = _clipped(found, f"{video}[{row}]", scores)
        found.of_video[video].append(Rating(clean, None, float(start), float(end), row))


def _clipped(found: MoseiRatings, where: str, scores: Sequence[float] | np.ndarray[Any, Any]) -> Scores:
    clean = np.clip(np.asarray(scores, np.float64), _LOWEST, 3.0)
    if (clean != scores).any():
        found.notes.append(("label_out_of_range", f"{where}: {', '.join(f'{s:g}' for s in scores)}"))
    return tuple(clean.tolist())


def read_raters(tables: Iterable[tuple[str, bytes]]) -> MoseiRatings:
    """Read the raters' tables in `Raw/Labels` and average the scores of each segment over its raters.

    A row holds the scores that one rater gave to one segment.

    Args:
        tables: name and bytes of each table.
    """
    found = MoseiRatings()
    votes: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for name, content in tables:
        try:
            lines = csv.DictReader(io.StringIO(decode(content), newline=""), strict=True)
            lacking = [c for c in (*KEYS, *COLUMNS) if c not in (lines.fieldnames or ())]
            if lacking:
                found.notes.append(("other_table", f"{name}: has no column {', '.join(lacking)}"))
                continue
            found.tables.append(name)
            for line in lines:
                _add_vote(votes, found, f"{name}, line {lines.line_num}", line)
        except (csv.Error, ValueError) as error:
            found.notes.append(("unreadable_table", f"{name}: {error}"))
    for (video, clip), given in votes.items():
        mean = np.mean(given, axis=0)
        found.of_video[video].append(Rating(_clipped(found, f"{video}_{clip}", mean), clip))
    return found


def _add_vote(
    votes: dict[tuple[str, str], list[list[float]]],
    found: MoseiRatings,
    where: str,
    line: Mapping[str, str | None],
) -> None:
    # In some tables the name includes the folder, in others the suffix.
    video = (line[KEYS[0]] or "").replace("\\", "/").rpartition("/")[2].removesuffix(".mp4")
    clip = (line[KEYS[1]] or "").strip()
    try:
        scores = [float(line[column] or "") for column in COLUMNS]
    except ValueError:  # reported; the other raters' votes count
        scores = []
    if not (video and clip and scores and all(map(math.isfinite, scores))):
        found.notes.append(("unreadable_label", f"{where}: the rating is left out"))
        return
    votes[video, clip].append(scores)
