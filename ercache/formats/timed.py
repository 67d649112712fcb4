"""Utterances by the time that they take in their video: where a file names videos and seconds, not utterances."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ercache.errors import UsageError
from ercache.formats.ids import IdMatcher
from ercache.manifest import Manifest

LABELS: Final = "CMU_MOSEI_Labels.csd"
MIN_OVERLAP: Final = 0.5  # share of the time that a segment and its utterance must have in common
Times = dict[str, tuple[float, float]]  # utterance -> seconds in its video


def manifest_times(manifest: Manifest) -> Times:
    """Where the manifest says that utterances lie in their videos; empty where it has whole files only."""
    times: Times = {}
    for u in manifest.utterances:
        ref = u.video or u.audio
        if ref is not None and ref.start is not None and ref.end is not None:
            times[u.id] = (ref.start, ref.end)
    return times


def no_times(path: Path, manifest: Manifest) -> UsageError:
    """The error of a file of times and a manifest without."""
    return UsageError(
        f"{path}: its rows lie at times, and the manifest of {manifest.corpus} has none",
        hint=f"scan the corpus with its videos, or put {LABELS} beside the file",
    )


def by_video(times: Times, ids: IdMatcher) -> Mapping[str, Times]:
    """The utterances of each video."""
    found: dict[str, Times] = defaultdict(dict)
    for utterance, place in times.items():
        found[ids.by_id[utterance].dialogue][utterance] = place
    return found


def best_overlap(low: float, high: float, times: Times) -> str | None:
    """The utterance that a segment is: the one with which it shares most of their time, if that is enough."""

    def common(utterance: str) -> float:
        start, end = times[utterance]
        union = max(high, end) - min(low, start)
        return max(0.0, min(high, end) - max(low, start)) / union if union > 0 else 0.0

    best = max(times, key=common, default="")
    return best if best and common(best) >= MIN_OVERLAP else None
