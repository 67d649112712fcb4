"""Named splits and folds, as pure functions: what each id belongs to goes in, lists of ids come out.

A *group* is whatever must not be torn apart: a dialogue, a session, a speaker, an actor. No group is ever in two
subsets. A fold is a split of its own, named `<folds>/<what is held out>`; ids keep the order of the manifest.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence

Split = dict[str, tuple[str, ...]]  # train, dev, test -> ids
Groups = Mapping[str, str]  # id -> its group, in the order of the manifest

VALIDATION = 1 / 10  # of the dialogues that are not tested on, where a rule draws them
SORTED_VALIDATION = 1 / 6  # 20 of the 120 dialogues of IEMOCAP's sessions 1 to 4


def held_out(groups: Groups, dev: Collection[str], test: Collection[str]) -> Split:
    """Some groups for validation, some for the test, all others for training.

    Raises:
        ValueError: a group is in both; the caller's rule is wrong.
    """
    both = sorted(set(dev) & set(test))
    if both:
        raise ValueError(f"in dev and in test: {', '.join(both)}")
    place = {**dict.fromkeys(dev, "dev"), **dict.fromkeys(test, "test")}
    split: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for name, group in groups.items():
        split[place.get(group, "train")].append(name)
    return {subset: tuple(ids) for subset, ids in split.items()}


def usable(splits: Mapping[str, Split]) -> dict[str, Split]:
    """Those of which no subset is empty; a corpus that is there in part cannot have the others."""
    return {name: split for name, split in splits.items() if all(split.values())}


def last_of(groups: Iterable[str], share: float) -> tuple[str, ...]:
    """The last groups in the order of strings: `share` of them, rounded, at least one."""
    names = sorted(set(groups))
    return tuple(names[len(names) - _number(names, share) :])


def drawn(groups: Iterable[str], share: float, seed: int) -> tuple[str, ...]:
    """Groups drawn by seed: `share` of them, rounded, at least one.

    Ranked by a digest of seed and name, so that no version of a generator of random numbers can change them.
    """
    names = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).hexdigest())
    return tuple(sorted(names[: _number(names, share)]))


def session_held_out(
    dialogues: Groups, sessions: Mapping[str, str], test: str, name: str, fixed: Collection[str], seed: int
) -> dict[str, Split]:
    """One session for the test, and three rules for the validation dialogues, taken from all others.

    `<name>` takes the last sixth in the order of strings, `<name>_fixed` those of a given list, and
    `<name>_seed<seed>` draws a tenth.

    Args:
        dialogues: utterance -> dialogue.
        sessions: dialogue -> session.
        fixed: dialogues for the second rule; those that are absent or of the test session are passed over.
    """
    tested = [d for d, session in sessions.items() if session == test]
    others = [d for d, session in sessions.items() if session != test]
    rules = {
        name: last_of(others, SORTED_VALIDATION),
        f"{name}_fixed": [d for d in others if d in fixed],
        f"{name}_seed{seed}": drawn(others, VALIDATION, seed),
    }
    return {rule: held_out(dialogues, dev, tested) for rule, dev in rules.items()}


def leave_session_out(dialogues: Groups, sessions: Mapping[str, str], seed: int) -> dict[str, Split]:
    """Folds `loso/<session>`: a session is tested on; a tenth of the other dialogues, drawn, validates.

    Args:
        dialogues: utterance -> dialogue.
        sessions: dialogue -> session.
    """
    folds: dict[str, Split] = {}
    for test in sorted(set(sessions.values())):
        tested = [d for d, session in sessions.items() if session == test]
        others = [d for d, session in sessions.items() if session != test]
        folds[f"loso/{test}"] = held_out(dialogues, drawn(others, VALIDATION, seed), tested)
    return folds


def leave_speaker_out(speakers: Groups, partners: Mapping[str, str]) -> dict[str, Split]:
    """Folds `speaker/<speaker>`: a speaker is tested on, the partner validates, the pairs of others train.

    The partner cannot train: the two speak in the same dialogues.

    Args:
        speakers: utterance -> speaker.
        partners: speaker -> the other one of the same dialogues.
    """
    return {
        f"speaker/{speaker}": held_out(speakers, [partners[speaker]], [speaker])
        for speaker in sorted(set(speakers.values()))
    }


def actor_disjoint(actors: Groups, share: float = 0.15) -> Split:
    """Actors in the order of strings: the last `share` tests, as many before them validate; {} below three actors.

    Args:
        actors: utterance -> actor.
    """
    names = sorted(set(actors.values()))
    if len(names) < 3:
        return {}
    held = _number(names, share)
    first, second = len(names) - 2 * held, len(names) - held
    return held_out(actors, names[first:second], names[second:])


def actor_folds(actors: Groups, count: int = 5, name: str = "actors") -> dict[str, Split]:
    """Folds `<name>/1` to `<name>/<count>`: runs of actors in the order of strings; the run after the tested validates.

    Args:
        actors: utterance -> actor.

    Raises:
        ValueError: fewer than three folds leave nothing to train on.
    """
    if count < 3:
        raise ValueError(f"{count} folds: validation and test need one each, training the rest")
    names = sorted(set(actors.values()))
    runs = [names[len(names) * k // count : len(names) * (k + 1) // count] for k in range(count)]
    return {f"{name}/{k + 1}": held_out(actors, runs[(k + 1) % count], runs[k]) for k in range(count)}


def _number(names: Sequence[str], share: float) -> int:
    return min(len(names), max(1, round(share * len(names))))
