"""Subtitles: every cue is read or told, whatever the file's order, encoding and line ends; speakers are not guessed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.corpora.subtitles import Cue, Transcript, read_subtitles, spoken

SRT = "1\n00:00:01,000 --> 00:00:02,500\nROSS: Hi.\n\n2\n00:00:03,000 --> 00:00:04,000\nWhat?\n"
VTT = """WEBVTT - a talk
Kind: captions

NOTE this is
no cue

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start position:0%
<v Mary Ann>Hello &amp; <i>welcome</i></v>

00:03.000 --> 00:04.000
<v.loud Bob>Hi
<v Mary Ann>there
"""


def read(text: str | bytes, name: str = "a.srt", names_in_text: bool = True) -> Transcript:
    return read_subtitles(
        text if isinstance(text, bytes) else text.encode(), name, names_in_text=names_in_text
    )


def clock(ms: int, mark: str = ",") -> str:
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def srt(cues: list[tuple[int, int, str]], mark: str = ",") -> str:
    return "\n".join(
        f"{n}\n{clock(a, mark)} --> {clock(b, mark)}\n{t}\n" for n, (a, b, t) in enumerate(cues, 1)
    )


def test_cues_have_times_speakers_and_words() -> None:
    found = read(SRT)
    assert found.cues == [Cue(1.0, 2.5, "ROSS", "Hi."), Cue(3.0, 4.0, None, "What?")]
    assert found.findings == [] and found.notes == [("no_speaker", "a.srt: 1 of 2 cues")]


def test_voice_spans_name_speakers_and_what_is_no_cue_is_left_out() -> None:
    found = read(VTT, "a.vtt")
    assert found.findings == []
    assert found.cues == [
        Cue(1.0, 2.5, "Mary Ann", "Hello & welcome"),
        Cue(3.0, 4.0, "Bob/Mary Ann", "Hi there"),
    ]
    assert ("group_speaker", "a.vtt: 1 of 2 cues") in found.notes


def test_word_times_of_automatic_captions_make_no_cues_of_their_own() -> None:
    text = (
        "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\none<00:00:01.500><c> two</c><00:00:02.000><c> three</c>\n"
    )
    assert read(text, "a.vtt").cues == [Cue(1.0, 3.0, None, "one two three")]


@pytest.mark.parametrize(
    ("lines", "speaker", "words"),
    [
        (["MARY: Hello"], "MARY", "Hello"),
        ([">> Mary Ann: Hello"], "Mary Ann", "Hello"),
        (["Dr. O'Neil:", "Hello"], "Dr. O'Neil", "Hello"),
        (["小明：你好"], "小明", "你好"),
        (["- ROSS: Hi", "- RACHEL: Oh"], "ROSS/RACHEL", "Hi Oh"),
        (["- Hi", "- Oh"], None, "Hi Oh"),
        (["- Just me"], None, "- Just me"),
        (["He said: no"], None, "He said: no"),
        (["at 10: 30"], None, "at 10: 30"),
        (["See http://a.b"], None, "See http://a.b"),
        (["The Four Word Name: no"], None, "The Four Word Name: no"),
        (["{\\an8}<i>Up</i> there", "<font color='red'>now</font>"], None, "Up there now"),
        (["a < b and <3"], None, "a < b and <3"),
        ([""], None, ""),
    ],
)
def test_speakers_are_named_by_the_rules_only(lines: list[str], speaker: str | None, words: str) -> None:
    assert spoken(lines) == (speaker, words)


def test_names_stay_in_the_text_where_the_rule_is_off() -> None:
    assert read(SRT, names_in_text=False).cues[0] == Cue(1.0, 2.5, None, "ROSS: Hi.")


def test_overlapping_and_unordered_cues_are_put_in_order_and_told() -> None:
    found = read(srt([(5000, 9000, "b"), (1000, 6000, "a"), (5000, 9000, "c")]))
    assert [cue.text for cue in found.cues] == ["a", "b", "c"]
    assert dict(found.notes)["not_in_order"] == "a.srt: 1 of 3 cues"
    assert dict(found.notes)["overlap"] == "a.srt: 2 of 3 cues"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"WEBVTT\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_a_finding(content: bytes) -> None:
    assert read(content, "a.vtt").findings == ["a.vtt: holds no cue"]
    assert read(b"", "a.srt").findings == ["a.srt: holds no cue"]


def test_cues_without_words_are_kept_and_told() -> None:
    found = read(srt([(0, 1000, ""), (1000, 1000, "<i></i>"), (2000, 3000, "x")]))
    assert [cue.text for cue in found.cues] == ["", "", "x"]
    assert {"empty_text", "zero_length"} <= set(dict(found.notes)) and not found.findings


def test_ten_thousand_cues_are_read() -> None:
    found = read(srt([(n * 1000, n * 1000 + 900, f"turn {n}") for n in range(10_000)]))
    assert len(found.cues) == 10_000 and found.cues[-1] == Cue(9999.0, 9999.9, None, "turn 9999")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends_change_nothing(encoding: str, end: str) -> None:
    text = SRT.replace("Hi.", "Häi.")
    assert read(text.replace("\n", end).encode(encoding)).cues == read(text).cues


def test_a_wrong_encoding_is_told_and_the_right_one_can_be_named() -> None:
    content = SRT.replace("Hi.", "Héllo").encode("cp1252")
    (told,) = read(content).findings
    assert "a.srt: not UTF-8 (byte" in told and read(content).cues == []
    assert read_subtitles(content, "a.srt", "cp1252").cues[0].text == "Héllo"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (srt([(2000, 1000, "x")]), "cue 1: its times run backwards (2 s to 1 s)"),
        ("1\n100:00:00,000 --> 100:00:01,000\nx\n", "line 2: unreadable times"),
        ("1\n00:00:01,000 --> soon\nx\n", "line 2: unreadable times"),
        ("1\n-->  00:00:01,000\nx\n", "line 2: unreadable times"),
        ("hello\n\n" + SRT, "line 1: belongs to no cue: 'hello'"),
        ("a\ufdd0" + SRT, "no characters"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(text: str, told: str) -> None:
    assert any(told in finding for finding in read(text).findings)


def test_numbers_and_times_in_a_text_belong_to_it() -> None:
    words = ["I turned\n42", "42", "from 00:00:01,000 to 00:00:02,000", "C:\\New", "a\n\nb"]
    found = read(srt([(n * 1000, n * 1000 + 900, text) for n, text in enumerate(words)]))
    assert found.findings == [] and [cue.text for cue in found.cues] == [" ".join(w.split()) for w in words]
    glued = "1\n00:00:01,000 --> 00:00:02,000\na\n2\n00:00:03,000 --> 00:00:04,000\nb"
    assert [cue.text for cue in read(glued).cues] == ["a", "b"]


said = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=30).filter(
    lambda text: not re.search(r"-->|[<>&{}]", text)
)
times = st.tuples(st.integers(0, 359_998_000), st.integers(0, 1999))


@given(st.lists(st.tuples(times, said), min_size=1, max_size=8), st.sampled_from([".srt", ".vtt"]))
def test_times_and_texts_of_any_transcript_are_read(
    rows: list[tuple[tuple[int, int], str]], suffix: str
) -> None:
    cues = [(start, min(start + length, 359_999_999), text) for (start, length), text in rows]
    text = srt(cues) if suffix == ".srt" else "WEBVTT\n\n" + srt(cues, ".")
    found = read(text, "a" + suffix, names_in_text=False)
    dashed = [" ".join(t.split()) for *_, t in cues]
    expected = sorted(
        ((a / 1000, b / 1000, t) for (a, b, _), t in zip(cues, dashed, strict=True)), key=lambda c: c[:2]
    )
    assert found.findings == [] and [(c.start, c.end, c.text) for c in found.cues] == expected


@given(st.binary(max_size=300), st.sampled_from(["a.srt", "a.vtt"]))
def test_any_bytes_give_cues_or_findings(content: bytes, name: str) -> None:
    found = read(content, name)
    assert found.cues or found.findings


@given(
    st.lists(
        st.sampled_from(
            ["1", "", "x", "NOTE", "00:00:01,000 --> 00:00:02,000", "00:01.000 --> 00:02.000", "-->"]
        )
    )
)
def test_any_order_of_lines_gives_cues_or_findings(lines: list[str]) -> None:
    for name in ("a.srt", "a.vtt"):
        found = read("\n".join(lines), name)
        assert found.cues or found.findings
