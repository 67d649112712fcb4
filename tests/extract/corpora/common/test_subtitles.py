"""Subtitles: every cue is read or told, whatever the file's order, encoding and line ends; speakers are not guessed."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from extract.corpora.common.cue_text import clean
from extract.corpora.common.subtitles import Cue, SubtitleTranscript, read_subtitles

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


def read(text: str | bytes, name: str = "a.srt", names_in_text: bool = True) -> SubtitleTranscript:
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
        Cue(3.0, 3.333, "Bob", "Hi"),
        Cue(3.333, 4.0, "Mary Ann", "there"),
    ]
    told = "a.vtt: 1 of 2 cues hold several turns, which share its time by their length"
    assert found.notes == [("shared_cue", told)]


def test_word_times_of_automatic_captions_make_no_cues_of_their_own() -> None:
    text = (
        "WEBVTT\n\n00:00:01.000 --> 00:00:03.000\none<00:00:01.500><c> two</c><00:00:02.000><c> three</c>\n"
    )
    assert read(text, "a.vtt").cues == [Cue(1.0, 3.0, None, "one two three")]


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


said = st.text(st.characters(categories=("L", "N", "Zs"), include_characters=".,!?':/\\"), max_size=30)
times = st.tuples(st.integers(0, 359_998_000), st.integers(0, 1999))


@given(st.lists(st.tuples(times, said), min_size=1, max_size=8), st.sampled_from([".srt", ".vtt"]))
def test_times_and_texts_of_any_transcript_are_read(
    rows: list[tuple[tuple[int, int], str]], suffix: str
) -> None:
    cues = [(start, min(start + length, 359_999_999), text) for (start, length), text in rows]
    text = srt(cues) if suffix == ".srt" else "WEBVTT\n\n" + srt(cues, ".")
    found = read(text, "a" + suffix, names_in_text=False)
    assume("rolling_captions" not in dict(found.notes) and "\\" not in text)
    plain = ((a / 1000, b / 1000, " ".join(t.split())) for a, b, t in cues)
    expected = sorted(plain, key=lambda c: c[:2])
    assert found.findings == [] and [(c.start, c.end, c.text) for c in found.cues] == expected


PIECES = (
    *(
        "<v Ann>",
        "</v>",
        "<v >",
        "<00:00:01.000>",
        "<c>",
        "</i>",
        "<br>",
        "{\\an8}",
        "\\N",
        "\\h",
        "C:\\N",
        "&#39;",
        "&amp;#39;",
    ),
    *(
        "&#xF0000;",
        "&#0;",
        "&lt;i&gt;",
        "\U000f0001",
        "\u200e",
        "\u200d",
        "\xad",
        "\x92",
        "- ",
        ">> ",
        ">>",
        "ANN:",
        "Ann: ",
    ),
    *(
        "[x]",
        "[SPEAKER_00]:",
        "(",
        ")",
        "[",
        "♪",
        "# ",
        "*",
        "...",
        "Well.",
        "word",
        "no",
        " ",
        "你好。",
        "\n",
        "\n\n",
        "12",
    ),
)
texts = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@example([(0, 2, ""), (1, 2, ""), (2, 2, "..."), (3, 1, "")])  # rolling captions with cues without words
@example([(0, 2, "C:\\N<v Ann>\\h")])  # a voice ends the path
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5), texts), min_size=1, max_size=6))
def test_any_texts_of_cues_give_utterances_inside_of_their_times(rows: list[tuple[int, int, str]]) -> None:
    cues = [(start * 500, (start + length) * 500, text) for start, length, text in rows]
    for name, text in (("a.srt", srt(cues)), ("a.vtt", "WEBVTT\n\n" + srt(cues, "."))):
        for names in (True, False):
            found = read(text, name, names)
            assert found.cues or found.findings
            for cue in found.cues:
                assert 0 <= cue.start <= cue.end <= 7 and cue.text == clean(cue.text)
                assert cue.speaker is None or cue.speaker.strip()


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


def turns(*texts: str) -> list[tuple[str | None, str]]:
    cues = [(n * 2000, n * 2000 + 2000, text) for n, text in enumerate(texts)]
    return [(cue.speaker, cue.text) for cue in read(srt(cues)).cues]


def test_two_speakers_of_a_cue_are_two_utterances_that_share_its_time() -> None:
    found = read(srt([(1000, 3000, "- Hi.\n- Hello there, friend.")]))
    assert found.cues == [Cue(1.0, 1.32, None, "Hi."), Cue(1.32, 3.0, None, "Hello there, friend.")]
    assert found.notes[0][0] == "shared_cue"
    named = read(srt([(0, 2000, "ANN: Yes.\nBOB: No, no.")]))
    assert [(cue.speaker, cue.text) for cue in named.cues] == [("ANN", "Yes."), ("BOB", "No, no.")]
    assert named.cues[0].end == named.cues[1].start and named.cues[1].end == 2.0


def test_times_of_words_part_the_turns_of_a_cue() -> None:
    text = "WEBVTT\n\n00:00:01.000 --> 00:00:05.000\n<v Ann>So?<00:00:04.000><v Bob>Yes, it is.\n"
    assert read(text, "a.vtt").cues == [Cue(1.0, 4.0, "Ann", "So?"), Cue(4.0, 5.0, "Bob", "Yes, it is.")]


@pytest.mark.parametrize(
    "aside",
    [
        *("[APPLAUSE]", "(music)", "♪ la la ♪", "- [LAUGHS]", "# la la #", "[DOOR\nSLAMS]", "*music*", "♪"),
        *("♪ one\ntwo\nthree ♪", "ANN: [SIGHS]", "[Musik] [Applaus]", "（拍手）"),
    ],
)
def test_sounds_and_songs_are_no_utterances_and_are_counted(aside: str) -> None:
    found = read(srt([(0, 1000, "Thank you."), (1000, 2000, aside), (2000, 3000, "Good night.")]))
    assert [cue.text for cue in found.cues] == ["Thank you.", "Good night."]
    assert dict(found.notes)["no_speech"].startswith("a.srt: sounds and songs that are no utterances: 1 (")


def test_a_sound_above_a_text_is_taken_off_and_one_inside_stays() -> None:
    assert turns("[APPLAUSE]\nThank you.", "Oh [sighs] well.") == [
        (None, "Thank you."),
        (None, "Oh [sighs] well."),
    ]


def test_a_file_of_sounds_alone_says_what_it_holds() -> None:
    (told,) = read(srt([(0, 1000, "[APPLAUSE]"), (1000, 2000, "♪ la ♪")])).findings
    assert told == "a.srt: holds no speech: [APPLAUSE], ♪ la ♪"


@pytest.mark.parametrize(
    ("texts", "speakers"),
    [
        (("HOST (laughing): Welcome back,", "and good evening."), ["HOST", "HOST"]),
        (("HOST: We begin with", "Paris today.", "It rains."), ["HOST", "HOST", None]),
        (("ANN: I thought...", "...that you knew."), ["ANN", "ANN"]),
        (("ANN: I thought...", "You did."), ["ANN", None]),
        (("ANN: But I--", "Stop it."), ["ANN", None]),
        (("ANN: Hi.", "What?"), ["ANN", None]),
        (("ANN: hi", "what", "why", "no"), ["ANN", None, None, None]),
        (("ANN:", "Hello."), ["ANN"]),
        ((">> ANN: Hi.", "So it goes.", ">> No."), ["ANN", "ANN", None]),
        (("ANN: Well,", "- Yes?\n- No."), ["ANN", None, None]),
        (("<v Ann>Well,", "I say."), ["Ann", "Ann"]),
    ],
)
def test_a_cue_that_goes_on_is_said_by_the_same_speaker(
    texts: tuple[str, ...], speakers: list[str | None]
) -> None:
    assert [speaker for speaker, _ in turns(*texts)] == speakers


def test_after_a_pause_nobody_goes_on() -> None:
    found = read(srt([(0, 1000, "ANN: Well,"), (9000, 9900, "no.")]))
    assert [cue.speaker for cue in found.cues] == ["ANN", None]


def test_texts_of_subtitles_are_clean_and_their_speakers_found() -> None:
    texts = (
        "It&#39;s Tom &amp; me", "{\\an8}\\hWell,\\Nyes", "\u200eANN: left", "JOHN (ON PHONE): Hello",
        "MAN #2: Hi", "[Alba] Hola", "\ufeff[SPEAKER_01]: co\xadoperate\u200b",
    )  # fmt: skip
    assert turns(*texts) == [
        (None, "It's Tom & me"), (None, "Well, yes"), ("ANN", "left"), ("JOHN", "Hello"), ("MAN #2", "Hi"),
        ("Alba", "Hola"), ("SPEAKER_01", "cooperate"),
    ]  # fmt: skip
