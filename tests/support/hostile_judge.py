"""Judge how ercache reads hostile media: compare the caches of a file with what FFmpeg reads from the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from ercache.cache import CacheFile, Entry, Status
from ercache.reasons import Reason
from tests.support.hostile_media import RATE, Mutant
from tests.support.hostile_truth import Thumbs, Truth

# Verdicts that are neither `same` nor a fault: the largest share of all mutants, and why they are right. The command
# that is asked is of another FFmpeg (9) than the libraries inside PyAV (8).
TOLERATED: Final[Mapping[str, tuple[float, str]]] = {
    "concealed": (0.06, "what a decoder paints or plays over damage is its version's choice"),
    "a frame less": (0.03, "the newer AAC decoder gives a frame for a packet that the older one refuses"),
    "padding": (0.2, "the older demuxer of mp4 does not say how much behind the last sample is padding"),
    "another order": (
        0.06,
        "FFmpeg's own times run backwards: its pictures come as decoded, ours by mended times",
    ),
    "shown again": (
        0.08,
        "packets that stand in the file twice: FFmpeg shows each picture twice, here it has one time",
    ),
    "noted": (0.12, "fewer than asked, with a note on it, and FFmpeg shows no others either"),
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
LEAP: Final = 10.0  # seconds for which no picture of a sane recording stands still
FRAME: Final = 1024  # samples of a frame of AAC


@dataclass(frozen=True)
class Verdict:
    """The verdict on the pictures or the sound of one hostile file.

    Attributes:
        kind: `same` (equal to FFmpeg's), `neither` (neither ercache nor FFmpeg reads anything), a key of TOLERATED, or
            `fault`.
        words: the facts in words.
    """

    name: str
    medium: str
    kind: str
    words: str


def judge_pictures(mutant: Mutant, entry: Entry, cache: CacheFile, truth: Truth) -> Verdict:
    """Judge a request for all pictures: ercache must read the pictures that FFmpeg shows, in the same order."""
    ours = cache[mutant.name]["thumbs"] if entry.status is Status.OK else None
    note = note_of(mutant, cache)
    kind = _absent(entry, truth, len(truth.thumbs)) if ours is None else _seen(ours, truth, note)
    got = entry.reason if ours is None else f"{len(ours)} pictures"
    return Verdict(mutant.name, "pictures", kind, f"{got} ({note}), FFmpeg shows {len(truth.thumbs)}")


def judge_choice(mutant: Mutant, entry: Entry, cache: CacheFile, truth: Truth) -> Verdict:
    """Judge a request for six pictures.

    They must be those at the centres of six equal time spans, or a note in the cache must say why not.
    """
    if entry.status is not Status.OK:
        return Verdict(mutant.name, "choice", _absent(entry, truth, len(truth.thumbs)), entry.reason)
    ours, note, times = cache[mutant.name], note_of(mutant, cache), truth.times
    told = f"at {' '.join(f'{t:.2f}' for t in ours['times'])} ({note})"
    wanted: list[NDArray[np.int64]] = []
    if truth.rising and (np.diff(times) < LEAP).all():
        wanted = _on_show(times)
        told += f", not {np.round(times[wanted[1]], 2)}"
    for ranks in wanted:
        if len(ranks) == len(ours["thumbs"]) and not far_apart(ours["thumbs"], truth.thumbs[ranks]).any():
            off = np.ptp(ours["times"] - times[ranks]) > 2 * SOON and not mutant.clocks
            return Verdict(mutant.name, "choice", "fault" if off else "same", f"off, {told}")
    if note and _among(ours["thumbs"], truth.thumbs):
        return Verdict(mutant.name, "choice", "noted", told)
    if len(ours["thumbs"]) < min(6, len(truth.thumbs)):
        return Verdict(mutant.name, "choice", "fault", f"less in silence: {told}")
    if not wanted or mutant.clocks:
        return Verdict(mutant.name, "choice", "unclear", told)
    return Verdict(mutant.name, "choice", "concealed" if truth.complained else "fault", told)


def _on_show(times: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Indices of the pictures that are shown at the centres of six equal time spans.

    If a centre lies on the border between two pictures, both are right. So there are two lists of indices.
    """
    period = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    centres = times[0] + (np.arange(6) + 0.5) / 6 * (times[-1] + period - times[0])
    ranks = (np.searchsorted(times, centres + shift, side="right") - 1 for shift in (-SOON, SOON))
    return [np.unique(np.maximum(rank, 0)) for rank in ranks]


def note_of(mutant: Mutant, cache: CacheFile) -> str:
    """The note in the cache that says that less was read than requested. Empty if there is none."""
    return str(cache.provenance.get("notes", {}).get(mutant.name, ""))


def judge_sound(mutant: Mutant, entry: Entry, cache: CacheFile, truth: Truth) -> Verdict:
    """Judge the sound: it must have as many samples as FFmpeg's, with equal values unless errors were concealed."""
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
    """Whether the pictures of two sequences differ visibly, pair by pair, bool [n]."""
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


def _seen(ours: Thumbs, truth: Truth, note: str) -> str:
    theirs = truth.thumbs
    if truth.late:
        return "too late"
    if len(ours) == len(theirs):
        far = far_apart(ours, theirs)
        if not far.any():
            return "same"
        if not truth.rising and _rearranged(ours, theirs):
            return "another order"
        return "concealed" if far.sum() <= 1 or (truth.complained and far.mean() <= 0.25) else "fault"
    surplus, lost = len(theirs) - len(ours), sum(far_apart(ours, t[None]).all() for t in theirs)
    if surplus <= 0 or lost > surplus or not _among(ours, theirs):
        return "fault"
    twice = len(theirs) - len(np.unique(np.round(truth.times, 3)))
    if note:  # some that were to be read were not: those may only be the ones that share a time with others
        return "one time twice" if surplus <= min(twice, 0.1 * len(theirs)) else "fault"
    return "one time twice" if surplus <= twice else "shown again"


def _among(some: Thumbs, others: Thumbs) -> bool:
    """Whether every picture of one sequence is also in another sequence."""
    return all(not far_apart(others, picture[None]).all() for picture in some)


def _rearranged(ours: Thumbs, theirs: Thumbs) -> bool:
    """Whether two sequences hold the same pictures in different orders."""
    left = list(range(len(theirs)))
    for picture in ours:
        found = next((n for n in left if not far_apart(theirs[n : n + 1], picture[None])[0]), None)
        if found is None:
            return False
        left.remove(found)
    return True


def _heard(ours: NDArray[np.float32], theirs: NDArray[np.float32], truth: Truth) -> str:
    more, size = len(ours) - len(theirs), min(len(ours), len(theirs))
    far = np.abs(ours[:size] - theirs[:size]) > EQUAL
    if abs(more) <= (truth.rate != RATE):
        if not far.any():
            return "same"
        return "concealed" if truth.complained and far.mean() <= 0.25 else "fault"
    if 0 < more <= FRAME and "mov" in truth.formats and not far.any():
        return "padding"
    return "a frame less" if truth.complained and -2 * FRAME <= more < 0 else "fault"
