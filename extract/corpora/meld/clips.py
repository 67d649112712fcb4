"""MELD's clips: the choices that a user has about them, what is wrong with each, and what becomes of bad ones."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

from pydantic import Field

from ercache.manifest import Problem, Utterance
from ercache.params.schema import Strict
from ercache.reasons import Reason
from extract.corpora.common.inspect_media import Seen, problems_of
from extract.corpora.meld.facts import LONG

PREFIX: Final = "final_videos_test"


class Switches(Strict):
    """Choices of MELD.

    Attributes:
        test_clip_variant: 132 clips of the test part exist twice. `plain` takes `diaX_uttY.mp4`,
            `prefixed_if_present` takes `final_videos_testdiaX_uttY.mp4` where it exists.
        long_clips: clips of more than `longest` seconds, which are wrong cuts: `trim` reads their first `longest`
            seconds, `keep` leaves them whole, `drop` leaves the utterances out.
        longest: seconds. By the tables three clips are longer (41, 235 and 305 s), and no other lasts 29 s.
        bad_clips: an utterance whose clip is absent or cannot be read: `keep` its row and text, or `drop` it.
    """

    test_clip_variant: Literal["plain", "prefixed_if_present"] = "plain"
    long_clips: Literal["trim", "keep", "drop"] = "trim"
    longest: float = Field(30.0, gt=0)
    bad_clips: Literal["keep", "drop"] = "keep"


def problems_of_clip(utterance: Utterance, seen: Mapping[str, Seen], policies: Switches) -> list[Problem]:
    """What is wrong with an utterance's clip, and what is to be told of it."""
    ref = utterance.video
    if ref is None:
        return []
    look = seen.get(ref.path)
    if look is None:
        return [Problem(utterance.id, "missing", "absent", ref.path)]
    found = problems_of(utterance.id, ref, look, "video", "audio")
    if ref.path.rpartition("/")[2].startswith(PREFIX):
        found.append(Problem(utterance.id, "note", "prefixed_clip", ref.path))
    if look.seconds is not None and look.seconds > min(LONG, policies.longest):
        cut = policies.long_clips == "trim" and look.seconds > policies.longest
        read = f", of which the first {policies.longest:g} s are read" if cut else ""
        found.append(Problem(utterance.id, "note", "long_clip", f"{look.seconds:.1f} s{read}"))
    return found


def left_out(
    utterance: Utterance, told: Sequence[Problem], seen: Mapping[str, Seen], policies: Switches
) -> str:
    """Why the policies leave an utterance out; empty where they do not."""
    if policies.long_clips == "drop" and _is_long(utterance, seen, policies):
        return next(p.detail for p in told if p.reason == "long_clip")
    missing = [p for p in told if p.status == "missing"]
    # One finding may be of pictures or sound alone, unless it is of the file itself.
    both = len(missing) > 1 or any(p.reason not in (Reason.NO_VIDEO, Reason.NO_AUDIO) for p in missing)
    return f"{missing[0].reason}, {missing[0].detail}" if both and policies.bad_clips == "drop" else ""


def trimmed(utterance: Utterance, seen: Mapping[str, Seen], policies: Switches) -> Utterance:
    """The utterance with a reference to the first seconds of a clip that is too long, where it is to be trimmed."""
    if policies.long_clips != "trim" or not _is_long(utterance, seen, policies) or utterance.video is None:
        return utterance
    clip = replace(utterance.video, start=0.0, end=policies.longest)
    return replace(utterance, video=clip, audio=clip)


def _is_long(utterance: Utterance, seen: Mapping[str, Seen], policies: Switches) -> bool:
    look = seen.get(utterance.video.path) if utterance.video else None
    return look is not None and look.seconds is not None and look.seconds > policies.longest


def ranked(utterances: Sequence[Utterance]) -> list[Utterance]:
    """The same with index as rank: an utterance that was left out makes room in its dialogue."""
    ranks: Counter[str] = Counter()
    found = []
    for utterance in utterances:
        found.append(replace(utterance, index=ranks[utterance.dialogue]))
        ranks[utterance.dialogue] += 1
    return found
