"""Stretches of media held against the files that they point into."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from ercache.manifest import MediaRef, Problem
from ercache.reasons import Reason
from extract.corpora.survey import Seen, problems_of

Beyond = Literal["trim", "keep", "drop"]
SLACK = 0.5  # seconds by which annotations overrun their files without harm
BEYOND = "beyond_the_file"


def place(
    utterance: str, video: MediaRef | None, audio: MediaRef | None, seen: Mapping[str, Seen], beyond: Beyond
) -> tuple[MediaRef | None, MediaRef | None, list[Problem]]:
    """The references of an utterance with the digests of their files, and what is wrong with them.

    Args:
        seen: what a survey found; a path that is not in it is absent.
        beyond: for an end after that of the file: `trim` moves it there; `keep` and `drop` leave it, and `drop`
            leaves the rest to the caller, who finds a problem with the reason BEYOND.
    """
    if video is not None and video == audio:
        found, problems = _place(utterance, video, ("video", "audio"), seen, beyond)
        return found, found, problems
    placed_video, one = _place(utterance, video, ("video",), seen, beyond)
    placed_audio, other = _place(utterance, audio, ("audio",), seen, beyond)
    return placed_video, placed_audio, list(dict.fromkeys([*one, *other]))


def _place(
    utterance: str, ref: MediaRef | None, media: tuple[str, ...], seen: Mapping[str, Seen], beyond: Beyond
) -> tuple[MediaRef | None, list[Problem]]:
    if ref is None:
        return None, []
    look = seen.get(ref.path)
    if look is None:
        return ref, [Problem(utterance, "missing", Reason.ABSENT.value, ref.path)]
    ref = replace(ref, sha256=look.sha256)
    problems = problems_of(utterance, ref, look, *media)
    if look.fault is not None or look.seconds is None or ref.end is None:
        return ref, problems
    told = f"{ref.path} ends at {look.seconds:.2f} s, the stretch is {ref.start or 0:.2f} to {ref.end:.2f} s"
    if (ref.start or 0.0) >= look.seconds:
        lost = {"video": (look.video, Reason.NO_VIDEO), "audio": (look.audio, Reason.NO_AUDIO)}
        reasons = [reason for medium, (there, reason) in lost.items() if there and medium in media]
        return ref, [*problems, *(Problem(utterance, r.status.value, r.value, told) for r in reasons)]
    if ref.end > look.seconds + SLACK:
        problems.append(Problem(utterance, "note", BEYOND, told))
        ref = replace(ref, end=round(look.seconds, 3)) if beyond == "trim" else ref
    return ref, problems
