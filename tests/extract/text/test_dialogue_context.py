"""An utterance among its neighbours: the published format, literally, and growth within the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.text.dialogue_context import ContextSequence, context_sequence, speaker_name, with_speaker

WORDS: dict[str, int] = {}


def encode(text: str) -> list[int]:
    """One token a word, known by its number; a leading blank belongs to the word, as in byte-level BPE."""
    return [WORDS.setdefault(word, 10 + len(WORDS)) for word in text.replace(" ", " _").split(" ") if word]


def decoded(result: ContextSequence) -> str:
    names = {0: "<s>", 2: "</s>", **{number: word.replace("_", " ") for word, number in WORDS.items()}}
    return "".join(names[i] for i in result.ids)


def test_a_turn_stands_between_its_neighbours_with_five_marks_of_an_end() -> None:
    result = context_sequence(["ROSS: Hi."], "MONICA: No!", ["ROSS: Why?"], encode)
    assert decoded(result) == "<s>ROSS: Hi.</s></s>MONICA: No!</s></s>ROSS: Why?</s>"
    assert result.ids.count(2) == 5 and (result.past, result.future) == (1, 1)
    assert decoded(ContextSequence(result.ids[result.own], result.own, 0, 0)) == "MONICA: No!"


def test_turns_of_one_side_are_joined_by_blanks() -> None:
    result = context_sequence(["A: x", "B: y"], "C: z", ["D: u", "E: v"], encode)
    assert decoded(result) == "<s>A: x B: y</s></s>C: z</s></s>D: u E: v</s>"


@pytest.mark.parametrize(
    ("past", "future", "expected"),
    [
        ([], [], "<s></s></s>A: x</s></s></s>"),
        ([""], ["B: y"], "<s></s></s>A: x</s></s>B: y</s>"),
        ([], None, "<s></s></s>A: x</s>"),
        (["B: y"], None, "<s>B: y</s></s>A: x</s>"),
        (None, None, "<s>A: x</s>"),
    ],
)
def test_an_empty_side_leaves_its_separators_and_one_not_asked_for_leaves_none(
    past: list[str] | None, future: list[str] | None, expected: str
) -> None:
    assert decoded(context_sequence(past, "A: x", future, encode)) == expected


def test_context_grows_in_turns_and_ends_with_the_first_neighbour_that_would_not_fit() -> None:
    past, future = ["p3 p3", "p2", "p1"], ["f1", "f2 f2 f2", "f3"]

    def grown(limit: int) -> str:
        return decoded(context_sequence(past, "own", future, encode, limit=limit))

    assert grown(7) == "<s></s></s>own</s></s></s>"
    assert grown(8) == "<s>p1</s></s>own</s></s></s>"
    assert grown(9) == "<s>p1</s></s>own</s></s>f1</s>"
    assert grown(12) == "<s>p2 p1</s></s>own</s></s>f1</s>"  # f2 has three words; p3 is not asked any more
    assert grown(13) == "<s>p2 p1</s></s>own</s></s>f1 f2 f2 f2</s>"
    assert grown(99) == "<s>p3 p3 p2 p1</s></s>own</s></s>f1 f2 f2 f2 f3</s>"


def test_a_turn_longer_than_the_limit_loses_its_end_and_its_neighbours() -> None:
    result = context_sequence(["p"], "a b c d e", [], encode, limit=9)
    assert decoded(result) == "<s></s></s>a b c</s></s></s>"
    assert result.own == slice(3, 6)


turns = st.lists(st.lists(st.sampled_from("abc"), max_size=4).map(" ".join), max_size=6)


@given(
    turns, st.lists(st.sampled_from("xyz"), min_size=1, max_size=12).map(" ".join), turns, st.integers(8, 40)
)
def test_the_limit_is_never_passed_and_neighbours_are_the_nearest(
    past: list[str], own: str, future: list[str], limit: int
) -> None:
    result = context_sequence(past, own, future, encode, limit=limit)
    assert len(result.ids) <= limit
    said_before, said_after = [t for t in past if t], [t for t in future if t]
    near = said_before[len(said_before) - result.past :], said_after[: result.future]
    expected = f"<s>{' '.join(near[0])}</s></s>"
    assert decoded(result).startswith(expected)
    assert decoded(result).endswith(f"</s></s>{' '.join(near[1])}</s>")
    everything = context_sequence(past, own, future, encode, limit=1000)
    assert (len(everything.ids) <= limit) == (result == everything)


@pytest.mark.parametrize(
    ("speaker", "first", "sex"),
    [
        ("Ses01F", "MARY", "FEMALE"),
        ("Ses03M", "ROBERT", "MALE"),
        ("Ses05F", "ELIZABETH", "FEMALE"),
        ("Ross", "ROSS", "ROSS"),
        ("Joey and Chandler", "JOEY AND CHANDLER", "JOEY AND CHANDLER"),
    ],
)
def test_speakers_are_called_in_capitals_and_those_of_iemocap_by_a_name(
    speaker: str, first: str, sex: str
) -> None:
    assert speaker_name(speaker, "first") == first and speaker_name(speaker, "sex") == sex


def test_a_turn_without_text_or_speaker_has_no_prefix() -> None:
    assert with_speaker("", "Ross", "first") == ""
    assert with_speaker("Hi.", None, "first") == with_speaker("Hi.", "Ross", "none") == "Hi."
    assert with_speaker("Hi.", "Ross", "first") == "ROSS: Hi."
