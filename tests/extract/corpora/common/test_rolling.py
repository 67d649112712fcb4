"""Rolling captions: whatever shape a program gives them, every word is said once, at a time that it can be said at."""

import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.corpora.common.subtitles import Cue, read_subtitles

LINES = ("we should have left an hour ago", "nobody told me about it", "well now you know")


def clock(seconds: float) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


def youtube(lines: Sequence[str], first_at: float = 0.0) -> str:
    """What YouTube writes: a line with the times of its words below the last one, then 10 ms of the line alone."""
    cues, before = [], " "
    for number, line in enumerate(lines):
        start = first_at + number * 3.0
        first, *more = line.split()
        step = 2.5 / (len(more) + 1)
        timed = "".join(f"<{clock(start + step * n)}><c> {word}</c>" for n, word in enumerate(more, 1))
        place = "align:start position:0%"
        cues.append(f"{clock(start)} --> {clock(start + 2.99)} {place}\n{before}\n{first}{timed}\n")
        cues.append(f"{clock(start + 2.99)} --> {clock(start + 3.0)} {place}\n{line}\n \n")
        before = line
    return "WEBVTT\nKind: captions\nLanguage: en\n\n" + "\n".join(cues)


def as_srt(vtt: str) -> str:
    """The same as converters write it."""
    body = re.sub(r"<[^>]*>", "", vtt.partition("\n\n")[2])
    return re.sub(r"(\d\d)\.(\d{3})", r"\1,\2", re.sub(r" align.*", "", body))


def read(text: str, name: str) -> list[Cue]:
    found = read_subtitles(text.encode(), name)
    assert not found.findings
    return found.cues


SHAPES = {
    "as written": lambda vtt: (vtt, "a.vtt"),
    "blanks stripped": lambda vtt: (vtt.replace("\n \n", "\n\n"), "a.vtt"),
    "without blank lines": lambda vtt: (vtt.replace("\n \n", "\n"), "a.vtt"),
    "srt": lambda vtt: (as_srt(vtt), "a.srt"),
    "srt without blank lines": lambda vtt: (as_srt(vtt).replace("\n \n", "\n"), "a.srt"),
    "without word times": lambda vtt: (re.sub(r"<[^>]*>", "", vtt), "a.vtt"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_no_sentence_of_automatic_captions_is_said_twice(shape: str) -> None:
    cues = read(*SHAPES[shape](youtube(LINES)))
    assert [cue.text for cue in cues] == list(LINES)
    for number, cue in enumerate(cues):
        assert cue.start == 3.0 * number and 3.0 * number + 2.9 < cue.end <= 3.0 * number + 3.0


letters = st.text("abcdefgh", min_size=1, max_size=6)
some_lines = st.lists(st.lists(letters, min_size=1, max_size=6).map(" ".join), min_size=2, max_size=8)


@given(some_lines, st.sampled_from(sorted(SHAPES)))
def test_every_word_of_any_rolling_captions_is_said_once_and_in_order(lines: list[str], shape: str) -> None:
    cues = read(*SHAPES[shape](youtube(lines)))
    assert [cue.text for cue in cues] == lines
    assert all(a.start < a.end <= b.start for a, b in pairwise(cues))


def test_sentences_are_put_together_where_captions_have_full_stops() -> None:
    lines = ("Hello everyone. Today we", "talk about Dr. Smith and", "his dog. Is it old?")
    cues = read(youtube(lines), "a.vtt")
    assert [cue.text for cue in cues] == [
        *("Hello everyone.", "Today we talk about Dr. Smith and his dog.", "Is it old?"),
    ]
    assert cues[0].start == 0.0 and cues[0].end == cues[1].start == 1.25  # as the word's time says
    assert cues[1].end == cues[2].start == 7.0 and cues[2].end == 8.99


def test_a_sentence_ends_at_a_pause_and_at_a_speaker() -> None:
    later = youtube(("never again. >> No >> yes.", "ANN: fine."), 60.0).partition("\n\n")[2]
    cues = read(youtube(("So I said. We",)) + "\n" + later, "a.vtt")
    assert [(cue.speaker, cue.text) for cue in cues] == [
        *((None, "So I said."), (None, "We"), (None, "never again."), (None, "No"), (None, "yes.")),
        ("ANN", "fine."),
    ]
    assert cues[1].end == 2.99 and cues[2].start == 60.0


def test_music_between_rolling_captions_is_no_utterance() -> None:
    found = read_subtitles(youtube(("[Music]", *LINES, "[Applause]")).encode(), "a.vtt")
    assert [cue.text for cue in found.cues] == list(LINES)
    assert dict(found.notes)["no_speech"].endswith("no utterances: 2 ([Music], [Applause])")
    assert (
        dict(found.notes)["rolling_captions"] == "a.vtt: 10 cues that roll over each other are 3 utterances"
    )


def test_music_between_sentences_is_part_of_none() -> None:
    found = read_subtitles(youtube(("So I said. We", "[Music]", "never left.")).encode(), "a.vtt")
    assert [cue.text for cue in found.cues] == ["So I said.", "We", "never left."]


def test_a_sentence_without_an_end_ends_with_a_cue() -> None:
    cues = read(youtube(("It begins. And", *["so on"] * 8, "it ends.")), "a.vtt")
    assert [cue.text for cue in cues] == ["It begins.", "And" + " so on" * 7, "so on it ends."]
    assert cues[1].end - cues[1].start <= 24.0


def test_captions_of_television_that_roll_over_three_lines_are_taken_apart() -> None:
    shown = (">> WELCOME TO", "TONIGHT'S SHOW. WE", "HAVE A GUEST.", ">> HELLO.")
    cues = ["\n".join(shown[max(0, n - 2) : n + 1]) for n in range(4)]
    text = "\n".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{c}\n" for n, c in enumerate(cues))
    found = read(text, "a.srt")
    assert [cue.text for cue in found] == ["WELCOME TO TONIGHT'S SHOW.", "WE HAVE A GUEST.", "HELLO."]
    assert (found[0].start, found[-1].start) == (0.0, 3.0)  # what marks a speaker takes no time


def test_a_sentence_that_is_shown_once_for_each_word_is_one_utterance() -> None:
    words = ["how", "was", "your", "flight"]
    cues = [" ".join(f"<u>{w}</u>" if w == now else w for w in words) for now in words]
    text = "\n".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{c}\n" for n, c in enumerate(cues))
    assert read(text, "a.srt") == [Cue(0.0, 4.0, None, "how was your flight")]


def test_a_line_that_grows_is_one_utterance() -> None:
    words = ["how", "was", "your", "flight"]
    cues = [" ".join(words[: n + 1]) for n in range(4)]
    text = "\n".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{c}\n" for n, c in enumerate(cues))
    assert read(text, "a.srt") == [Cue(0.0, 4.0, None, "how was your flight")]


def test_captions_of_two_lines_that_overlap_end_where_the_next_one_begins() -> None:
    text = "\n".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n + 2},000\nline {n}\n" for n in range(6))
    cues = read(text, "a.srt")
    assert [(cue.start, cue.end) for cue in cues] == [*((n, n + 1.0) for n in range(5)), (5.0, 7.0)]


@pytest.mark.parametrize(
    "texts",
    [
        ("ANN: No.", "ANN: No.", "BOB: No."),
        ("No.", "No.", "What?", "Why?"),
        ("<v Ann>Come on.", "<v Bob>Come on.", "<v Ann>No."),
        ("- Come on.\n- No.", "- No.\n- Yes.", "Well.", "So?", "Oh.", "Hm.", "Yes."),
        ("No", "No way", "Why?"),
    ],
)
def test_what_two_people_say_alike_is_said_twice(texts: tuple[str, ...]) -> None:
    text = "\n".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n + 1},000\n{c}\n" for n, c in enumerate(texts))
    found = read_subtitles(text.encode(), "a.srt")
    assert "rolling_captions" not in dict(found.notes)
    assert sum(t.count("\n") + 1 for t in texts) == len(found.cues)


def test_people_who_talk_at_once_keep_their_times() -> None:
    text = "\n".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n + 4},000\nline {n}\n" for n in range(5))
    assert [cue.end - cue.start for cue in read(text, "a.srt")] == [4.0] * 5
