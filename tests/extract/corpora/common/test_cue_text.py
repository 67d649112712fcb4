"""Words of cues: what is not said is off, what is said stays, and times of words are those of the file."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.corpora.common.cue_text import CueWord, clean, cue_lines, join_words, split_at, word_starts
from extract.corpora.common.subtitles import read_subtitles


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("It&#39;s Tom &amp; me", "It's Tom & me"),
        ("it&amp;#39;s &#x26; &quot;so&quot;&nbsp;be it", 'it\'s & "so" be it'),
        ("AT&T, R&D, ?a=1&param=2, &notit;", "AT&T, R&D, ?a=1&param=2, &notit;"),
        ("{\\an8}{\\i1}Up\\hthere\\Nnow\\nthen", "Up there now then"),
        ("C:\\New\\home", "C:\\New\\home"),
        ("<i>Up</i> <font color='red'>there</font><br/>now <c.yellow>then</c>", "Up there now then"),
        ("a < b and <3 and <what>", "a < b and <3 and <what>"),
        ("\ufeff\u200eHi\u200f\u202a\u200b", "Hi"),
        ("co\xadop\u200derate\u2060d", "cooperated"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d👧", "👩\u200d👧"),
        ("don\x92t\x00\x07", "don’t"),
        ("a\xa0\u2003b\u3000 c", "a b c"),
        ("&lt;i&gt;so&lt;/i&gt;", "so"),
        ("", ""),
    ],
)
def test_markup_entities_and_what_cannot_be_seen_are_off(written: str, said: str) -> None:
    assert clean(written) == said


HOSTILE = (
    "&",
    "amp;",
    "lt;",
    "gt;",
    "#39;",
    "#x200d;",
    "<",
    ">",
    "i",
    "/",
    "{\\",
    "}",
    "\\N",
    "\\h",
    "C:",
    "\\",
)
HIDDEN = ("\u200c", "\u200d", "\u200e", "\xad", "\x92", "\x85", "\x00", "\U000f0000", "م", "é", " ", "a")


@given(st.lists(st.sampled_from((*HOSTILE, *HIDDEN)), max_size=20).map("".join) | st.text())
def test_cleaning_a_clean_text_changes_nothing(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned == " ".join(cleaned.split())


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece", ["<i ", "&amp;", "{\\", "\u200d", "[", "(a) ", "x ♪", "- a. ", ">> ", "ANN:\\N", "*a"]
)
def test_a_long_line_of_marks_is_read_soon(piece: str) -> None:
    text = f"1\n00:00:00,000 --> 00:00:01,000\n{piece * 20_000}x\n"
    found = read_subtitles(text.encode(), "a.srt")
    assert found.cues or found.findings


def test_words_have_the_times_and_voices_of_the_file() -> None:
    line = "we<00:00:01.200><c> should</c><01:00:00.5> have<00:00:02.000>"
    assert cue_lines([line, " "]) == ((CueWord("we"), CueWord("should", 1.2), CueWord("have", 3600.5)),)
    voices = cue_lines(["<v.loud Mary &amp; Tom>Hi", "there</v> so<v Bob>Yes"])
    assert voices == (
        (CueWord("Hi", None, "Mary & Tom"),),
        (CueWord("there", None, "Mary & Tom"), CueWord("so"), CueWord("Yes", None, "Bob")),
    )


def test_letters_without_blanks_stay_one_word() -> None:
    assert cue_lines(["你<00:00:01.000><c>好</c>"]) == ((CueWord("你好"),),)


def test_marks_that_a_file_brings_along_are_no_times() -> None:
    assert cue_lines(["\U000f0000a &#xF0000;b"]) == ((CueWord("a"), CueWord("b")),)


def test_a_part_of_words_may_begin_inside_of_one() -> None:
    words = (CueWord("小明：你好"), CueWord("吗", 2.0))
    assert split_at(words, [3, 7]) == [(CueWord("你好"), CueWord("吗", 2.0))]
    assert split_at(words, [0, 2, 6, 7]) == [(CueWord("小明"),), (CueWord("：你好"),), (words[1],)]


def test_words_begin_as_told_and_between_in_proportion_to_length() -> None:
    words = (CueWord("abc"), CueWord("abcdefg"), CueWord("abc", 4.0), CueWord("abc"))
    assert word_starts(words, 1.0, 6.0) == [1.0, 2.0, 4.0, 5.0]
    assert word_starts((CueWord("a", 9.0), CueWord("b", 0.5)), 1.0, 2.0) == [2.0, 2.0]
    assert word_starts((), 1.0, 2.0) == []


some_words = st.lists(
    st.builds(CueWord, st.text("abc", min_size=1), st.none() | st.floats(0, 9)), min_size=1, max_size=9
)


@given(some_words, st.floats(0, 5), st.floats(0, 5))
def test_words_begin_in_their_order_and_inside_of_the_cue(
    words: list[CueWord], start: float, length: float
) -> None:
    times = word_starts(words, start, start + length)
    assert times == sorted(times) and len(times) == len(words)
    assert times[0] >= start - 1e-3 and times[-1] <= start + length + 1e-3


@given(some_words, st.lists(st.integers(0, 20), min_size=2, max_size=6).map(sorted))
def test_parts_of_words_are_parts_of_their_text(words: list[CueWord], bounds: list[int]) -> None:
    found = split_at(tuple(words), bounds)
    text = join_words(words)
    assert [join_words(part).replace(" ", "") for part in found] == [
        text[a:b].replace(" ", "") for a, b in pairwise(bounds)
    ]
