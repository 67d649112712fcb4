"""The judge of hostile media: what was read of a file, as its caches tell, against what FFmpeg reads of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from ercache.cache import CacheFile, Entry, Status
from ercache.reasons import Reason
from tests.e2e.hostile_media import RATE, Mutant
from tests.e2e.hostile_truth import Thumbs, Truth

# Verdicts that are neither `same` nor a fault: the largest share of all mutants, and why they are right.
TOLERATED: Final[Mapping[str, tuple[float, str]]] = {
    "concealed": (
        0.05,
        "FFmpeg complains too, and what it paints over the damage is another version's choice",
    ),
    "another order": (
        0.05,
        "FFmpeg's own times run backwards: pictures come as decoded there, by their times here",
    ),
    "one time twice": (0.08, "FFmpeg gives several pictures one time, at which only one can be on show"),
    "another demuxer": (0.02, "FFmpeg takes the damaged file for a format that is no container of a corpus"),
    "unclear": (
        0.25,
        "FFmpeg's own times leave open which six pictures are on show: only their number is judged",
    ),
    "too late": (0.01, "FFmpeg itself needs longer than the limit"),
}
CONTAINERS: Final = frozenset(
    ["mov", "matroska", "avi", "flv", "mpegts", "mpeg", "wav", "mp3", "ogg", "flac", "aac"]
)
ALIKE: Final = 8.0  # grey levels between two pictures on average; those of two numbers differ by 20 and more
EQUAL: Final = 1e-3  # between two samples; the decoders of two versions round differently
SOON: Final = 1e-3  # seconds; times are told in milliseconds by some containers


@dataclass(frozen=True)
class Verdict:
    """What is to be said of one medium of a mutant.

    Attributes:
        kind: `same`, `neither` (nothing here and nothing there), a key of TOLERATED, or `fault`.
        words: the facts.
    """

    name: str
    medium: str
    kind: str
    words: str


def judge_pictures(mutant: Mutant, entry: Entry, cache: CacheFile, truth: Truth) -> Verdict:
    """All pictures were asked for: they are those that FFmpeg shows, in its order."""
    ours = cache[mutant.name]["thumbs"] if entry.status is Status.OK else None
    kind = _absent(entry, truth, len(truth.thumbs)) if ours is None else _seen(ours, truth)
    got = entry.reason if ours is None else f"{len(ours)} pictures"
    return Verdict(mutant.name, "pictures", kind, f"{got}, FFmpeg shows {len(truth.thumbs)}")


def judge_choice(mutant: Mutant, entry: Entry, cache: CacheFile, truth: Truth) -> Verdict:
    """Six pictures were asked for: those on show at the centres of six equal stretches, or a note says why not."""

    def say(kind: str, words: str = "") -> Verdict:
        return Verdict(mutant.name, "choice", kind, words)

    times, clear = truth.times, truth.clear and not mutant.clocks
    if entry.status is not Status.OK:
        return say(_absent(entry, truth, len(truth.thumbs)), entry.reason)
    ours = cache[mutant.name]
    if not clear:
        few = len(ours["thumbs"]) < min(6, len(truth.thumbs)) and not getattr(entry, "note", "")
        return say("fault" if few else "unclear", f"{len(ours['thumbs'])} of 6, and no word on it")
    period = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    centres = times[0] + (np.arange(6) + 0.5) / 6 * (times[-1] + period - times[0])
    # A centre on the very edge between two pictures may fall to either.
    before, after = (np.searchsorted(times, centres + s, side="right") - 1 for s in (-SOON, SOON))
    wanted = [np.unique(np.maximum(rank, 0)) for rank in (before, after)]
    for ranks in wanted:
        if len(ranks) == len(ours["thumbs"]) and not far_apart(ours["thumbs"], truth.thumbs[ranks]).any():
            shift = ours["times"] - times[ranks]
            return say(
                "same" if np.ptp(shift) <= 2 * SOON else "fault", f"times are off by {np.ptp(shift):.3f} s"
            )
    told = " ".join(f"{t:.2f}" for t in ours["times"])
    if truth.complained and len(ours["thumbs"]) in map(len, wanted):
        return say("concealed")
    return say("fault", f"at {told}, not {np.round(times[wanted[1]], 2)}")


def judge_sound(mutant: Mutant, entry: Entry, cache: CacheFile, truth: Truth) -> Verdict:
    """The samples are FFmpeg's, in number and, but for what is concealed, in value."""
    theirs = truth.samples
    ours = cache[mutant.name]["samples"] if entry.status is Status.OK else None
    if ours is None:
        nothing = (entry.reason == Reason.TOO_SHORT and len(theirs) < 400 * truth.rate / RATE) or (
            entry.reason == Reason.SILENT and not theirs.any()
        )
        kind = "neither" if nothing else _absent(entry, truth, len(theirs))
    elif truth.late:
        kind = "too late"
    elif truth.changes:  # FFmpeg resamples what comes at another rate, with its own resampler
        kind = "concealed" if abs(len(ours) - len(theirs) * RATE / truth.rate) < RATE / 10 else "fault"
    else:
        kind = _heard(ours, theirs if truth.rate == RATE else soxr.resample(theirs, truth.rate, RATE), truth)
    got = entry.reason if ours is None else f"{len(ours)} samples"
    return Verdict(mutant.name, "sound", kind, f"{got}, FFmpeg plays {len(theirs)} at {truth.rate} Hz")


def far_apart(ours: Thumbs, theirs: Thumbs) -> NDArray[np.bool_]:
    """Which of two rows of pictures are not the same to the eye, [n]."""
    difference: NDArray[np.bool_] = np.abs(ours.astype(int) - theirs).mean(axis=(1, 2, 3)) > ALIKE
    return difference


def _absent(entry: Entry, truth: Truth, theirs: int) -> str:
    if entry.status is Status.UNAVAILABLE:
        return "too late" if truth.late and entry.reason == Reason.TIMEOUT else "fault"
    if not theirs:
        return "neither"
    if truth.formats and CONTAINERS.isdisjoint(truth.formats):
        return "another demuxer"
    return "too late" if truth.late else "fault"


def _seen(ours: Thumbs, truth: Truth) -> str:
    theirs = truth.thumbs
    if truth.late:
        return "too late"
    if len(ours) == len(theirs):
        far = far_apart(ours, theirs)
        if not far.any():
            return "same"
        if not truth.rising and _rearranged(ours, theirs):
            return "another order"
        return "concealed" if truth.complained and far.mean() <= 0.25 else "fault"
    _, first = np.unique(np.round(truth.times, 3), return_index=True)
    if len(ours) == len(first) and all(not far_apart(theirs, o[None]).all() for o in ours):
        return "one time twice"
    return "fault"


def _rearranged(ours: Thumbs, theirs: Thumbs) -> bool:
    """Whether one row holds the pictures of the other in another order."""
    left = list(range(len(theirs)))
    for picture in ours:
        found = next((n for n in left if not far_apart(theirs[n : n + 1], picture[None])[0]), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _heard(ours: NDArray[np.float32], theirs: NDArray[np.float32], truth: Truth) -> str:
    if abs(len(ours) - len(theirs)) > (truth.rate != RATE):
        return "fault"
    size = min(len(ours), len(theirs))
    far = np.abs(ours[:size] - theirs[:size]) > EQUAL
    if not far.any():
        return "same"
    return "concealed" if truth.complained and far.mean() <= 0.25 else "fault"
