"""Subtitles (.srt, .vtt) to cues: pysubs2 reads times and lines, the rules for speakers are ours.

A speaker is, in this order: the annotation of WebVTT voice spans (`<v Mary>Hello</v>`); the name before a colon where
a cue, or a line of it that begins with a dash, begins with one (`MARY: Hello`, `>> Mary Ann: Hello`, up to three words
without a small initial). A cue of several speakers has their names joined with a slash; a turn among them without a
name is said by `unknown`. Nobody else is guessed at.
"""

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import pysubs2

UNKNOWN: Final = "unknown"
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
_VOICE: Final = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_TAG: Final = re.compile(r"</?(?:b|i|u|s|c|v|font|lang|ruby|rt)(?:[.\s][^>]*)?>|<[\d:.]+>|\{\\[^}]*\}", re.I)
_DASH: Final = re.compile(r"\s*[-–—]\s*(?=\S)")
_NAMED: Final = re.compile(r"(?:>>+\s*)?([^\W\d_][\w'’.&-]*(?: [\w'’.&-]+){0,2})(?::\s+|：\s*)(?=\S)")


@dataclass(frozen=True)
class Cue:
    """A stretch of speech; seconds from the start of the medium, no speaker where the file names none."""

    start: float
    end: float
    speaker: str | None
    text: str


@dataclass
class Transcript:
    """Cues by time, what was noticed (reason, detail), and what makes the file unusable."""

    cues: list[Cue] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def decode(content: bytes, encoding: str = "utf-8") -> str:
    """Text of a file; a byte order mark decides, then the encoding that the user names. Nothing is guessed.

    Raises:
        ValueError: in words, with the place of the first byte that does not fit.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        name = "utf-16"
    else:
        name = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else encoding
    try:
        return content.decode(name)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not {name.removesuffix('-sig').upper()} (byte {error.start}); save it as UTF-8 or name its encoding"
        ) from error


def read_subtitles(
    content: bytes, name: str, encoding: str = "utf-8", names_in_text: bool = True
) -> Transcript:
    """Read a subtitle file whose name ends in one of SUFFIXES.

    Args:
        names_in_text: whether `NAME: text` names a speaker; off, such names stay in the text.
    """
    found = Transcript()
    suffix = name[-4:].lower()
    try:
        text = decode(content, encoding)
    except ValueError as error:
        found.findings.append(f"{name}: {error}")
        return found
    if _STRANGE.search(text):
        found.findings.append(f"{name}: holds code points that are no characters (U+FDD0 to U+FDD2)")
        return found
    covered = "\n".join(_covered(text, suffix, name, found.findings))
    events = pysubs2.SSAFile.from_string(covered, suffix[1:], keep_html_tags=True).events if covered else []
    for number, event in enumerate(events, start=1):
        if event.end < event.start:
            times = f"{event.start / 1000:g} s to {event.end / 1000:g} s"
            found.findings.append(f"{name}, cue {number}: its times run backwards ({times})")
        else:
            lines = [line.translate(_UNCOVER) for line in event.text.split("\\N")]
            speaker, said = spoken(lines, suffix == ".vtt", names_in_text)
            found.cues.append(Cue(event.start / 1000, event.end / 1000, speaker, said))
    if not events and not found.findings:
        found.findings.append(f"{name}: holds no cue")
    found.notes += _notes(found.cues, name)
    found.cues.sort(key=lambda cue: (cue.start, cue.end))  # stable: the file's order decides between equals
    return found


def _covered(text: str, suffix: str, name: str, findings: list[str]) -> Iterator[str]:
    """Times and covered lines of text; numbers, identifiers, comments and styles of a file are left out."""
    lines = [*text.splitlines(), ""]
    aside, inside = suffix == ".vtt", False
    for number, line in enumerate(lines[:-1], start=1):
        following = lines[number]
        begins = number == 1 or not lines[number - 2].strip()
        if _ARROW.search(line):
            inside = _is_time(line, suffix)
            aside = not inside
            if inside:
                yield "".join(line.partition("-->")[:2]) + " " + line.partition("-->")[2].split()[0]
            else:
                findings.append(f"{name}, line {number}: unreadable times {line.strip()!r}")
        elif _ARROW.search(following) and (_NUMBER.fullmatch(line) or (begins and suffix == ".vtt")):
            inside = False  # the number or the name of the next cue
        elif not line.strip():
            aside = False
            inside = inside and suffix == ".srt"  # an empty line ends a cue of WebVTT only
        elif aside or (suffix == ".vtt" and begins and _ASIDE.match(line)):
            aside = True
        elif inside:
            yield _MARK + line.translate(_COVER)
        else:
            findings.append(f"{name}, line {number}: belongs to no cue: {line.strip()[:40]!r}")


def _is_time(line: str, suffix: str) -> bool:
    before, _, after = line.partition("-->")
    stamps = (before.strip(), (after.split() or [""])[0])
    return all(_STAMPS[suffix].fullmatch(stamp) for stamp in stamps)


def spoken(lines: Sequence[str], vtt: bool = False, names_in_text: bool = True) -> tuple[str | None, str]:
    """Speaker and words of a cue's lines, without markup; the words are joined by single blanks."""
    voices = [voice for line in lines for voice in _VOICE.findall(line)] if vtt else []
    plain = [_TAG.sub("", line) for line in lines]
    if vtt:
        plain = [html.unescape(line) for line in plain]
        voices = [html.unescape(voice) for voice in voices]
    dashed = [bool(_DASH.match(line)) for line in plain]
    named_first = names_in_text and not voices and _name(plain[0].strip())[0] is not None
    if sum(dashed) > 1 or (any(dashed) and named_first):
        turns = [
            _DASH.sub("", line, count=1) if dash else line for line, dash in zip(plain, dashed, strict=True)
        ]
    else:
        turns = [" ".join(plain)]
    parted = [_name(turn.strip()) if names_in_text and not voices else (None, turn) for turn in turns]
    names = voices
    if any(name for name, _ in parted):
        # A line without a dash goes on with the turn before it.
        begins = [place == 0 or dash for place, dash in enumerate(dashed)]
        names = [name or UNKNOWN for (name, _), new in zip(parted, begins, strict=False) if name or new]
    speaker = "/".join(dict.fromkeys(" ".join(name.split()) for name in names)) or None
    return speaker, " ".join(word for _, said in parted for word in said.split())


def _name(turn: str) -> tuple[str | None, str]:
    match = _NAMED.match(turn)
    if match is None or any(word[0].islower() for word in match[1].split()):
        return None, turn
    return match[1], turn[match.end() :]


def _notes(cues: Sequence[Cue], name: str) -> Iterator[tuple[str, str]]:
    before = list(pairwise(cues))
    ordered = sorted(cues, key=lambda cue: (cue.start, cue.end))
    counts = {
        "not_in_order": sum(b.start < a.start for a, b in before),
        "overlap": sum(b.start < a.end for a, b in pairwise(ordered)),
        "empty_text": sum(not cue.text for cue in cues),
        "zero_length": sum(cue.end == cue.start for cue in cues),
        "group_speaker": sum("/" in (cue.speaker or "") for cue in cues),
        "no_speaker": sum(UNKNOWN in (cue.speaker or UNKNOWN).split("/") for cue in cues),
    }
    for reason, count in counts.items():
        if count:
            yield reason, f"{name}: {count} of {len(cues)} cues"
