"""Compute named splits and folds of a corpus into subsets (train, dev, test) without dividing groups.

A *group* must stay together: a dialogue, a session, a speaker or an actor. No group is in two subsets. A fold is a
split named `<folds>/<what is held out>`. Ids keep the order of the manifest.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

Split = dict[str, tuple[str, ...]]  # train, dev, test -> ids
Groups = Mapping[str, str]  # id -> its group, in the order of the manifest

VALIDATION_SHARE = 1 / 10  # share of the dialogues outside the test set that are drawn for validation
SORTED_VALIDATION_SHARE = 1 / 6  # 20 of the 120 dialogues of IEMOCAP's sessions 1 to 4


def split_by_groups(groups: Groups, dev: Collection[str], test: Collection[str]) -> Split:
    """Split utterances by group: some groups for validation, some for the test, all other groups for training.

    Args:
        groups: utterance id -> group.
        dev: groups for validation.
        test: groups for the test.

    Raises:
        ValueError: a group is in both `dev` and `test`; this is an error in the code that chose the groups.
    """
    both = sorted(set(dev) & set(test))
    if both:
        raise ValueError(f"in dev and in test: {', '.join(both)}")
    place = {**dict.fromkeys(dev, "dev"), **dict.fromkeys(test, "test")}
    split: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for name, group in groups.items():
        split[place.get(group, "train")].append(name)
    return {subset: tuple(ids) for subset, ids in split.items()}


def usable_splits(splits: Mapping[str, Split]) -> dict[str, Split]:
    """Return only the splits in which no subset is empty. Subsets may be empty if the user's corpus is incomplete."""
    return {name: split for name, split in splits.items() if all(split.values())}


def last_groups(groups: Iterable[str], share: float) -> tuple[str, ...]:
    """Return the last groups in alphabetical order: the fraction `share` of all groups, at least one group."""
    names = sorted(set(groups))
    return tuple(names[len(names) - _number(names, share) :])


def draw_groups(groups: Iterable[str], share: float, seed: int) -> tuple[str, ...]:
    """Return randomly chosen groups: the fraction `share` of all groups, at least one group.

    The groups with the smallest digests of seed and name are chosen. So equal seeds give equal groups on every machine.
    """
    names = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())
    return tuple(sorted(names[: _number(names, share)]))


def with_drawn_dev(split: Split, groups: Groups, seed: int = 0) -> Split:
    """Give a split without a dev subset one: a randomly chosen tenth of the training groups moves to dev.

    Args:
        split: subset -> utterance ids.
        groups: utterance id -> group, in the order of the manifest.
        seed: seed of the random choice.

    Returns:
        The split; unchanged if it has a dev subset, or fewer than two training groups.
    """
    train = split.get("train", ())
    if split.get("dev") or len({groups[i] for i in train}) < 2:
        return split
    drawn = set(draw_groups([groups[i] for i in train], VALIDATION_SHARE, seed))
    rest = {name: ids for name, ids in split.items() if name not in ("train", "dev")}
    return {
        "train": tuple(i for i in train if groups[i] not in drawn),
        "dev": tuple(i for i in train if groups[i] in drawn),
        **rest,
    }


def session_held_out(
    dialogues: Groups, sessions: Mapping[str, str], test: str, name: str, fixed: Collection[str], seed: int
) -> dict[str, Split]:
    """Return three splits that test on the same session; the validation dialogues come from the other sessions.

    Split `<name>` validates on the last sixth of the other sessions' dialogues in alphabetical order, `<name>_fixed` on
    the dialogues in a given list, and `<name>_seed<seed>` on a randomly chosen tenth of the other sessions' dialogues.

    Args:
        dialogues: utterance -> dialogue.
        sessions: dialogue -> session.
        test: the test session.
        name: name of the first split.
        fixed: validation dialogues of `<name>_fixed`; absent dialogues and dialogues of the test session are ignored.
        seed: seed of the random choice.
    """
    tested = [d for d, session in sessions.items() if session == test]
    others = [d for d, session in sessions.items() if session != test]
    rules = {
        name: last_groups(others, SORTED_VALIDATION_SHARE),
        f"{name}_fixed": [d for d in others if d in fixed],
        f"{name}_seed{seed}": draw_groups(others, VALIDATION_SHARE, seed),
    }
    return {rule: split_by_groups(dialogues, dev, tested) for rule, dev in rules.items()}


def leave_session_out(dialogues: Groups, sessions: Mapping[str, str], seed: int) -> dict[str, Split]:
    """Return folds `loso/<session>`: test on one session, validate on a random tenth of the other sessions' dialogues.

    All other dialogues are for training.

    Args:
        dialogues: utterance id -> dialogue.
        sessions: dialogue -> session.
        seed: seed of the random choice.
    """
    folds: dict[str, Split] = {}
    for test in sorted(set(sessions.values())):
        tested = [d for d, session in sessions.items() if session == test]
        others = [d for d, session in sessions.items() if session != test]
        folds[f"loso/{test}"] = split_by_groups(
            dialogues, draw_groups(others, VALIDATION_SHARE, seed), tested
        )
    return folds


def leave_speaker_out(speakers: Groups, partners: Mapping[str, str]) -> dict[str, Split]:
    """Return folds `speaker/<speaker>`: test on one speaker, validate on the dialogue partner, train on all others.

    The partner's utterances are not used for training, because they come from the same dialogues as the test speaker's.

    Args:
        speakers: utterance -> speaker.
        partners: speaker -> the other speaker of the same dialogues.
    """
    return {
        f"speaker/{speaker}": split_by_groups(speakers, [partners[speaker]], [speaker])
        for speaker in sorted(set(speakers.values()))
    }


def actor_disjoint(actors: Groups, share: float = 0.15) -> Split:
    """Return a split by actors in alphabetical order: the first ones train, the next ones validate, the last ones test.

    Args:
        actors: utterance -> actor.
        share: fraction of the actors for validation; the test gets the same fraction.

    Returns:
        The split, a dict from subset to utterance ids; an empty dict with fewer than three actors.
    """
    names = sorted(set(actors.values()))
    if len(names) < 3:
        return {}
    held = _number(names, share)
    first, second = len(names) - 2 * held, len(names) - held
    return split_by_groups(actors, names[first:second], names[second:])


def actor_folds(actors: Groups, count: int = 5, name: str = "actors") -> dict[str, Split]:
    """Return the folds of a cross-validation by actors, `<name>/1` to `<name>/<count>`.

    The actors in alphabetical order are cut into `count` blocks of about equal size. Each fold tests on one block,
    validates on the block after it, and trains on all other blocks.

    Args:
        actors: utterance -> actor.
        count: number of folds.
        name: name of the folds.

    Raises:
        ValueError: with fewer than three folds, no block is left for training.
    """
    if count < 3:
        raise ValueError(f"{count} folds: at least three are needed, for training, validation and test")
    names = sorted(set(actors.values()))
    runs = [names[len(names) * k // count : len(names) * (k + 1) // count] for k in range(count)]
    return {f"{name}/{k + 1}": split_by_groups(actors, runs[(k + 1) % count], runs[k]) for k in range(count)}


def _number(names: Sequence[str], share: float) -> int:
    return min(len(names), max(1, round(share * len(names))))
