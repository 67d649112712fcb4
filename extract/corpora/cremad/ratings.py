"""Read the emotions that CREMA-D's raters perceived in each clip from the voice, from the face, or from both.

`summaryTable.csv` holds the votes as the authors counted them. If it is absent, the votes are counted here from the
single answers in `finishedResponses.csv`. A few clips then get other labels, because the authors left out some answers.
If two emotions have the same number of votes (a tie), there is no label.
"""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ercache.errors import CorpusError
from ercache.manifest import MediaRef, Problem
from ercache.reasons import Missing
from extract.corpora.common.listing import FolderListing, list_some
from extract.corpora.common.subtitles import decode
from extract.media.files import check_file

SUMMARY: Final = "summaryTable.csv"
ANSWERS: Final = "finishedResponses.csv"
LETTERS: Final = {"A": "anger", "D": "disgust", "F": "fear", "H": "happy", "N": "neutral", "S": "sad"}
# Label set -> its column in the summary, and its query type in the answers.
CHANNELS: Final[Mapping[str, tuple[str, str]]] = {
    "perceived6": ("MultiModalVote", "3"),
    "perceived6_voice": ("VoiceVote", "1"),
    "perceived6_face": ("FaceVote", "2"),
}
TIE: Final = ""
MAX_FINDINGS: Final = 50  # findings shown in an error
# Counts in the release's summary, for its 7,442 clips; the last number is that of ties.
COUNTS: Final[Mapping[str, Mapping[str, int]]] = {
    name: dict(zip(("neutral", "anger", "disgust", "fear", "happy", "sad", TIE), numbers, strict=True))
    for name, numbers in {
        "perceived6": (1972, 1019, 1139, 1084, 1219, 589, 420),
        "perceived6_voice": (3897, 986, 547, 645, 353, 370, 644),
        "perceived6_face": (2076, 968, 1057, 822, 1266, 783, 470),
    }.items()
}


@dataclass
class ClipRatings:
    """The raters' votes in a table of CREMA-D, and what is wrong with the table.

    Attributes:
        source: path of the table; None if there is no table.
        votes: label set -> clip -> the emotion with most votes, or TIE if two emotions have equally many.
        notes: notes (reason, detail) for the manifest.
        findings: messages about faults; a table with faults is unusable.
    """

    source: str | None = None
    votes: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in CHANNELS})
    notes: list[tuple[str, str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def labels(self, clip: str) -> dict[str, str | None]:
        """Return a dict from label set to the raters' label of a clip; None for a tie or a clip that nobody rated."""
        return {name: votes.get(full_name(clip)) or None for name, votes in self.votes.items()}

    def has(self, clip: str) -> bool:
        """Return whether the table of ratings contains the clip."""
        return any(full_name(clip) in votes for votes in self.votes.values())


def full_name(clip: str) -> str:
    """Return a clip's name with the emotion level `XX`, which an old copy of the corpus wrote as a single `X`."""
    return f"{clip}X" if clip.endswith("_X") else clip


def ratings_of(folder: FolderListing) -> tuple[ClipRatings, list[Problem]]:
    """Find and read the table of ratings in a corpus folder.

    Returns:
        The ratings, which are empty if there is no readable table, and the problems for the manifest.

    Raises:
        CorpusError: the table has faults; the error lists them.
    """
    path = _table(folder)
    if path is None:
        detail = "no processedResults/summaryTable.csv: there are no labels by raters"
        return ClipRatings(), [Problem(None, "note", "no_ratings", detail)]
    try:
        content = check_file(folder.root, MediaRef(path)).read_bytes()
    except Missing as missing:
        return ClipRatings(), [Problem(None, "missing", missing.reason.value, f"{path}: no labels by raters")]
    ratings = read_ratings(content, path)
    if ratings.findings:
        more = (
            [f"and {len(ratings.findings) - MAX_FINDINGS} more"]
            if len(ratings.findings) > MAX_FINDINGS
            else []
        )
        raise CorpusError(
            f"cremad: the table of ratings {path} cannot be used",
            details=[*ratings.findings[:MAX_FINDINGS], *more],
            hint="download the table again, or remove it to scan without the raters' labels",
        )
    return ratings, [Problem(None, "note", *note) for note in ratings.notes]


def _table(folder: FolderListing) -> str | None:
    """Return the path of `summaryTable.csv`, or else of `finishedResponses.csv`; None if both are absent.

    Of several files with this name, the one nearest to the root is used.
    """
    for name in (SUMMARY, ANSWERS):
        found = folder.files_named(name)
        if found:
            return found[0]
    return None


def read_ratings(content: bytes, path: str) -> ClipRatings:
    """Read the raters' votes from a table.

    An unreadable row of the summary table makes the table unusable. In the table of single answers, an unreadable row
    is left out and noted.

    Args:
        content: bytes of the table.
        path: path of the table. It is the summary if its name is `summaryTable.csv`, else the table of single answers.
    """
    ratings = ClipRatings(path)
    summary = path.endswith(SUMMARY)
    needed = (
        ("FileName", *(column for column, _ in CHANNELS.values()))
        if summary
        else ("clipName", "queryType", "respEmo")
    )
    try:
        rows = list(_rows(decode(content), path, needed, ratings))
    except (csv.Error, ValueError) as error:
        ratings.findings.append(f"{path}: {error}")
        return ratings
    if not rows and not ratings.findings:
        ratings.findings.append(f"{path}: holds no row")
    elif summary:
        _of_summary(rows, ratings)
    else:
        _of_answers(rows, ratings)
    if not ratings.findings:
        _differences(ratings)
    return ratings


def _rows(
    text: str, path: str, needed: tuple[str, ...], ratings: ClipRatings
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield for each row of a csv table its place (`<path>, line <number>`) and a dict from column to cell.

    A missing column, or a row with too few or too many cells, is added to `ratings.findings`.

    Args:
        text: content of the table.
        path: path of the table, for messages.
        needed: names of the columns that are returned.
        ratings: where faults are collected.
    """
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = [cell.strip().lower() for cell in next(lines, [])]
    lacking = [column for column in needed if column.lower() not in header]
    if lacking:
        found = list_some(cell for cell in header if cell) or "none"
        ratings.findings.append(f"{path}: has no column {', '.join(lacking)} (found: {found})")
        return
    places = {column: header.index(column.lower()) for column in needed}
    for line in filter(any, lines):
        where = f"{path}, line {lines.line_num}"
        if len(line) != len(header):
            ratings.findings.append(f"{where}: {len(line)} fields, the header has {len(header)}")
        else:
            yield where, {column: line[place].strip() for column, place in places.items()}


def _of_summary(rows: list[tuple[str, dict[str, str]]], ratings: ClipRatings) -> None:
    first: dict[str, str] = {}
    for where, row in rows:
        clip = full_name(row["FileName"])
        if clip in first:
            ratings.findings.append(f"{where}: {clip} appears in two rows ({first[clip]})")
        first[clip] = where
        for name, (column, _) in CHANNELS.items():
            letters = row[column].split(":")
            strange = [letter for letter in letters if letter not in LETTERS]
            if strange:
                ratings.findings.append(f"{where}: unknown {column} {row[column]!r}")
            else:
                ratings.votes[name][clip] = LETTERS[letters[0]] if len(letters) == 1 else TIE


def _of_answers(rows: list[tuple[str, dict[str, str]]], ratings: ClipRatings) -> None:
    names = {query: name for name, (_, query) in CHANNELS.items()}
    counts: dict[str, dict[str, Counter[str]]] = {name: defaultdict(Counter) for name in CHANNELS}
    strange: list[str] = []
    for where, row in rows:
        name, letter = names.get(row["queryType"]), row["respEmo"]
        if name is None or letter not in LETTERS:
            strange.append(f"{where} ({row['queryType']!r}, {letter!r})")
        else:
            counts[name][full_name(row["clipName"])][letter] += 1
    for name, clips in counts.items():
        ratings.votes[name] = {clip: _majority(votes) for clip, votes in clips.items()}
    detail = f"{ratings.source}: {len(rows) - len(strange)} answers; there is no {SUMMARY}"
    ratings.notes.append(("votes_counted", detail))
    if strange:
        ratings.notes.append(
            ("left_out", f"{len(strange)} answers name no query type or emotion: {list_some(strange)}")
        )


def _majority(votes: Counter[str]) -> str:
    most = max(votes.values())
    leading = [letter for letter, count in votes.items() if count == most]
    return LETTERS[leading[0]] if len(leading) == 1 else TIE


def _differences(ratings: ClipRatings) -> None:
    for name, expected in COUNTS.items():
        count = Counter(ratings.votes[name].values())
        apart = [
            f"{count[vote]} {vote or 'ties'} ({number})"
            for vote, number in expected.items()
            if count[vote] != number
        ]
        if apart:
            detail = f"{ratings.source}, {name}: {', '.join(apart)}; in brackets the release's"
            ratings.notes.append(("count_differs", detail))
