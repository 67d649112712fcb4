"""Transcripts: repaired and tidied without losing what was said."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.text.normalise import plain, repair, tidy


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("I\x92m\xa0fine\x85", "I’m fine…"),
        ("  Cafe\u0301 ", "Caf\u00e9"),
        ("\u200b \n\t", ""),
        ("\x00\x01", ""),
        (None, ""),
        ("😂", "😂"),
        ("!", "!"),
    ],
)
def test_transcripts_are_repaired_and_composed(raw: str | None, expected: str) -> None:
    assert tidy(raw) == expected


def test_event_tags_are_a_switch() -> None:
    text = "[LAUGHTER] No. [BREATHING] Yes [garbage]"
    assert tidy(text) == text
    assert tidy(text, events=False) == "No. Yes"
    assert tidy("[LAUGHTER]", events=False) == ""
    assert tidy("[ Ross enters ] Hi.", events=False) == "[ Ross enters ] Hi."


def test_typographic_characters_have_plain_forms() -> None:
    assert plain("“I’m—well…”") == '"I\'m-well..."'


@given(st.text())
def test_tidying_twice_changes_nothing_more(text: str) -> None:
    once = tidy(text)
    assert tidy(once) == once and unicodedata.is_normalized("NFC", once)
    assert repair(once) == once
