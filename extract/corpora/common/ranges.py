"""Stretches of media held against the files that they point into."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from ercache.manifest import MediaRef, Problem
from ercache.reasons import Reason
from extract.corpora.common.inspect_media import Seen, problems_of

Beyond = Literal["trim", "keep", "drop"]
SLACK = 0.5  # seconds by which annotations overrun their files without harm
BEYOND = "beyond_the_file"
SHORTER = "one_medium_is_shorter"
_NAMES = {"video": "the pictures end", "audio": "the sound ends"}


def place(
    utterance: str, video: MediaRef | None, audio: MediaRef | None, seen: Mapping[str, Seen], beyond: Beyond
) -> tuple[MediaRef | None, MediaRef | None, list[Problem]]:
    """The references of an utterance with the digests of their files, and what is wrong with them.

    Args:
        seen: what a survey found; a path that is not in it is absent.
        beyond: for an end after that of the file: `trim` moves it there, for pictures and sound each to its own end;
            `keep` and `drop` leave it, and `drop` leaves the rest to the caller, who finds a problem with the reason
            BEYOND where the stretch outlasts all its media.
    """
    found: dict[str, MediaRef | None] = {"video": video, "audio": audio}
    problems: list[Problem] = []
    beyond_all = []
    for medium, ref in found.items():
        if ref is None:
            continue
        look = seen.get(ref.path)
        if look is None:
            problems.append(Problem(utterance, "missing", Reason.ABSENT.value, ref.path))
            continue
        ref = found[medium] = replace(ref, sha256=look.sha256)
        problems += problems_of(utterance, ref, look, medium)
        end = look.pictures_end if medium == "video" else look.sound_end
        if look.fault is not None or end is None or ref.end is None:
            continue
        start = ref.start or 0.0
        told = f"{ref.path}: {_NAMES[medium]} at {end:.2f} s, the stretch is {start:.2f} to {ref.end:.2f} s"
        if start >= end:
            reason = Reason.NO_VIDEO if medium == "video" else Reason.NO_AUDIO
            problems.append(Problem(utterance, reason.status.value, reason.value, told))
        elif ref.end > end + SLACK:
            beyond_all.append(Problem(utterance, "note", BEYOND, told))
            found[medium] = replace(ref, end=round(end, 3)) if beyond == "trim" else ref
    # Where one medium goes on, nothing was cut off of the utterance itself.
    there = [m for m, ref in found.items() if ref is not None and ref.end and _has(seen.get(ref.path), m)]
    if len(beyond_all) == len(there):
        problems += beyond_all
    else:
        problems += [replace(problem, reason=SHORTER) for problem in beyond_all]
    return found["video"], found["audio"], list(dict.fromkeys(problems))


def _has(look: Seen | None, medium: str) -> bool:
    return look is not None and (look.video if medium == "video" else look.audio)
