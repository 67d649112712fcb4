"""Make the splits of a user's own clips.

Notes warn of dialogues that are in several subsets, and of test speakers who are in train too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from ercache.manifest import Promise, Utterance
from extract.corpora.common.listing import list_some
from extract.corpora.common.splits import Split, actor_disjoint, actor_folds, with_drawn_dev
from extract.corpora.common.subtitles import UNKNOWN
from extract.corpora.folder.rows import FolderClip

SUBSETS: Final = ("train", "dev", "test")


def notes_of_official(clips: Sequence[FolderClip]) -> Iterator[tuple[str, str]]:
    """Yield notes (reason, detail) on the split that the user's table defines.

    They report subsets other than train, dev and test, dialogues in several subsets, and a dev that was drawn from
    train because the table has none.
    """
    other = Counter(c.row.split for c in clips if c.row.split and c.row.split not in SUBSETS)
    if other:
        listed = list_some(f"{name} ({count})" for name, count in other.items())
        yield "other_subset", f"rows of subsets other than {', '.join(SUBSETS)}: {listed}"
    subsets: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.row.split:
            subsets[clip.dialogue].add(clip.row.split)
    torn = [dialogue for dialogue, names in subsets.items() if len(names) > 1]
    if torn:
        yield (
            "torn_dialogue",
            f"{len(torn)} dialogues are in several subsets of `official`: {list_some(torn)}",
        )
    named = set().union(*subsets.values())
    if {"train", "test"} <= named and "dev" not in named:
        yield "dev_drawn", "the table names no dev: `official` takes a tenth of the dialogues of train for it"


def splits_of(utterances: Sequence[Utterance], official: Mapping[str, str | None]) -> dict[str, Split]:
    """Make the splits of a folder of clips.

    - `official` comes from the table's column `split`. If it names train and test but no dev, a tenth of the training
      dialogues are drawn for dev.
    - `dialogues` puts about 15 % of the dialogues, in alphabetical order, into dev and 15 % into test.
    - `speakers` does the same with speakers, and has five folds `speakers/1` to `speakers/5`. It exists only if all
      speakers are known and no dialogue has two speakers. With three or more speakers, `dialogues` is then the same
      split, so that it divides no speaker either.

    Args:
        utterances: the utterances.
        official: utterance id -> subset named in the table; None if the table names none.

    Returns:
        Name of the split -> subset -> utterance ids. Splits with an empty subset are left out, except `official`.
    """
    splits: dict[str, Split] = {}
    subsets = dict.fromkeys((*SUBSETS, *sorted({*filter(None, official.values())})))
    named = {s: tuple(u.id for u in utterances if official[u.id] == s) for s in subsets}
    if any(named.values()):
        official_split = {subset: ids for subset, ids in named.items() if ids}
        drawn = named["test"] and with_drawn_dev(official_split, {u.id: u.dialogue for u in utterances})
        splits["official"] = drawn or official_split
    speakers = {u.id: u.speaker for u in utterances}
    splits["dialogues"] = actor_disjoint({u.id: u.dialogue for u in utterances})
    if UNKNOWN not in speakers.values() and _monologues(utterances):
        by_speaker = actor_disjoint(speakers)
        splits |= {"speakers": by_speaker, **actor_folds(speakers, name="speakers")}
        splits["dialogues"] = by_speaker or splits["dialogues"]
    return {
        name: split for name, split in splits.items() if split and (name == "official" or all(split.values()))
    }


def promises_of(splits: Iterable[str]) -> dict[str, tuple[Promise, ...]]:
    """Return for each split of `splits_of` what its subsets never share: dialogues, or speakers and dialogues.

    `official` comes from the user's table, so it guarantees nothing.
    """
    promises: dict[str, tuple[Promise, ...]] = {"official": (), "dialogues": ("dialogue",)}
    return {name: promises.get(name, ("speaker", "dialogue")) for name in splits}


def _monologues(utterances: Sequence[Utterance]) -> bool:
    """Return whether every dialogue has only one speaker."""
    pairs = {(u.dialogue, u.speaker) for u in utterances}
    return len(pairs) == len({u.dialogue for u in utterances})


def notes_of_speakers(
    utterances: Sequence[Utterance], splits: Mapping[str, Split]
) -> Iterator[tuple[str, str, int]]:
    """Yield a note (reason, detail, count) for each split in which speakers of test are in train too.

    The count is the number of test utterances of these speakers.
    """
    speakers = {u.id: u.speaker for u in utterances if u.speaker != UNKNOWN}
    for name in ("official", "dialogues"):
        split = splits.get(name, {})
        trained = {speakers.get(i) for i in split.get("train", ())} - {None}
        shared = [i for i in split.get("test", ()) if speakers.get(i) in trained]
        if shared:
            who = list_some(sorted({speakers[i] for i in shared}))
            number = f"{len(shared)} of {len(split['test'])}"
            detail = f"`{name}`: {number} utterances of test are of speakers in train: {who}"
            yield "shared_speakers", detail, len(shared)
