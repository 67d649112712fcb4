"""Match utterances by time, for files that give videos and seconds instead of utterance names."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ercache.errors import UsageError
from ercache.formats.ids import IdMatcher
from ercache.manifest import Manifest

LABELS: Final = "CMU_MOSEI_Labels.csd"
MIN_OVERLAP: Final = 0.5  # smallest overlap of a segment and its utterance, as a share of their union
Times = dict[str, tuple[float, float]]  # utterance -> start and end in its video, seconds


def manifest_times(manifest: Manifest) -> Times:
    """Read the start and end of each utterance in its video from the manifest.

    Returns:
        A dictionary from utterance id to start and end, in seconds. Utterances that are a whole file are left out.
    """
    times: Times = {}
    for u in manifest.utterances:
        ref = u.video or u.audio
        if ref is not None and ref.start is not None and ref.end is not None:
            times[u.id] = (ref.start, ref.end)
    return times


def no_times(path: Path, manifest: Manifest) -> UsageError:
    """Build the error for a file that names its rows by time, if the manifest has no times to compare with."""
    return UsageError(
        f"{path}: the file names its rows by time, but the manifest of {manifest.corpus} has no times of utterances",
        hint=f"scan the corpus with its videos, or put {LABELS} into the same folder",
    )


def by_video(times: Times, ids: IdMatcher) -> Mapping[str, Times]:
    """Group the times of utterances by video.

    Args:
        times: utterance id -> start and end in its video, in seconds.
        ids: gives the video (dialogue) of each utterance.

    Returns:
        A dictionary from video to the times of its utterances: utterance id -> start and end, in seconds.
    """
    found: dict[str, Times] = defaultdict(dict)
    for utterance, place in times.items():
        found[ids.by_id[utterance].dialogue][utterance] = place
    return found


def best_overlap(low: float, high: float, times: Times) -> str | None:
    """Find the utterance that overlaps a time segment most.

    The overlap is the common time divided by the time that segment and utterance cover together.

    Args:
        low, high: start and end of the segment, in seconds.
        times: start and end of each utterance of the same video, in seconds.

    Returns:
        The id of the utterance, or None if its overlap is below `MIN_OVERLAP`.
    """

    def common(utterance: str) -> float:
        start, end = times[utterance]
        union = max(high, end) - min(low, start)
        return max(0.0, min(high, end) - max(low, start)) / union if union > 0 else 0.0

    best = max(times, key=common, default="")
    return best if best and common(best) >= MIN_OVERLAP else None
