"""Read IEMOCAP's annotation: turns and labels from EmoEvaluation files, texts from transcripts.

Lines that do not fit the expected format are counted or reported as faults.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

CODES: Final = ("ang", "hap", "exc", "sad", "neu", "fru", "sur", "fea", "dis", "oth", "xxx")
DIALOGUE: Final = re.compile(r"Ses(0[1-5])([FM])_(impro\d\d|script\d\d_\d)([ab]?)", re.ASCII | re.IGNORECASE)
_TURN: Final = re.compile(rf"({DIALOGUE.pattern})_([FM])\d{{3}}", re.ASCII)
_NUMBER: Final = r"(-?\d{1,7}(?:\.\d{1,9})?)"
# The tab of the release may have become blanks. Text after the label is ignored: 36 raters left out a value.
_SUMMARY: Final = re.compile(rf"\[\s*{_NUMBER}\s*-\s*{_NUMBER}\s*\]\s+(\S+)\s+(\S+)(?:\s.*)?", re.ASCII)
_VOTE: Final = re.compile(r"C-([EFM])\d+:([^(]*)", re.ASCII)
_SPOKEN: Final = re.compile(rf"(\S+)\s+\[{_NUMBER}-{_NUMBER}\]:(.*)", re.ASCII)
_FRAGMENT: Final = re.compile(r"Ses\S*XX\S*", re.ASCII)


@dataclass(frozen=True)
class IemocapTurn:
    """A turn (utterance) in an EmoEvaluation file.

    Attributes:
        id: name of the turn.
        start, end: seconds in the dialogue.
        label: code of the emotion that most raters gave; `xxx` without a majority.
        votes: emotions that outside raters gave, in lower case.
        own: emotions that the actors gave to themselves, in lower case.
    """

    id: str
    start: float
    end: float
    label: str
    votes: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()

    @property
    def speaker(self) -> str:
        """The speaker: session and sex, for example `Ses01M` for the turn `Ses01F_impro01_M003`.

        The letter before the number says who speaks. The letter after the session says who wears the motion capture
        markers.
        """
        return self.id[:5] + self.id[-4]

    @property
    def session(self) -> str:
        """The session, `Ses01` to `Ses05`."""
        return self.id[:5]


@dataclass
class Evaluation:
    """The content of an EmoEvaluation file.

    Attributes:
        turns: id -> turn, in file order.
        fragments: number of lines whose id contains `XX`; they are no turns.
        findings: messages about faults; a file with faults is unusable.
    """

    turns: dict[str, IemocapTurn] = field(default_factory=dict)
    fragments: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TranscriptLine:
    """A line of a transcript: start and end (seconds in the dialogue) and text."""

    text: str
    start: float
    end: float


@dataclass
class IemocapTranscript:
    """The texts of a dialogue's turns, in the order of the transcript.

    Attributes:
        texts: id of the turn -> line of the transcript.
        fragments: number of lines whose id contains `XX`; no annotation has such ids.
        asides: number of other lines without the id of a turn.
        repeated: ids that have several lines; the first line is used.
        bad_byte: position of the first byte that is not UTF-8; the file was then read as cp1252. None if all bytes are
            UTF-8.
    """

    texts: dict[str, TranscriptLine] = field(default_factory=dict)
    fragments: int = 0
    asides: int = 0
    repeated: list[str] = field(default_factory=list)
    bad_byte: int | None = None


def dialogue_of(name: str) -> str | None:
    """Correct upper and lower case in the name of a dialogue (`Ses01F_impro01`); None if it names no dialogue."""
    match = DIALOGUE.fullmatch(name)
    return f"Ses{match[1]}{match[2].upper()}_{match[3].lower()}{match[4].lower()}" if match else None


def turn_of(name: str) -> str | None:
    """Correct upper and lower case in the name of a turn (`Ses01F_impro01_F000`); None if it names no turn."""
    dialogue = dialogue_of(name[:-5])
    return (
        dialogue + name[-5:].upper() if dialogue and _TURN.fullmatch(dialogue + name[-5:].upper()) else None
    )


def read_evaluation(content: bytes, dialogue: str, where: str) -> Evaluation:
    """Read an EmoEvaluation file: the turns of a dialogue and their labels.

    Args:
        content: bytes of the file.
        dialogue: id of the dialogue.
        where: name of the file, for messages.
    """
    found = Evaluation()
    last = ""
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        # Only ASCII parts are used; the raters' remarks may contain anything.
        line = raw.decode("latin-1").rstrip()
        vote = _VOTE.match(line)
        if vote and last:
            found.turns[last] = _voted(found.turns[last], vote[1], vote[2])
        if not line.startswith("["):
            continue
        last = ""
        match = _SUMMARY.fullmatch(line)
        if match and _FRAGMENT.fullmatch(match[3]):
            found.fragments += 1
            continue
        faults = list(_faults(line, match, dialogue, found.turns))
        found.findings += [f"{where}, line {number}: {fault}" for fault in faults]
        if match and not faults:
            last = match[3]
            found.turns[last] = IemocapTurn(last, float(match[1]), float(match[2]), match[4])
    if not found.turns and not found.findings:
        example = f"[6.2901 - 8.2357] {dialogue}_F000 neu [2.5, 2.5, 2.5]"
        found.findings.append(f"{where}: holds no line like `{example}`")
    return found


def _faults(
    line: str, match: re.Match[str] | None, dialogue: str, turns: Mapping[str, IemocapTurn]
) -> Iterator[str]:
    if match is None:
        yield f"no summary of a turn: {line[:60]!r}"
        return
    name, label = match[3], match[4]
    if not _TURN.fullmatch(name):
        yield f"{name!r} is no name of a turn"
    elif not name.startswith(f"{dialogue}_"):
        yield f"{name} is a turn of another dialogue"
    elif name in turns:
        yield f"{name} stands there twice"
    if label not in CODES:
        yield f"unknown label {label!r} (known: {', '.join(CODES)})"


def _voted(turn: IemocapTurn, rater: str, categories: str) -> IemocapTurn:
    named = frozenset(c.strip().lower() for c in categories.split(";") if c.strip())
    if rater == "E":
        return replace(turn, votes=turn.votes | named)
    return replace(turn, own=turn.own | named)


def read_transcript(content: bytes) -> IemocapTranscript:
    """Read the texts of a dialogue's turns from its transcript. Lines without the id of a turn are only counted.

    A file that is not UTF-8 is read as cp1252.
    """
    found = IemocapTranscript()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found.bad_byte = error.start
        text = content.decode("cp1252", errors="replace")
    for line in re.split(r"\r\n?|\n", text):
        match = _SPOKEN.fullmatch(line.strip())
        if match is None or not _TURN.fullmatch(match[1]):
            named = line.split(maxsplit=1)[:1]
            found.fragments += bool(named and _FRAGMENT.fullmatch(named[0]))
            found.asides += bool(named and not _FRAGMENT.fullmatch(named[0]))
        elif match[1] in found.texts:
            found.repeated.append(match[1])
        else:
            found.texts[match[1]] = TranscriptLine(match[4].strip(), float(match[2]), float(match[3]))
    return found
