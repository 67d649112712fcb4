"""MELD's video clips: the user's choices, the problems of each clip, and how bad clips are handled."""

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
    """The user's choices for MELD in params.yaml.

    Attributes:
        test_clip_variant: 132 clips of the test subset exist twice. `plain` takes `diaX_uttY.mp4`,
            `prefixed_if_present` takes `final_videos_testdiaX_uttY.mp4` where it exists.
        long_clips: clips longer than `longest` seconds are wrong cuts. `trim` reads only their first `longest` seconds,
            `keep` reads them whole, `drop` removes their utterances.
        longest: limit in seconds. According to the times in MELD's tables, three clips are longer than 30 s (41, 235
            and 305 s), and all others are below 29 s.
        bad_clips: what to do with an utterance whose clip is absent or unreadable: `keep` it with its text, or `drop`
            it.
    """

    test_clip_variant: Literal["plain", "prefixed_if_present"] = "plain"
    long_clips: Literal["trim", "keep", "drop"] = "trim"
    longest: float = Field(30.0, gt=0)
    bad_clips: Literal["keep", "drop"] = "keep"


def problems_of_clip(
    utterance: Utterance, media_facts: Mapping[str, MediaFacts], switches: Switches
) -> list[Problem]:
    """Return the problems of an utterance's clip, for example that it is absent, unreadable or too long."""
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
    """Return why the user's choices in params.yaml remove an utterance; an empty text if they keep it.

    Args:
        utterance: the utterance.
        problems: the problems of its clip, from `problems_of_clip`.
        media_facts: path -> media facts.
        switches: the user's choices.
    """
    if switches.long_clips == "drop" and _is_long(utterance, media_facts, switches):
        return next(p.detail for p in problems if p.reason == "long_clip")
    missing = [p for p in problems if p.status == "missing"]
    # A single problem may concern only pictures or only sound, unless it concerns the file itself.
    both = len(missing) > 1 or any(p.reason not in (Reason.NO_VIDEO, Reason.NO_AUDIO) for p in missing)
    return f"{missing[0].reason}, {missing[0].detail}" if both and switches.bad_clips == "drop" else ""


def trim_long_clip(
    utterance: Utterance, media_facts: Mapping[str, MediaFacts], switches: Switches
) -> Utterance:
    """Limit a clip that is longer than `longest` to its first `longest` seconds, if the user chose `long_clips: trim`.

    Returns:
        The utterance with shorter media references; in all other cases the unchanged utterance.
    """
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
    """Number the utterances of each dialogue anew from 0, because removed utterances have left gaps in `index`."""
    ranks: Counter[str] = Counter()
    found = []
    for utterance in utterances:
        found.append(replace(utterance, index=ranks[utterance.dialogue]))
        ranks[utterance.dialogue] += 1
    return found
