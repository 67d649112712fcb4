"""Functions for all corpora of texts without media: read their files, find repeated dialogues, build the manifest."""

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
    """Collects the content of a corpus of texts, and what is wrong with it, while its files are read.

    Attributes:
        utterances: the utterances of train, dev and test, in order; those of one dialogue follow each other.
        problems: deviations from the release that are reported in the manifest.
        faults: messages about what makes the corpus unusable.
        sources: paths of the annotation files that were read.
    """

    utterances: list[Utterance] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def note(self, reason: str, detail: str, count: int | None = None) -> None:
        """Add a note on the whole corpus to `problems`.

        Args:
            reason: short name of the kind of note, for example `repeated_file`.
            detail: what was found.
            count: number of affected utterances; None if the note is not about utterances.
        """
        self.problems.append(Problem(None, "note", reason, detail, count))

    def add_dialogue(
        self,
        part: str,
        dialogue: str,
        turns: Sequence[tuple[str, str, str]],
        labels: Sequence[Mapping[str, str | None]],
    ) -> None:
        """Add the turns of a dialogue as utterances.

        Args:
            part: the subset that holds the dialogue: train, dev or test.
            dialogue: name of the dialogue.
            turns: utterance id, speaker and text of each turn.
            labels: for each turn a dict from label set to label.
        """
        for index, ((name, speaker, text), found) in enumerate(zip(turns, labels, strict=True)):
            self.utterances.append(
                Utterance(name, dialogue, index, speaker, text or None, None, None, found, part)
            )


def read_text(folder: FolderListing, path: str, found: TextParts) -> str | None:
    """Return the text of a corpus file, which must be UTF-8. The path is added to `found.sources`.

    The byte order mark is removed, and line ends become `\\n`. If the file cannot be read, the result is None, and a
    message is added to `found.faults`.
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
    """Read a csv file and return its rows as dicts from column name to cell.

    If the file is unreadable or lacks a column of `columns`, the list is empty, and a message is added to
    `found.faults`.
    """
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
    """Return whether a table has all wanted columns. If not, add a message with the missing ones to `found.faults`.

    Args:
        path: path of the table, for the message.
        names: the columns of the table.
        wanted: the columns that it must have.
        found: what has been read of the corpus so far.
    """
    lacking = [column for column in wanted if column not in names]
    if lacking:
        here = ", ".join(names) or "none"
        found.faults.append(f"{path}: has no column {', '.join(lacking)} (found: {here})")
    return not lacking


def choose_file(folder: FolderListing, name: str, found: TextParts) -> str | None:
    """Return the path of the file with a given name; None if there is no such file.

    If several files have this name, the one nearest to the root is returned, and a note is added for each other one.
    """
    paths = folder.files_named(name)
    if not paths:
        return None
    for path in paths[1:]:
        same = digest_or_none(folder, path) == digest_or_none(folder, paths[0])
        how = "with the same bytes" if same else "which differs"
        found.note("repeated_file", f"{path} is there again, {how}, and left out ({paths[0]} was taken)")
    return paths[0]


def digest_or_none(folder: FolderListing, path: str) -> str | None:
    """Return the sha256 of a file; None if the file cannot be read. No fault is reported here."""
    try:
        read_content(folder.root, path)
    except Missing:
        return None
    return digest_of_file(folder.root / path)


def refuse(corpus: str, folder: FolderListing, found: TextParts, how: str) -> None:
    """Raise an error if the corpus has faults, or if train, dev or test holds no utterance. Otherwise do nothing.

    Args:
        corpus: name of the corpus, for the message.
        folder: the files of the corpus.
        found: utterances and faults that were read.
        how: hint for the user: which files to put into the folder. Archives that are not unpacked are added to it.

    Raises:
        CorpusError: the corpus cannot be used; the error lists the faults.
    """
    held = {u.part for u in found.utterances}
    faults = found.faults or [f"{part} holds no utterance" for part in PARTS if part not in held]
    if not faults:
        return
    more = [f"and {len(faults) - MOST} more"] if len(faults) > MOST else []
    packed = folder.archives()
    seen = f"found: {list_some(folder.files, 5) or 'nothing'}"
    hint = f"unpack {list_some(packed)} there first; {how}" if packed else f"{seen}; {how}"
    raise CorpusError(
        f"{corpus}: the folder {folder.root} cannot be used", details=[*faults[:MOST], *more], hint=hint
    )


def manifest_of_texts(
    corpus: str,
    version: str,
    folder: FolderListing,
    found: TextParts,
    label_sets: Mapping[str, tuple[str, ...]],
    promises: tuple[Promise, ...],
) -> Manifest:
    """Build the manifest of a corpus of texts, with the split `official`: the corpus' own train, dev and test.

    Dialogues that occur word for word in two of these subsets are reported. `official` then no longer promises that
    its subsets share no dialogue.

    Args:
        corpus: name of the corpus.
        version: version of the corpus, for the manifest.
        folder: the files of the corpus.
        found: utterances and problems that were read.
        label_sets: label set -> its labels.
        promises: what train, dev and test never share by the corpus' own division: speakers, dialogues, or both.
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
    """Find dialogues that occur twice, in two subsets (train, dev, test) or in one; yield a note for each case.

    Only dialogues of two or more turns are compared. Their texts must be equal, apart from case and blanks.
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
    """Report subsets (train, dev, test) whose numbers of dialogues or utterances differ from those of the release.

    Args:
        utterances: the utterances of the corpus.
        release: subset -> (number of dialogues, number of utterances) in the release.
    """
    lines = []
    for part, numbers in release.items():
        rows = [u for u in utterances if u.part == part]
        here = (len({u.dialogue for u in rows}), len(rows))
        for what, n, expected in zip(("dialogues", "utterances"), here, numbers, strict=True):
            if n != expected:
                lines.append(f"{part}: {n} {what}, the release has {expected}")
    return [Problem(None, "note", "count_differs", line) for line in lines]
