"""Judge how ercache reads hostile media: compare the caches of a file with what FFmpeg reads from the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from ercache.cache import CacheFile, Entry, Status
from ercache.reasons import Reason
from tests.support.hostile_media import RATE, Mutant
from tests.support.hostile_truth import Thumbs, Truth

# Verdicts that are neither `same` nor a fault: their share of all mutants, as measured with two seeds, and why they are
# right. The command that is asked is of another FFmpeg (9) than the libraries inside PyAV (8).
TOLERATED: Final[Mapping[str, tuple[float, str]]] = {
    "concealed": (0.0085, "what a decoder paints or plays over damage is its version's choice"),
    "a frame less": (0.0015, "the newer AAC decoder gives a frame for a packet that the older one refuses"),
    "frames more": (
        0.0005,
        "the newer demuxer of MPEG-TS drops packets behind a hole that are there and that the older one reads",
    ),
    "refused": (0.0003, "the newer FFmpeg refuses the whole of a fragmented mp4 for one wrong count"),
    "padding": (0.07, "the older demuxer of mp4 does not say how much behind the last sample is padding"),
    "priming": (
        0.002,
        "the packet that only primes the decoder is damaged: FFmpeg cuts the first one that it can decode instead",
    ),
    "another order": (
        0.04,
        "FFmpeg's own times run backwards, or the file's times leap between pictures that are decoded in another "
        "order than shown, or one time that MPEG-PS leaves out is filled in from a damaged one: FFmpeg shows its "
        "pictures as decoded, ours come by mended times",
    ),
    "one time twice": (
        0.014,
        "packets that stand in the file twice, or to which it gives one time: FFmpeg shows two pictures at one time, "
        "here it is one",
    ),
    "without a time": (
        0.0003,
        "the packet of a picture states no time: FFmpeg guesses one, here the picture is left out, which a note tells",
    ),
    "turned": (
        0.0003,
        "FFmpeg turns the pictures by the odd angle of a damaged header: only their number is compared",
    ),
    "noted": (0.053, "fewer than asked, with a note on it; `pictures` judges whether FFmpeg shows others"),
    "another demuxer": (
        0.0003,
        "FFmpeg takes the damaged file for a format that is no container of a corpus",
    ),
    "unclear": (
        0.083,
        "FFmpeg's own times leave open which six pictures are on show: they must be six of FFmpeg's",
    ),
    "too late": (0.001, "FFmpeg itself needs longer than the limit"),
}


CONTAINERS: Final = frozenset(
    ["mov", "matroska", "avi", "flv", "mpegts", "mpeg", "wav", "mp3", "ogg", "flac", "aac"]
)
ALIKE: Final = 8.0  # grey levels between two pictures on average; those of two numbers differ by 20 and more
EQUAL: Final = 1e-3  # between two samples; the decoders of two versions round differently
SOON: Final = 1e-3  # seconds; times are told in milliseconds by some containers
LEAP: Final = 10.0  # seconds for which no picture of a sane recording stands still
FRAME: Final = 1024  # samples of a frame of AAC
REORDERED: Final = 2  # pictures by which the order of decoding and showing differ in the mutants
STILL: Final = 5  # times as long as others stands a picture before a leap of the times


def most_of(kind: str, count: int) -> float:
    """Return how many verdicts of a kind are allowed among `count` mutants: the share and three standard deviations."""
    expected = TOLERATED[kind][0] * count
    return max(2.0, expected + 3 * expected**0.5)


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
    note, theirs = note_of(mutant, cache), f"FFmpeg shows {len(truth.thumbs)}"
    if entry.status is not Status.OK:
        kind = _absent(entry, truth, len(truth.thumbs))
        return Verdict(mutant.name, "pictures", kind, f"{entry.reason} ({note}), {theirs}")
    ours, times = cache[mutant.name]["thumbs"], cache[mutant.name]["times"]
    kind = _seen(ours, times, truth, note)
    return Verdict(mutant.name, "pictures", kind, f"{len(ours)} pictures ({note}), {theirs}")


def judge_choice(mutant: Mutant, entry: Entry, cache: CacheFile, whole: CacheFile, truth: Truth) -> Verdict:
    """Judge a request for six pictures.

    They must be those at the centres of six equal time spans, or a note in the cache must say why not. Over damage,
    they must at least be those that a request for all pictures gives (in the cache `whole`), which is judged as well.
    """
    if entry.status is not Status.OK:
        kind = _absent(entry, truth, len(truth.thumbs))
        unreadable = entry.reason == Reason.UNREADABLE and not _decodable_on_show(truth)
        return Verdict(mutant.name, "choice", "neither" if unreadable else kind, entry.reason)
    ours, note, times = cache[mutant.name], note_of(mutant, cache), truth.times
    told = f"at {' '.join(f'{t:.2f}' for t in ours['times'])} ({note})"
    wanted: list[NDArray[np.int64]] = []
    if len(times) and truth.rising and (np.diff(times) < LEAP).all():
        wanted = _on_show(times)
        told += f", not {np.round(times[wanted[1]], 2)}"
    shown = [
        ranks
        for ranks in wanted
        if len(ranks) == len(ours["thumbs"]) and not far_apart(ours["thumbs"], truth.thumbs[ranks]).any()
    ]
    if shown:
        right = mutant.clocks or any(_steady(ours["times"], times[ranks]) for ranks in shown)
        return Verdict(mutant.name, "choice", "same" if right else "fault", f"off, {told}")
    excused = truth.complained and _part_of(ours, whole[mutant.name])
    if note and (excused or _among(ours["thumbs"], truth.thumbs)):
        return Verdict(mutant.name, "choice", "noted", told)
    if len(ours["thumbs"]) < min(6, len(truth.thumbs)):
        return Verdict(mutant.name, "choice", "fault", f"less in silence: {told}")
    if (not wanted or mutant.clocks) and _among(ours["thumbs"], truth.thumbs):
        return Verdict(mutant.name, "choice", "unclear", told)
    instants = any(len(r) == len(ours["times"]) and _steady(ours["times"], times[r]) for r in wanted)
    excused |= instants and _part_of(ours, whole[mutant.name])
    return Verdict(mutant.name, "choice", "concealed" if excused else "fault", told)


def _decodable_on_show(truth: Truth) -> bool:
    """Whether FFmpeg shows any of the six pictures that are on show by the times that the file states."""
    stated = np.unique(truth.stated[~np.isnan(truth.stated)])
    if not len(stated):
        return bool(len(truth.times))
    instants = np.concatenate([stated[ranks] for ranks in _on_show(stated)])
    return bool((np.abs(truth.times[:, None] - instants) <= SOON).any())


def _steady(times: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether two clocks differ by a constant."""
    return bool(np.ptp(times - others) <= 2 * SOON)


def _part_of(some: Mapping[str, NDArray[Any]], whole: Mapping[str, NDArray[Any]]) -> bool:
    """Whether each picture is also in the whole, at the same time."""
    if not len(whole["times"]):
        return False
    ranks = np.minimum(np.searchsorted(whole["times"], some["times"]), len(whole["times"]) - 1)
    alike = ~far_apart(some["thumbs"], whole["thumbs"][ranks]) & (whole["times"][ranks] == some["times"])
    return bool(alike.all())


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
    elif not truth.formats:
        kind = "refused"
    elif not len(theirs):
        cut = len(ours) <= FRAME and "mov" in truth.formats and truth.complained
        kind = "priming" if cut else "fault"
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
        if truth.starved and entry.reason == Reason.OUT_OF_MEMORY and not theirs:
            return "neither"
        return "too late" if truth.late and entry.reason == Reason.TIMEOUT else "fault"
    if not theirs:
        return "neither"
    if truth.formats and CONTAINERS.isdisjoint(truth.formats):
        return "another demuxer"
    return "too late" if truth.late else "fault"


def _seen(ours: Thumbs, times: NDArray[np.float64], truth: Truth, note: str) -> str:
    theirs = truth.thumbs
    if truth.late:
        return "too late"
    if not truth.formats:
        return "refused"
    if len(ours) == len(theirs):
        far = far_apart(ours, theirs)
        if not far.any():
            return "same"
        if truth.turned:
            return "turned"
        excused = (
            not truth.rising
            or any(_beside_leap(far, t) for t in (times, truth.times))
            or ("mpeg" in truth.formats and far.sum() == 2)
        )
        if excused and _rearranged(ours, theirs):
            return "another order"
        return "concealed" if far.sum() <= 1 or (truth.complained and far.mean() <= 0.25) else "fault"
    surplus = len(theirs) - len(ours)
    if surplus <= 0 or not _among(ours, theirs):
        return "fault"
    if note and surplus > 0.1 * len(theirs):  # some that were to be read were not
        return "fault"
    lost = np.array([far_apart(ours, picture[None]).all() for picture in theirs])
    _, group, sizes = np.unique(np.round(truth.times, 3), return_inverse=True, return_counts=True)
    copies = surplus <= truth.twice and lost.sum() <= surplus + 1  # one of them may be concealed
    share = surplus <= len(theirs) - len(sizes) and bool((sizes[group][lost] > 1).all())
    if copies or share:
        return "one time twice"
    return "without a time" if note and surplus <= np.isnan(truth.stated).sum() else "fault"


def _beside_leap(far: NDArray[np.bool_], times: NDArray[np.float64]) -> bool:
    """Whether all differing pictures stand where the times leap, no farther away than a decoder reorders pictures."""
    steps = np.diff(times)
    leaps = np.flatnonzero(steps > STILL * np.median(steps)) + 1
    return all((np.abs(leaps - place) <= REORDERED).any() for place in np.flatnonzero(far))


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
    if FRAME < more <= 2 * FRAME and "mov" in truth.formats and truth.complained:
        later = ours[FRAME : FRAME + size]
        return "fault" if (np.abs(later - theirs) > EQUAL).any() else "priming"
    if truth.complained and "mpegts" in truth.formats and _has_more_frames(ours, theirs):
        return "frames more"
    return "a frame less" if truth.complained and -2 * FRAME <= more < 0 else "fault"


def _has_more_frames(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> bool:
    """Whether the sound is the other one with some frames more at one place, beside which one frame may differ."""
    more, size = len(ours) - len(theirs), len(theirs)
    if not 0 < more <= 8 * FRAME or more % FRAME:
        return False
    begins = np.abs(ours[:size] - theirs) <= EQUAL
    ends = np.abs(ours[-size:] - theirs)[::-1] <= EQUAL
    alike = sum(size if part.all() else int(part.argmin()) for part in (begins, ends))
    return alike >= size - FRAME
