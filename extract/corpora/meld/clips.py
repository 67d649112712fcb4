"""MELD's clips: the user's choices, the problems of each clip, and how bad clips are handled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

from pydantic import Field

from ercache.manifest import Problem, Utterance
from ercache.params.schema import Strict
from ercache.reasons import Reason
from extract.corpora.common.inspect_media import MediaFacts, problems_of_media
from extract.corpora.meld.facts import LONG

PREFIX: Final = "final_videos_test"


class Switches(Strict):
    """Choices of MELD.

    Attributes:
        test_clip_variant: 132 clips of the test part exist twice. `plain` takes `diaX_uttY.mp4`,
            `prefixed_if_present` takes `final_videos_testdiaX_uttY.mp4` where it exists.
        long_clips: clips of more than `longest` seconds are wrong cuts. `trim` reads their first `longest` seconds,
            `keep` reads them whole, `drop` removes the utterances.
        longest: seconds. By the tables, three clips are longer (41, 235 and 305 s); all others are below 29 s.
        bad_clips: for an utterance whose clip is absent or unreadable: `keep` its row and text, or `drop` it.
    """

    test_clip_variant: Literal["plain", "prefixed_if_present"] = "plain"
    long_clips: Literal["trim", "keep", "drop"] = "trim"
    longest: float = Field(30.0, gt=0)
    bad_clips: Literal["keep", "drop"] = "keep"


def problems_of_clip(
    utterance: Utterance, media_facts: Mapping[str, MediaFacts], switches: Switches
) -> list[Problem]:
    """Return the problems of an utterance's clip."""
    ref = utterance.video
    if ref is None:
        return []
    file_facts = media_facts.get(ref.path)
    if file_facts is None:
        return [Problem(utterance.id, "missing", "absent", ref.path)]
    found = problems_of_media(utterance.id, ref, file_facts, "video", "audio")
    if ref.path.rpartition("/")[2].startswith(PREFIX):
        found.append(Problem(utterance.id, "note", "prefixed_clip", ref.path))
    if file_facts.seconds is not None and file_facts.seconds > min(LONG, switches.longest):
        cut = switches.long_clips == "trim" and file_facts.seconds > switches.longest
        read = f", of which the first {switches.longest:g} s are read" if cut else ""
        found.append(Problem(utterance.id, "note", "long_clip", f"{file_facts.seconds:.1f} s{read}"))
    return found


def why_left_out(
    utterance: Utterance,
    problems: Sequence[Problem],
    media_facts: Mapping[str, MediaFacts],
    switches: Switches,
) -> str:
    """Return why the switches remove an utterance; empty if they keep it."""
    if switches.long_clips == "drop" and _is_long(utterance, media_facts, switches):
        return next(p.detail for p in problems if p.reason == "long_clip")
    missing = [p for p in problems if p.status == "missing"]
    # A single problem may concern only pictures or only sound, unless it concerns the file itself.
    both = len(missing) > 1 or any(p.reason not in (Reason.NO_VIDEO, Reason.NO_AUDIO) for p in missing)
    return f"{missing[0].reason}, {missing[0].detail}" if both and switches.bad_clips == "drop" else ""


def trim_long_clip(
    utterance: Utterance, media_facts: Mapping[str, MediaFacts], switches: Switches
) -> Utterance:
    """Return the utterance; if its clip is too long and to be trimmed, it refers only to the first seconds."""
    if (
        switches.long_clips != "trim"
        or not _is_long(utterance, media_facts, switches)
        or utterance.video is None
    ):
        return utterance
    clip = replace(utterance.video, start=0.0, end=switches.longest)
    return replace(utterance, video=clip, audio=clip)


def _is_long(utterance: Utterance, media_facts: Mapping[str, MediaFacts], switches: Switches) -> bool:
    file_facts = media_facts.get(utterance.video.path) if utterance.video else None
    return file_facts is not None and file_facts.seconds is not None and file_facts.seconds > switches.longest


def reindexed(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Return the utterances with new indices: a removed utterance leaves no gap in its dialogue."""
    ranks: Counter[str] = Counter()
    found = []
    for utterance in utterances:
        found.append(replace(utterance, index=ranks[utterance.dialogue]))
        ranks[utterance.dialogue] += 1
    return found
