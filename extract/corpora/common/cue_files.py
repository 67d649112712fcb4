"""Read subtitle files (.srt, .vtt) into cues: pieces of text with a start and an end time.

The library pysubs2 parses times and text. Faults of a file, such as unreadable times, are returned as messages.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pysubs2

SUFFIXES: Final = (".srt", ".vtt")
# Times that pysubs2 reads correctly; it would read 100:00:00,000 as 00:00:00,000.
_STAMPS: Final = {
    ".srt": re.compile(r"\d{1,2}:\d{1,2}:\d{1,2}[.,]\d{1,3}", re.ASCII),
    ".vtt": re.compile(r"(?:\d{2,4}:)?\d{2}:\d{2}\.\d{3}", re.ASCII),
}
_ARROW: Final = re.compile(r"\d[\d:.,]*\s*-->|-->\s*\d", re.ASCII)
_NUMBER: Final = re.compile(r"\s*\d+\s*", re.ASCII)
_COMMENT: Final = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")
# pysubs2 mistakes a line of digits for the number of the next cue, two times in a text for a new cue, and \N for a line
# break. So lines of text are masked while it reads. The masks are code points that stand for no character.
_MASK: Final = {ord(":"): "\ufdd0", ord("\\"): "\ufdd1"}
_UNMASK: Final = {0xFDD0: ":", 0xFDD1: "\\", 0xFDD2: None}
_TEXT_MARK: Final = "\ufdd2"
_NONCHARACTERS: Final = re.compile("[\ufdd0-\ufdd2]")


@dataclass(frozen=True)
class RawCue:
    """A subtitle cue as the file writes it, with markup: its start and end in seconds, and its lines of text."""

    start: float
    end: float
    lines: tuple[str, ...]


def read_cues(text: str, name: str) -> tuple[list[RawCue], list[str]]:
    """Read all cues of a subtitle file in file order, and collect the faults that make the file unusable.

    Args:
        text: content of the file.
        name: name of the file; the suffix, one of SUFFIXES, selects the format.

    Returns:
        Two lists: the cues, and messages about the faults.
    """
    findings: list[str] = []
    suffix = name[-4:].lower()
    if _NONCHARACTERS.search(text):
        return [], [f"{name}: holds code points that are no characters (U+FDD0 to U+FDD2)"]
    masked = "\n".join(_masked_lines(text, suffix, name, findings))
    events = pysubs2.SSAFile.from_string(masked, suffix[1:], keep_html_tags=True).events if masked else []
    raw_cues = []
    for number, event in enumerate(events, start=1):
        start, end = event.start / 1000, event.end / 1000
        if end < start:
            findings.append(f"{name}, cue {number}: its times run backwards ({start:g} s to {end:g} s)")
        else:
            lines = tuple(line.translate(_UNMASK) for line in event.text.split("\\N"))
            raw_cues.append(RawCue(start, end, lines))
    if not events and not findings:
        findings.append(f"{name}: holds no cue")
    return raw_cues, findings


def _masked_lines(text: str, suffix: str, name: str, findings: list[str]) -> Iterator[str]:
    """Yield the lines of a subtitle file that hold times or text, in a form that pysubs2 reads correctly.

    pysubs2 mistakes some lines of text for times or cue numbers. So each line of text gets a special character in
    front, and its colons and backslashes are replaced by special characters. `read_cues` undoes this. Cue numbers,
    identifiers, comments and styles are left out.

    Args:
        text: content of the file.
        suffix: `.srt` or `.vtt`.
        name: name of the file, for messages.
        findings: list to which a message about each faulty line is added.
    """
    lines = [*text.splitlines(), ""]
    # State: inside a comment, inside a cue, and whether the cue has words.
    aside, inside, worded = suffix == ".vtt", False, False
    for number, line in enumerate(lines[:-1], start=1):
        following = lines[number]
        begins = number == 1 or not lines[number - 2].strip()
        if _ARROW.search(line):
            inside, worded = _is_time(line, suffix), False
            aside = not inside
            if inside:
                yield "".join(line.partition("-->")[:2]) + " " + line.partition("-->")[2].split()[0]
            else:
                findings.append(f"{name}, line {number}: unreadable times {line.strip()!r}")
        elif _ARROW.search(following) and (_NUMBER.fullmatch(line) or (begins and suffix == ".vtt")):
            inside = False  # the number or the name of the next cue
        elif not line.strip():
            aside = False
            # An empty line ends a WebVTT cue, a line of blanks does not: YouTube captions have one before or after
            # their words. If an editor strips the blanks, the cue begins with an empty line.
            inside = inside and (suffix == ".srt" or not worded or line != "")
        elif aside or (suffix == ".vtt" and begins and _COMMENT.match(line)):
            aside = True
        elif inside:
            worded = True
            yield _TEXT_MARK + line.translate(_MASK)
        else:
            findings.append(f"{name}, line {number}: belongs to no cue: {line.strip()[:40]!r}")


def _is_time(line: str, suffix: str) -> bool:
    before, _, after = line.partition("-->")
    stamps = (before.strip(), (after.split() or [""])[0])
    return all(_STAMPS[suffix].fullmatch(stamp) for stamp in stamps)
