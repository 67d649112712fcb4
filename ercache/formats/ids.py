"""Match the names that other projects give to utterances with the utterance ids of our manifest."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from ercache.errors import UsageError
from ercache.formats.content import first_few
from ercache.manifest import Manifest, Utterance

_NUMBERS: Final = re.compile(r"(.+)_dia(\d+)_utt(\d+)", re.ASCII)
_UTTERANCE: Final = re.compile(r"(?:(?:dia\d+_)?utt|(\d+)_)?(\d+)", re.ASCII)
_PAIR: Final = re.compile(r"(?:dia)?(\d+)_(?:utt)?(\d+)", re.ASCII)
PARTS: Final = ("train", "dev", "test")  # order in which the dialogues of MELD are numbered through
_DEV: Final = ("val", "valid", "validation")  # other names of the part `dev`
_ALL: Final = 0.99  # share of names that must be in a part to match it; releases differ by some utterances
# Share of sentences that must agree with the manifest. Old copies have broken characters.
MIN_AGREEMENT: Final = 0.9


@dataclass(frozen=True)
class TextLine:
    """One utterance of another project's file that has no utterance ids, to be matched by text, speaker and label."""

    text: str
    speaker: str = ""
    label: str | None = None


class IdMatcher:
    """Finds utterances of our manifest by the names or numbers that other projects give to utterances or dialogues."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.by_id: Mapping[str, Utterance] = {u.id: u for u in manifest.utterances}
        self._dialogues: dict[str, list[Utterance]] = defaultdict(list)
        for u in manifest.utterances:
            self._dialogues[u.dialogue].append(u)
        self._through: dict[tuple[int, int], str] = {}
        self._numbers: dict[int, str] = {}
        self._number_through()

    def _number_through(self) -> None:
        """Number the dialogues of MELD continuously: first train, then dev, then test, as published pickles do.

        MELD has no train dialogue 60. Its number is not used again, so dev begins at 1039 and test at 1153.
        """
        numbers: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for u in self.manifest.utterances:
            match = _NUMBERS.fullmatch(u.id)
            if match and match[1] == u.part:
                numbers[u.part].append((int(match[2]), int(match[3]), u.id))
        first = 0
        for part in (part for part in PARTS if part in numbers):
            self._through |= {(first + d, u): name for d, u, name in numbers[part]}
            self._numbers |= {first + d: self.by_id[name].dialogue for d, _, name in numbers[part]}
            first += 1 + max(d for d, _, _ in numbers[part])

    def of(self, name: object, part: str = "") -> str | None:
        """Find the utterance id that belongs to a name in a file. None if the manifest has no such utterance.

        Args:
            name: name of the utterance in the file.
            part: part of the corpus (train, dev or test) in which the file lists the utterance; "" if the file does not
                tell. Some files use the same name in several parts.
        """
        text = str(name)
        spellings = [text, text.replace("$_$", "_")]
        spellings += [f"dev{text.removeprefix(p)}" for p in _DEV if text.startswith(f"{p}_")]
        if part:
            spellings.append(f"{'dev' if part in _DEV else part}_{text}")
        return next((s for s in spellings if s in self.by_id), None)

    def numbered(self, dialogue: object, utterance: object) -> str | None:
        """Find an utterance id by numbers. None if the manifest has no such utterance.

        Args:
            dialogue: number of the dialogue, counted continuously through train, dev and test.
            utterance: number of the utterance in the dialogue, or a name with it such as `utt3` or `0_3`.
        """
        number = _UTTERANCE.fullmatch(str(utterance))
        if not str(dialogue).isdigit() or number is None:
            return None
        if number[1] and int(number[1]) != int(str(dialogue)):
            return None  # `3_0` in a dialogue other than 3
        return self._through.get((int(str(dialogue)), int(number[2])))

    def placed(self, names: Sequence[object], part: str, where: str) -> tuple[dict[int, str], list[str]]:
        """Find the utterance ids for a list of names.

        A name like `0_3` holds a dialogue number and an utterance number. If `part` is given, the dialogues are counted
        in this part. Otherwise there are several ways to count: in train, in dev, in test, or continuously through all
        three. The way for which nearly all names exist in the manifest is used. If no way does, or if several ways do
        and give different utterances, an error is raised.

        Args:
            names: names in the file.
            part: part of the corpus (train, dev or test) that the file holds; "" if the file does not tell.
            where: description of the file for error messages.

        Returns:
            Two values: a dictionary from position in `names` to utterance id, and a list of notes for the user.

        Raises:
            UsageError: the names are numbers that fit several parts of the corpus, or no part.
        """
        found = {i: known for i, name in enumerate(names) if (known := self.of(name, part)) is not None}
        notes: list[str] = []
        pairs = {
            i: pair for i, name in enumerate(names) if (pair := _PAIR.fullmatch(str(name))) and i not in found
        }
        if pairs and (self._through or part):
            wanted = {i: (int(pair[1]), int(pair[2])) for i, pair in pairs.items()}
            numbered, reading = self._of_pairs(wanted, part, where)
            found |= numbered
            notes.append(
                f"names like {pairs[next(iter(pairs))][0]!r} were read as dialogue and utterance {reading}"
            )
        unknown = [name for i, name in enumerate(names) if i not in found]
        if unknown:
            notes.append(
                f"{len(unknown)} of its {len(names)} names are not in the manifest, whose ids are like "
                f"{next(iter(self.by_id), 'none')!r}: {first_few(unknown)}"
            )
        return found, notes

    def _of_pairs(
        self, wanted: Mapping[int, tuple[int, int]], part: str, where: str
    ) -> tuple[dict[int, str], str]:
        ways: dict[str, Callable[[tuple[int, int]], str | None]] = {
            f"of {p}": partial(self._in_part, p) for p in PARTS if not part or p == part
        }
        if not part:
            ways["numbered through all parts"] = self._through.get
        results = {
            told: {i: known for i, pair in wanted.items() if (known := way(pair)) is not None}
            for told, way in ways.items()
        }
        fitting = [told for told, of in results.items() if len(of) >= _ALL * len(wanted)]
        # Train comes first, so its numbers are the same in both readings.
        meant = {tuple(sorted(results[told].items())): told for told in reversed(fitting)}
        if len(meant) == 1:
            ((pairs, told),) = meant.items()
            return dict(pairs), told
        first = "_".join(map(str, next(iter(wanted.values()))))
        raise UsageError(
            f"{where}: {len(wanted)} names like {first!r} fit {'several parts' if meant else 'no part'} of "
            f"{self.manifest.corpus}",
            details=[f"{told}: {len(of)} of {len(wanted)} are utterances" for told, of in results.items()],
            hint=f"name them like {next(iter(self.by_id), '')!r}, or give one dictionary per part (train, dev, test)",
        )

    def _in_part(self, part: str, pair: tuple[int, int]) -> str | None:
        name = f"{part}_dia{pair[0]}_utt{pair[1]}"
        return name if name in self.by_id else None

    @staticmethod
    def part_of(name: str) -> str:
        """Translate a file's name for a part of the corpus, such as `VALID`, to "train", "dev" or "test".

        Returns:
            "train" for train, "test" for test, "dev" for dev, val, valid and validation, all in upper or lower case;
                "" for any other name.
        """
        plain_name = name.lower()
        return "dev" if plain_name in _DEV else plain_name if plain_name in PARTS else ""

    def dialogue(self, key: object) -> list[Utterance]:
        """Find the utterances of a dialogue, in order. Empty if the manifest has no such dialogue.

        Args:
            key: name of the dialogue in the manifest, or its number counted through train, dev and test.
        """
        if str(key) in self._dialogues:
            return self._dialogues[str(key)]
        if not str(key).isdigit():
            return []
        found = self._numbers.get(int(str(key)))
        return self._dialogues[found] if found is not None else []


def normalised_sentence(text: str) -> str:
    """Reduce a sentence to lower-case ASCII letters and digits. Copies of a corpus differ in other characters."""
    return "".join(c for c in text.casefold() if c.isascii() and c.isalnum())


def agreement(pairs: Sequence[tuple[str, str | None]]) -> float:
    """Compute the share, from 0 to 1, of pairs of sentences that are equal in their letters and digits.

    Two kinds of pairs are ignored: pairs without a second sentence, and pairs without any letter or digit. If no pair
    remains, the share is 1.

    Args:
        pairs: pairs of a sentence in a file and the sentence in the manifest (None if the manifest has none).
    """
    both = [(normalised_sentence(a), normalised_sentence(b)) for a, b in pairs if b]
    compared = [(a, b) for a, b in both if a or b]
    return sum(a == b for a, b in compared) / len(compared) if compared else 1.0


def match_lines(
    lines: Sequence[TextLine], utterances: Sequence[Utterance], label_set: str | None
) -> dict[int, str]:
    """Match the lines of a dialogue in a file with the utterances of that dialogue in the manifest, by their texts.

    This is for files that leave out utterances and give no ids. If several lines have the same text, and the dialogue
    in the manifest has equally many utterances with this text, lines and utterances are matched in order. If the
    numbers differ, none of these lines is matched.

    Args:
        lines: lines of the dialogue in the file, in order.
        utterances: utterances of the dialogue in the manifest.
        label_set: label set that the labels in `lines` belong to; None to ignore labels.

    Returns:
        A dictionary from position in `lines` to utterance id.
    """
    if len(lines) == len(utterances):
        together = [(line.text, u.text) for line, u in zip(lines, utterances, strict=True)]
        if agreement(together) >= MIN_AGREEMENT:
            return {i: u.id for i, u in enumerate(utterances)}
    paired: dict[int, str] = {}
    ordered = sorted(utterances, key=lambda u: u.id)  # ids of one speaker are in the order of the transcript
    for fields in (3, 2, 1):  # compare text, speaker and label; then text and speaker; then text
        rows: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
        free: dict[tuple[str | None, ...], list[str]] = defaultdict(list)
        for i, line in enumerate(lines):
            if i not in paired:
                rows[(normalised_sentence(line.text), line.speaker, line.label)[:fields]].append(i)
        taken = set(paired.values())
        for u in ordered:
            if u.id not in taken:
                label = u.labels.get(label_set) if label_set else None
                free[(normalised_sentence(u.text or ""), u.speaker[-1:], label)[:fields]].append(u.id)
        for key, places in rows.items():
            if len(free[key]) == len(places):
                paired |= dict(zip(places, free[key], strict=True))
    return paired
