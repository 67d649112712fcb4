"""Subtitles (.srt, .vtt) to utterances: what is shown (cue_files.py), its words (cue_text.py), once each (rolling.py),
without what nobody says (asides.py), by speaker (speakers.py).

Turns of one cue share its time in proportion to their length, and by the times of words where the file has them. A cue
without a name that goes on with the sentence before is said by the same speaker; so is one without `>>` in a file
that marks every change of speaker so. Nobody else is guessed at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Final

from extract.corpora.common.asides import is_aside, parted
from extract.corpora.common.cue_files import SUFFIXES, Shown, read_cues
from extract.corpora.common.cue_text import Passage, begins, text_of, words_of
from extract.corpora.common.listing import some
from extract.corpora.common.rolling import PAUSE, unrolled
from extract.corpora.common.speakers import Turn, ended, is_label, turns_of

__all__ = ["SUFFIXES", "UNKNOWN", "Cue", "Transcript", "decode", "read_subtitles"]

UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Cue:
    """A stretch of speech of one speaker; seconds from the start of the medium, None where the file names nobody."""

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
        names_in_text: whether `NAME: text` and `[NAME] text` name a speaker; off, such names stay in the text.
    """
    try:
        text = decode(content, encoding)
    except ValueError as error:
        return Transcript(findings=[f"{name}: {error}"])
    shown, findings = read_cues(text, name)
    found = Transcript(findings=findings)
    ordered = sorted(
        shown, key=lambda cue: (cue.start, cue.end)
    )  # stable: the file's order decides among equals
    passages = [Passage(cue.start, cue.end, words_of(cue.lines)) for cue in ordered]
    once = unrolled(ordered, passages)
    counts = _Counts()
    found.cues = list(_cues(passages if once is None else once, names_in_text, counts))
    if shown and not found.cues:
        found.findings.append(
            f"{name}: holds no speech: {some(dict.fromkeys(counts.asides)) or 'names alone'}"
        )
    rolled = (
        ""
        if once is None
        else f"{len(shown)} cues that roll over each other are {len(found.cues)} utterances"
    )
    found.notes = [(reason, f"{name}: {told}") for reason, told in _notes(found.cues, shown, rolled, counts)]
    return found


@dataclass
class _Counts:
    """What is told of cues: how many are shared, how many turns go on, what is no speech."""

    shared: int = 0
    gone_on: int = 0
    asides: list[str] = field(default_factory=list)


def _cues(passages: Sequence[Passage], names_in_text: bool, counts: _Counts) -> Iterator[Cue]:
    """Utterances of passages that are in order of time."""
    words = [word for passage in passages for word in passage.words]
    arrows = any(word.text.startswith(">>") for word in words)
    # At the end of every other cue, so that a cue without one is known to go on.
    stops = sum(ended(text_of(passage.words)) for passage in passages) * 2 >= len(passages)
    before: Cue | None = None
    for passage in passages:
        if not passage.lines:
            yield Cue(passage.start, passage.end, None, "")
            continue
        keep = [
            is_label(line, names_in_text) and n + 1 < len(passage.lines)
            for n, line in enumerate(passage.lines)
        ]
        lines, asides = parted(passage.lines, keep)
        turns = turns_of(lines, names_in_text)
        asides += [text_of(turn.words) for turn in turns if turn.words and is_aside(text_of(turn.words))]
        counts.asides += asides
        turns = [turn for turn in turns if not is_aside(text_of(turn.words))]
        counts.shared += sum(bool(turn.words) for turn in turns) > 1
        for turn, start, end in _timed(turns, passage):
            speaker = turn.speaker
            if before is not None and not turn.marked and before.speaker and start - before.end <= PAUSE:
                same = arrows or _goes_on(before.text, text_of(turn.words), stops)
                speaker = before.speaker if same else None
                counts.gone_on += same
            before = Cue(start, end, speaker, text_of(turn.words))
            if turn.words:
                yield before


def _goes_on(before: str, text: str, stops: bool) -> bool:
    """Whether a text goes on with the sentence before it; without full stops in the file only a comma says so.

    Args:
        before: empty for a name alone.
    """
    if not before or before.endswith((",", ";", "，", "、")):
        return True
    broken_off = before.endswith(("...", "…"))
    if text[:1].islower() or text.startswith(("...", "…")):
        return stops and (broken_off or not ended(before))
    return stops and not ended(before) and not before.endswith(("-", "–", "—"))


def _timed(turns: Sequence[Turn], passage: Passage) -> Iterator[tuple[Turn, float, float]]:
    """Turns with the seconds at which they begin and end."""
    words = tuple(chain.from_iterable(turn.words for turn in turns))
    times = [*begins(words, passage.start, passage.end), passage.end]
    place = 0
    for turn in turns:
        yield turn, times[place], times[place + len(turn.words)]
        place += len(turn.words)


def _notes(
    cues: Sequence[Cue], shown: Sequence[Shown], rolled: str, counts: _Counts
) -> Iterator[tuple[str, str]]:
    if rolled:
        yield "rolling_captions", rolled
    if counts.asides:
        listed = some(dict.fromkeys(counts.asides))
        yield "no_speech", f"sounds and songs that are no utterances: {len(counts.asides)} ({listed})"
    in_file = {
        "not_in_order": sum(b.start < a.start for a, b in pairwise(shown)),
        "shared_cue": counts.shared,
    }
    for reason, count in in_file.items():
        if count:
            how = (
                " hold several turns, which share its time by their length" if reason == "shared_cue" else ""
            )
            yield reason, f"{count} of {len(shown)} cues{how}"
    in_turns = {
        "overlap": sum(b.start < a.end for a, b in pairwise(cues)),
        "empty_text": sum(not cue.text for cue in cues),
        "zero_length": sum(cue.end == cue.start for cue in cues),
        "speaker_goes_on": counts.gone_on,
        "no_speaker": sum(cue.speaker is None for cue in cues),
    }
    for reason, count in in_turns.items():
        if count:
            yield reason, f"{count} of {len(cues)} cues"
