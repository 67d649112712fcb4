"""What corpora of text without media share: read their files, find repeated dialogues, and build the manifest."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ercache.digests import digest_of_file
from ercache.errors import CorpusError
from ercache.manifest import Manifest, Problem, Promise, Utterance
from ercache.reasons import Missing
from extract.corpora.common.listing import (
    FolderListing,
    counted,
    describe_unreadable,
    list_some,
    read_content,
)

PARTS: Final = ("train", "dev", "test")
MOST: Final = 50  # faults that one message lists


@dataclass
class TextParts:
    """What a corpus of texts holds: filled while its files are read.

    Attributes:
        utterances: the utterances of all parts, in order; a dialogue's own are together.
        problems: deviations from the release.
        faults: what makes the corpus unusable.
        sources: paths of the annotation files that were read.
    """

    utterances: list[Utterance] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def note(self, reason: str, detail: str, count: int | None = None) -> None:
        """Add a note on the whole corpus."""
        self.problems.append(Problem(None, "note", reason, detail, count))

    def add_dialogue(
        self,
        part: str,
        dialogue: str,
        turns: Sequence[tuple[str, str, str]],
        labels: Sequence[Mapping[str, str | None]],
    ) -> None:
        """Add a dialogue.

        Args:
            part: train, dev or test.
            dialogue: name of the dialogue.
            turns: id, speaker and text of each turn.
            labels: label set -> label, for each turn.
        """
        for index, ((name, speaker, text), found) in enumerate(zip(turns, labels, strict=True)):
            self.utterances.append(
                Utterance(name, dialogue, index, speaker, text or None, None, None, found, part)
            )


def read_text(folder: FolderListing, path: str, found: TextParts) -> str | None:
    """Read a text file of the corpus as UTF-8 and remember it as a source. Return None, with a fault, if it cannot be.

    The byte order mark is removed, and line ends become `\\n`.
    """
    found.sources.append(path)
    try:
        text = read_content(folder.root, path).decode("utf-8-sig")
    except Missing as missing:
        found.faults.append(describe_unreadable(path, missing))
        return None
    except UnicodeDecodeError as error:
        found.faults.append(f"{path}: not UTF-8 (byte {error.start}); is it the file as published?")
        return None
    return text.replace("\r\n", "\n")


def read_rows(
    folder: FolderListing, path: str, columns: Sequence[str], found: TextParts
) -> list[dict[str, Any]]:
    """Read a csv file with some columns. Return its rows; none, with a fault, if it cannot be read."""
    content = read_text(folder, path, found)
    if content is None:
        return []
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        found.faults.append(f"{path}, line {reader.line_num}: not a readable csv ({error})")
        return []
    return rows if has_columns(path, reader.fieldnames or (), columns, found) else []


def has_columns(path: str, names: Sequence[str], wanted: Sequence[str], found: TextParts) -> bool:
    """Whether a table has all wanted columns. If not, add a fault that names those it lacks."""
    lacking = [column for column in wanted if column not in names]
    if lacking:
        here = ", ".join(names) or "none"
        found.faults.append(f"{path}: has no column {', '.join(lacking)} (found: {here})")
    return not lacking


def choose_file(folder: FolderListing, name: str, found: TextParts) -> str | None:
    """Return the path of the file with a name that is nearest to the root, and note copies; None if there is none."""
    paths = folder.files_named(name)
    if not paths:
        return None
    for path in paths[1:]:
        same = digest_or_none(folder, path) == digest_or_none(folder, paths[0])
        how = "with the same bytes" if same else "which differs"
        found.note("repeated_file", f"{path} is there again, {how}, and left out ({paths[0]} was taken)")
    return paths[0]


def digest_or_none(folder: FolderListing, path: str) -> str | None:
    """Return the sha256 of a file; None if it cannot be read (whoever uses the file reports that)."""
    try:
        read_content(folder.root, path)
    except Missing:
        return None
    return digest_of_file(folder.root / path)


def refuse(corpus: str, folder: FolderListing, found: TextParts, how: str) -> None:
    """Raise an error with all faults, if there are any or a part holds no utterance.

    Args:
        how: what the user should give; archives that are still packed are named before it.

    Raises:
        CorpusError: the corpus cannot be used.
    """
    held = {u.part for u in found.utterances}
    faults = found.faults or [f"{part} holds no utterance" for part in PARTS if part not in held]
    if not faults:
        return
    more = [f"and {len(faults) - MOST} more"] if len(faults) > MOST else []
    packed = folder.archives()
    seen = f"found: {list_some(folder.files, 5) or 'nothing'}"
    hint = f"unpack {list_some(packed)} there first; {how}" if packed else f"{seen}; {how}"
    raise CorpusError(f"{corpus}: {folder.root} cannot be used", details=[*faults[:MOST], *more], hint=hint)


def manifest_of_texts(
    corpus: str,
    version: str,
    folder: FolderListing,
    found: TextParts,
    label_sets: Mapping[str, tuple[str, ...]],
    promises: tuple[Promise, ...],
) -> Manifest:
    """Build the manifest of a corpus of texts, with the split `official` of its own parts.

    Dialogues that stand word for word in two parts are reported, and `official` then promises nothing about dialogues.

    Args:
        promises: what the parts do not share, by the corpus's own division.
    """
    repeated = list(repeated_dialogues(found.utterances))
    across = any(problem.reason == "dialogue_in_two_parts" for problem in repeated)
    split = {part: tuple(u.id for u in found.utterances if u.part == part) for part in PARTS}
    empty = sum(u.text is None for u in found.utterances)
    silent = [Problem(None, "note", "empty_text", f"{counted(empty, 'turn')} without words", empty)]
    return Manifest(
        corpus=corpus,
        version=version,
        sources={path: digest_of_file(folder.root / path) for path in found.sources},
        label_sets=label_sets,
        utterances=tuple(found.utterances),
        problems=(*folder.notes(), *found.problems, *(silent if empty else []), *repeated),
        splits={"official": split},
        promises={"official": tuple(kind for kind in promises if kind != "dialogue" or not across)},
    )


def repeated_dialogues(utterances: Sequence[Utterance]) -> Iterator[Problem]:
    """Report dialogues of two turns or more whose texts stand word for word in another part, or again in their own.

    Case and blanks do not count.
    """
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for u in utterances:
        texts[u.part, u.dialogue].append("".join((u.text or "").casefold().split()))
    places: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (part, dialogue), words in texts.items():
        if len(words) > 1:
            places[tuple(words)][part].append(dialogue)
    for at, first in enumerate(PARTS):
        again = [name for by_part in places.values() for name in by_part.get(first, [])[1:]]
        if again:
            detail = f"{first} has {counted(len(again), 'dialogue')} twice: {list_some(again)}"
            yield Problem(None, "note", "repeated_dialogue", detail, _turns(utterances, again))
        for second in PARTS[at + 1 :]:
            both = [n for by in places.values() if first in by for n in by.get(second, [])]
            if both:
                detail = f"{counted(len(both), 'dialogue')} of {second} also in {first}: {list_some(both)}"
                yield Problem(None, "note", "dialogue_in_two_parts", detail, _turns(utterances, both))


def _turns(utterances: Sequence[Utterance], dialogues: Sequence[str]) -> int:
    named = set(dialogues)
    return sum(u.dialogue in named for u in utterances)


def differing_counts(
    utterances: Sequence[Utterance], release: Mapping[str, tuple[int, int]]
) -> list[Problem]:
    """Report parts whose numbers of dialogues or utterances differ from those of the release.

    Args:
        release: part -> number of dialogues, number of utterances.
    """
    lines = []
    for part, numbers in release.items():
        rows = [u for u in utterances if u.part == part]
        here = (len({u.dialogue for u in rows}), len(rows))
        for what, n, expected in zip(("dialogues", "utterances"), here, numbers, strict=True):
            if n != expected:
                lines.append(f"{part}: {n} {what}, the release has {expected}")
    return [Problem(None, "note", "count_differs", line) for line in lines]
