"""Speakers and turns of a cue: who is named is found, in every way that files write names, and nobody else."""

import pytest

from extract.corpora.common.cue_text import cue_lines, join_words
from extract.corpora.common.speakers import is_speaker_line, speaker_label, turns_of


def said(*lines: str, names: bool = True) -> list[tuple[str | None, str]]:
    return [(turn.speaker, join_words(turn.words)) for turn in turns_of(cue_lines(lines), names)]


@pytest.mark.parametrize(
    ("line", "speaker"),
    [
        ("MARY: Hello", "MARY"),
        (">> Mary Ann: Hello", "Mary Ann"),
        (">>MARY: Hello", "MARY"),
        ("- MARY: Hello", "MARY"),
        ("小明：Hello", "小明"),
        ("JOHN (ON PHONE): Hello", "JOHN"),
        ("HOST (laughing): Hello", "HOST"),
        ("ANN [whispering]: Hello", "ANN"),
        ("MAN #2: Hello", "MAN #2"),
        ("Speaker 1: Hello", "Speaker 1"),
        ("spk_0: Hello", "spk_0"),
        ("[SPEAKER_00]: Hello", "SPEAKER_00"),
        ("[SPEAKER_00] Hello", "SPEAKER_00"),
        ("[Speaker 1] Hello", "Speaker 1"),
        ("[speaker_12]: Hello", "speaker_12"),
        ("(SPEAKER_00) Hello", "SPEAKER_00"),
        ("(Speaker A) Hello", "Speaker A"),
        ("(Ann): Hello", "Ann"),
        ("[Alba] Hello", "Alba"),
        ("[NARRATOR] Hello", "NARRATOR"),
        ("[Ann (on phone)] Hello", "Ann"),
        ("<v Ann>Hello</v>", "Ann"),
        ("<v.first.loud Ann Lee>Hello", "Ann Lee"),
    ],
)
def test_a_name_is_found_and_is_not_said(line: str, speaker: str) -> None:
    assert said(line) == [(speaker, "Hello")]


@pytest.mark.parametrize(
    "line",
    [
        *("He said: no", "at 10: 30", "See http://a.b", "The Four Word Name: no", "- Just me", "Listen:"),
        *("[APPLAUSE] Thank you", "[Music] hello", "[laughs] you", "[LAUGHS] You", "[IN FRENCH] Bonjour"),
        *("(SIGHS) Hello", "(Nobody) knows", "[00:12] Hello", "[Musik] hallo", "a [Alba] b", "C:\\New"),
    ],
)
def test_what_is_no_name_stays_in_the_text(line: str) -> None:
    assert said(line) == [(None, line)]


@pytest.mark.parametrize(
    ("lines", "turns"),
    [
        (["- Hi.", "- Hello."], [(None, "Hi."), (None, "Hello.")]),
        (["– Hi.", "—Hello."], [(None, "Hi."), (None, "Hello.")]),
        (["- Hi. - Hello."], [(None, "Hi."), (None, "Hello.")]),
        (["Hi.", "- Hello."], [(None, "Hi."), (None, "Hello.")]),
        (["- Well - you know - no"], [(None, "- Well - you know - no")]),
        (["so he", "- I think - left"], [(None, "so he - I think - left")]),
        (["ANN: Hi.", "BOB: Hello."], [("ANN", "Hi."), ("BOB", "Hello.")]),
        (["ANN: Hi", "there.", "BOB: Hello."], [("ANN", "Hi there."), ("BOB", "Hello.")]),
        (["Hi there.", "BOB: Hello."], [(None, "Hi there."), ("BOB", "Hello.")]),
        (["ANN: Look,", "Remember: never."], [("ANN", "Look, Remember: never.")]),
        (["Ann: Hi.", "Bob: Yes."], [("Ann", "Hi."), ("Bob", "Yes.")]),
        (["- ANN: Hi", "- Yes"], [("ANN", "Hi"), (None, "Yes")]),
        (["- Hi", "- ANN: Yes"], [(None, "Hi"), ("ANN", "Yes")]),
        (["ANN: Hi", "- Yes"], [("ANN", "Hi"), (None, "Yes")]),
        (["- ANN: Hi", "you", "- BOB: Yes"], [("ANN", "Hi you"), ("BOB", "Yes")]),
        (["Hi", "- ANN: Yes", "- BOB: No"], [(None, "Hi"), ("ANN", "Yes"), ("BOB", "No")]),
        (["- ROSS: Hi", "- ROSS: Oh"], [("ROSS", "Hi"), ("ROSS", "Oh")]),
        ([">> Hi. >> ANN: Yes."], [(None, "Hi."), ("ANN", "Yes.")]),
        (["&gt;&gt; Hi."], [(None, "Hi.")]),
        (["[SPEAKER_00]: Hi", "[SPEAKER_01]: Yes"], [("SPEAKER_00", "Hi"), ("SPEAKER_01", "Yes")]),
        (["Dr. O'Neil:", "Hello"], [("Dr. O'Neil", "Hello")]),
        (["[SPEAKER_01]", "Hello"], [("SPEAKER_01", "Hello")]),
        (["ANN:"], [("ANN", "")]),
        (["<v Ann>Hi.</v> <v Bob>Yes?", "No.</v> So"], [("Ann", "Hi."), ("Bob", "Yes? No."), (None, "So")]),
        (["- Hi.\\N- Hello."], [(None, "Hi."), (None, "Hello.")]),
        ([], []),
    ],
)
def test_a_cue_is_as_many_turns_as_it_marks(lines: list[str], turns: list[tuple[str | None, str]]) -> None:
    assert said(*lines) == turns


def test_names_stay_where_the_rule_is_off_but_tags_of_diarizers_do_not() -> None:
    assert said("MARY: Hello", names=False) == [(None, "MARY: Hello")]
    assert said("[Mary] Hello", names=False) == [(None, "[Mary] Hello")]
    assert said("[SPEAKER_00]: Hello", names=False) == [("SPEAKER_00", "Hello")]


def test_a_name_above_a_text_is_no_sound() -> None:
    lines = ("[Alba]", "[SPEAKER_01]:", "[ANN]:", "[APPLAUSE]", "[THUNDER]", "(music)")
    assert [is_speaker_line(cue_lines([line])[0]) for line in lines] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert speaker_label("[Alba] Hola") == ("Alba", 7) and speaker_label("Hola") is None
