"""Read subtitles (.srt, .vtt) into utterances.

Steps: read the cues (cue_files.py), clean their words (cue_text.py), remove repetitions (rolling.py), remove captions
that nobody speaks (asides.py), and find the speakers (speakers.py).

If a cue has several turns, its time is divided among them. The file's times of words are used if there are any;
otherwise each turn gets time in proportion to the length of its text. A cue without a name keeps the speaker of the
previous cue in two cases: it continues the previous sentence, or the file marks every change of speaker with `>>` and
this cue has no such mark. In all other cases the speaker is unknown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Final

from extract.corpora.common.asides import is_aside, split_asides
from extract.corpora.common.cue_files import SUFFIXES, RawCue, read_cues
from extract.corpora.common.cue_text import Passage, cue_lines, join_words, word_starts
from extract.corpora.common.listing import list_some
from extract.corpora.common.rolling import PAUSE_SECONDS, unroll
from extract.corpora.common.speakers import CueTurn, ends_sentence, is_speaker_line, turns_of

__all__ = ["SUFFIXES", "UNKNOWN", "Cue", "SubtitleTranscript", "decode", "read_subtitles"]

UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Cue:
    """Speech of one speaker: start and end in seconds, the speaker (None where the file names nobody), and the text."""

    start: float
    end: float
    speaker: str | None
    text: str


@dataclass
class SubtitleTranscript:
    """A subtitle file: cues in order of time, notes (reason, detail), and faults that make the file unusable."""

    cues: list[Cue] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def decode(content: bytes, encoding: str = "utf-8") -> str:
    """Decode the bytes of a file.

    A byte order mark decides the encoding; without one, the encoding that the user names is used. Nothing is guessed.

    Raises:
        ValueError: a byte does not fit the encoding; the message names the first such byte.
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
) -> SubtitleTranscript:
    """Read a subtitle file whose name ends in one of SUFFIXES.

    Args:
        content: bytes of the file.
        name: name of the file.
        encoding: encoding of files without a byte order mark.
        names_in_text: whether `NAME: text` and `[NAME] text` name a speaker; otherwise such names stay in the text.

    Returns:
        The utterances, notes on what was changed or left out, and faults. A file with faults cannot be used.
    """
    try:
        text = decode(content, encoding)
    except ValueError as error:
        return SubtitleTranscript(findings=[f"{name}: {error}"])
    raw_cues, findings = read_cues(text, name)
    found = SubtitleTranscript(findings=findings)
    ordered = sorted(
        raw_cues, key=lambda cue: (cue.start, cue.end)
    )  # stable: equal cues keep the file's order
    passages = [Passage(cue.start, cue.end, cue_lines(cue.lines)) for cue in ordered]
    once = unroll(ordered, passages)
    counts = _CueCounts()
    found.cues = list(_cues(passages if once is None else once, names_in_text, counts))
    if raw_cues and not found.cues:
        found.findings.append(
            f"{name}: holds no speech: {list_some(dict.fromkeys(counts.asides)) or 'names alone'}"
        )
    rolled = (
        ""
        if once is None
        else f"{len(raw_cues)} cues that roll over each other are {len(found.cues)} utterances"
    )
    found.notes = [
        (reason, f"{name}: {told}") for reason, told in _notes(found.cues, raw_cues, rolled, counts)
    ]
    return found


@dataclass
class _CueCounts:
    """Counts that `_cues` collects for the notes on a subtitle file.

    Attributes:
        shared: number of cues with several turns.
        continued: number of turns without a name that keep the speaker of the previous turn.
        asides: captions that nobody speaks.
    """

    shared: int = 0
    continued: int = 0
    asides: list[str] = field(default_factory=list)


def _cues(passages: Sequence[Passage], names_in_text: bool, counts: _CueCounts) -> Iterator[Cue]:
    """Turn subtitle passages into utterances, one per turn of a speaker, and add to `counts`.

    Args:
        passages: words with start and end, in order of time.
        names_in_text: whether `NAME: text` and `[NAME] text` name a speaker.
        counts: counts for the notes on the file; they are increased here.
    """
    words = [word for passage in passages for word in passage.words]
    arrows = any(word.text.startswith(">>") for word in words)
    # Most cues end a sentence, so a cue that does not is known to continue.
    stops = sum(ends_sentence(join_words(passage.words)) for passage in passages) * 2 >= len(passages)
    before: Cue | None = None
    for passage in passages:
        if not passage.lines:
            yield Cue(passage.start, passage.end, None, "")
            continue
        keep = [
            is_speaker_line(line, names_in_text) and n + 1 < len(passage.lines)
            for n, line in enumerate(passage.lines)
        ]
        lines, asides = split_asides(passage.lines, keep)
        turns = turns_of(lines, names_in_text)
        asides += [
            join_words(turn.words) for turn in turns if turn.words and is_aside(join_words(turn.words))
        ]
        counts.asides += asides
        turns = [turn for turn in turns if not is_aside(join_words(turn.words))]
        counts.shared += sum(bool(turn.words) for turn in turns) > 1
        for turn, start, end in _timed(turns, passage):
            speaker = turn.speaker
            if (
                before is not None
                and not turn.marked
                and before.speaker
                and start - before.end <= PAUSE_SECONDS
            ):
                same = arrows or _continues(before.text, join_words(turn.words), stops)
                speaker = before.speaker if same else None
                counts.continued += same
            before = Cue(start, end, speaker, join_words(turn.words))
            if turn.words:
                yield before


def _continues(before: str, text: str, stops: bool) -> bool:
    """Return whether a turn continues the sentence of the previous turn, so that the speaker is probably the same.

    Args:
        before: text of the previous turn; empty if this was only a speaker's name.
        text: text of the turn.
        stops: whether the file has full stops. If not, only a comma or semicolon at the end of `before` shows that the
            sentence goes on.
    """
    if not before or before.endswith((",", ";", "，", "、")):
        return True
    broken_off = before.endswith(("...", "…"))
    if text[:1].islower() or text.startswith(("...", "…")):
        return stops and (broken_off or not ends_sentence(before))
    return stops and not ends_sentence(before) and not before.endswith(("-", "–", "—"))


def _timed(turns: Sequence[CueTurn], passage: Passage) -> Iterator[tuple[CueTurn, float, float]]:
    """Divide the time of a passage among its turns: yield each turn with its start and end in seconds."""
    words = tuple(chain.from_iterable(turn.words for turn in turns))
    times = [*word_starts(words, passage.start, passage.end), passage.end]
    place = 0
    for turn in turns:
        yield turn, times[place], times[place + len(turn.words)]
        place += len(turn.words)


def _notes(
    cues: Sequence[Cue], raw_cues: Sequence[RawCue], rolled: str, counts: _CueCounts
) -> Iterator[tuple[str, str]]:
    if rolled:
        yield "rolling_captions", rolled
    if counts.asides:
        listed = list_some(dict.fromkeys(counts.asides))
        yield "no_speech", f"sounds and songs that are no utterances: {len(counts.asides)} ({listed})"
    in_file = {
        "not_in_order": sum(b.start < a.start for a, b in pairwise(raw_cues)),
        "shared_cue": counts.shared,
    }
    for reason, count in in_file.items():
        if count:
            how = (
                " hold several turns, which share its time by their length" if reason == "shared_cue" else ""
            )
            yield reason, f"{count} of {len(raw_cues)} cues{how}"
    in_turns = {
        "overlap": sum(b.start < a.end for a, b in pairwise(cues)),
        "empty_text": sum(not cue.text for cue in cues),
        "zero_length": sum(cue.end == cue.start for cue in cues),
        "speaker_goes_on": counts.continued,
        "no_speaker": sum(cue.speaker is None for cue in cues),
    }
    for reason, count in in_turns.items():
        if count:
            yield reason, f"{count} of {len(cues)} cues"
