"""Subtitle files (.srt, .vtt) to what is shown and when: pysubs2 reads times and lines, and nothing is lost unsaid."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pysubs2

SUFFIXES: Final = (".srt", ".vtt")
# What pysubs2 reads completely; it would take 100:00:00,000 for 00:00:00,000.
_STAMPS: Final = {
    ".srt": re.compile(r"\d{1,2}:\d{1,2}:\d{1,2}[.,]\d{1,3}", re.ASCII),
    ".vtt": re.compile(r"(?:\d{2,4}:)?\d{2}:\d{2}\.\d{3}", re.ASCII),
}
_ARROW: Final = re.compile(r"\d[\d:.,]*\s*-->|-->\s*\d", re.ASCII)
_NUMBER: Final = re.compile(r"\s*\d+\s*", re.ASCII)
_ASIDE: Final = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s|$)")
# pysubs2 takes a line of digits for the number of the next cue, two times in a text for a cue of their own and \N
# for a line break; lines of text are covered while it reads. These code points are no characters.
_COVER: Final = {ord(":"): "\ufdd0", ord("\\"): "\ufdd1"}
_UNCOVER: Final = {0xFDD0: ":", 0xFDD1: "\\", 0xFDD2: None}
_MARK: Final = "\ufdd2"
_STRANGE: Final = re.compile("[\ufdd0-\ufdd2]")


@dataclass(frozen=True)
class Shown:
    """Lines as they are written, with their markup, and the seconds at which they appear and go."""

    start: float
    end: float
    lines: tuple[str, ...]


def read_cues(text: str, name: str) -> tuple[list[Shown], list[str]]:
    """Cues of a file, in its order, and what makes it unusable.

    Args:
        name: of the file; its end, one of SUFFIXES, says how it is read.
    """
    findings: list[str] = []
    suffix = name[-4:].lower()
    if _STRANGE.search(text):
        return [], [f"{name}: holds code points that are no characters (U+FDD0 to U+FDD2)"]
    covered = "\n".join(_covered(text, suffix, name, findings))
    events = pysubs2.SSAFile.from_string(covered, suffix[1:], keep_html_tags=True).events if covered else []
    shown = []
    for number, event in enumerate(events, start=1):
        start, end = event.start / 1000, event.end / 1000
        if end < start:
            findings.append(f"{name}, cue {number}: its times run backwards ({start:g} s to {end:g} s)")
        else:
            lines = tuple(line.translate(_UNCOVER) for line in event.text.split("\\N"))
            shown.append(Shown(start, end, lines))
    if not events and not findings:
        findings.append(f"{name}: holds no cue")
    return shown, findings


def _covered(text: str, suffix: str, name: str, findings: list[str]) -> Iterator[str]:
    """Times and covered lines of text; numbers, identifiers, comments and styles of a file are left out."""
    lines = [*text.splitlines(), ""]
    # Whether a comment goes on, whether a cue does, and whether it has words.
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
            # An empty line ends a cue of WebVTT. A line of blanks does not: YouTube's captions have one before or
            # after their words, and an editor that takes the blanks away leaves a cue that begins with an empty line.
            inside = inside and (suffix == ".srt" or not worded or line != "")
        elif aside or (suffix == ".vtt" and begins and _ASIDE.match(line)):
            aside = True
        elif inside:
            worded = True
            yield _MARK + line.translate(_COVER)
        else:
            findings.append(f"{name}, line {number}: belongs to no cue: {line.strip()[:40]!r}")


def _is_time(line: str, suffix: str) -> bool:
    before, _, after = line.partition("-->")
    stamps = (before.strip(), (after.split() or [""])[0])
    return all(_STAMPS[suffix].fullmatch(stamp) for stamp in stamps)
