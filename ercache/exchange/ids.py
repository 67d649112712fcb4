"""How other projects name utterances, and which utterance of a manifest is meant."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ercache.manifest import Manifest, Utterance

_NUMBERS: Final = re.compile(r"(.+)_dia(\d+)_utt(\d+)", re.ASCII)
_UTTERANCE: Final = re.compile(r"(?:(?:dia\d+_)?utt)?(\d+)", re.ASCII)
_ORDER: Final = ("train", "dev", "test")  # in which MELD's dialogues are numbered through
_DEV: Final = ("val", "valid", "validation")  # other names of the part `dev`
# Share of the sentences that must be those of the manifest; old copies have broken characters.
AGREE: Final = 0.9


@dataclass(frozen=True)
class Line:
    """An utterance of a file that names none: what was said, by whom, with which label."""

    text: str
    speaker: str = ""
    label: str | None = None


class Ids:
    """The utterances of a manifest, by the names that other projects give them."""

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
        """MELD in the pickles of the field: dialogue numbers go on where those of the part before end.

        The number that no dialogue of train has (60) is not closed up: dev begins at 1039, test at 1153.
        """
        numbers: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for u in self.manifest.utterances:
            match = _NUMBERS.fullmatch(u.id)
            if match and match[1] == u.part:
                numbers[u.part].append((int(match[2]), int(match[3]), u.id))
        first = 0
        for part in (part for part in _ORDER if part in numbers):
            self._through |= {(first + d, u): name for d, u, name in numbers[part]}
            self._numbers |= {first + d: self.by_id[name].dialogue for d, _, name in numbers[part]}
            first += 1 + max(d for d, _, _ in numbers[part])

    def of(self, name: object, part: str = "") -> str | None:
        """The id that a name means, if any.

        Args:
            part: the partition that the file says the name is of, where names are not unique without it.
        """
        text = str(name)
        spellings = [text, text.replace("$_$", "_")]
        spellings += [f"dev{text.removeprefix(p)}" for p in _DEV if text.startswith(f"{p}_")]
        if part:
            spellings.append(f"{'dev' if part in _DEV else part}_{text}")
        return next((s for s in spellings if s in self.by_id), None)

    def numbered(self, dialogue: object, utterance: object) -> str | None:
        """The id of an utterance number in a dialogue that is numbered through all parts."""
        number = _UTTERANCE.fullmatch(str(utterance))
        if not str(dialogue).isdigit() or number is None:
            return None
        return self._through.get((int(str(dialogue)), int(number[1])))

    def dialogue(self, key: object) -> list[Utterance]:
        """The utterances of a dialogue, in order; empty when there is no such dialogue."""
        if str(key) in self._dialogues:
            return self._dialogues[str(key)]
        if not str(key).isdigit():
            return []
        found = self._numbers.get(int(str(key)))
        return self._dialogues[found] if found is not None else []


def plain(text: str) -> str:
    """A sentence without what copies of a corpus differ in: case, blanks, punctuation, broken characters."""
    return "".join(c for c in text.casefold() if c.isascii() and c.isalnum())


def agreement(pairs: Sequence[tuple[str, str | None]]) -> float:
    """The share of equal sentences, of those that both sides have; 1 when there are none."""
    both = [(plain(a), plain(b)) for a, b in pairs if b]
    told = [(a, b) for a, b in both if a or b]
    return sum(a == b for a, b in told) / len(told) if told else 1.0


def match_lines(
    lines: Sequence[Line], utterances: Sequence[Utterance], label_set: str | None
) -> dict[int, str]:
    """Pair the lines of a dialogue with its utterances by what was said.

    Files that leave out utterances without a label give no other hold. The n-th of several equal lines is the n-th such
    utterance, where there are as many; where there are not, none is paired.

    Returns:
        Place in `lines` -> id.
    """
    if len(lines) == len(utterances):
        together = [(line.text, u.text) for line, u in zip(lines, utterances, strict=True)]
        if agreement(together) >= AGREE:
            return {i: u.id for i, u in enumerate(utterances)}
    paired: dict[int, str] = {}
    ordered = sorted(utterances, key=lambda u: u.id)  # of one speaker, ids are in order of the transcript
    for fields in (3, 2, 1):  # text with speaker and label, with speaker, alone
        rows: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
        free: dict[tuple[str | None, ...], list[str]] = defaultdict(list)
        for i, line in enumerate(lines):
            if i not in paired:
                rows[(plain(line.text), line.speaker, line.label)[:fields]].append(i)
        taken = set(paired.values())
        for u in ordered:
            if u.id not in taken:
                label = u.labels.get(label_set) if label_set else None
                free[(plain(u.text or ""), u.speaker[-1:], label)[:fields]].append(u.id)
        for key, places in rows.items():
            if len(free[key]) == len(places):
                paired |= dict(zip(places, free[key], strict=True))
    return paired
