"""Word relations of Cues: the hand examples of its page, words by rule, and ConceptNet's dump as a stream."""

import gzip
import json
import sys
import types
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ercache.digests import digest_of_file
from ercache.errors import WeightsError
from extract.encoders.text.kwrt import ENTRY as KWRT
from extract.text.kwrt import words as tagging
from extract.text.kwrt.conceptnet import MAX_LINE_BYTES, read_conceptnet
from extract.text.kwrt.knowledge import OWN, Knowledge, knowledge_of, read_knowledge, write_knowledge
from extract.text.kwrt.matrix import importance, relation_tag
from extract.text.kwrt.words import TaggedWord, tagger, words_by_rules

FIGURE = ("scene", "kangaroo", "surprise", "asleep", "kangaroo")
STUB = knowledge_of([("scene", "kangaroo", "I"), ("kangaroo", "surprise", "H"), ("kangaroo", "asleep", "H")])


def content(*surfaces: str) -> list[TaggedWord]:
    return [TaggedWord(0, len(surface), surface, surface, True) for surface in surfaces]


FUNCTION = TaggedWord(0, 3, "the", "the", False)


# --- the matrix


def test_matrix_is_that_of_the_hand_example() -> None:
    expected = [[0, 1, 0, 0, 1], [1, 0, 1, 1, 1], [0, 1, 0, 0, 1], [0, 1, 0, 0, 1], [1, 1, 1, 1, 0]]
    matrix = importance(content(*FIGURE), STUB)
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.sum() == 14 and matrix.sum(axis=1).tolist() == [2, 4, 2, 2, 4]
    np.testing.assert_allclose(0.1 * matrix.sum(axis=1) + 1, [1.2, 1.4, 1.2, 1.2, 1.4])


def test_tags_are_those_of_the_figure() -> None:
    words = content(*FIGURE)
    tags = [[relation_tag(words[i], words[j], STUB) for j in range(i + 1, 5)] for i in range(4)]
    assert tags == [["0/I", "0/N", "0/N", "0/I"], ["0/H", "0/H", "1/N"], ["0/N", "0/H"], ["0/H"]]


def test_a_function_word_adds_a_row_of_zeros_and_changes_nothing_else() -> None:
    words = content(*FIGURE)
    matrix = importance([*words[:2], FUNCTION, *words[2:], FUNCTION], STUB)
    assert not matrix[2].any() and not matrix[:, 2].any() and not matrix[6].any()
    kept = np.delete(np.delete(matrix, [2, 6], 0), [2, 6], 1)
    np.testing.assert_array_equal(kept, importance(words, STUB))


def test_direction_and_repetition_of_a_relation_do_not_count() -> None:
    words = content("dog", "animal")
    for rows in ([("dog", "animal", "I")], [("animal", "dog", "I")], [("dog", "animal", "I")] * 2):
        assert importance(words, knowledge_of(rows))[0, 1] == 1
    three = knowledge_of([("dog", "animal", "C"), ("animal", "dog", "IH"), ("animal", "dog", "C")])
    assert importance(words, three)[0, 1] == 3
    assert importance(words, three, relations="IC")[0, 1] == 2


def test_words_are_looked_up_by_lemma_and_else_as_they_stand() -> None:
    knowledge = knowledge_of([("kangaroo", "animal", "I"), ("stranger", "fear", "C")])
    kangaroos, animals, stranger, fear = words_by_rules("kangaroos animals stranger fear")
    assert stranger.lemma == "strange"
    assert relation_tag(kangaroos, animals, knowledge) == "0/I"
    assert relation_tag(stranger, fear, knowledge) == "0/C"


def test_a_window_without_words_has_an_empty_matrix() -> None:
    assert importance([], STUB).shape == (0, 0)


@given(
    st.lists(st.sampled_from([*content("a", "b", "c"), FUNCTION]), max_size=6),
    st.lists(st.tuples(*[st.sampled_from("abc")] * 2, st.sampled_from(["I", "H", "C", "IC"])), max_size=5),
)
def test_matrix_is_symmetric_with_zero_diagonal_and_at_most_three(
    words: list[TaggedWord], relations: list[tuple[str, str, str]]
) -> None:
    matrix = importance(words, knowledge_of(relations))
    assert (matrix == matrix.T).all() and not matrix.diagonal().any()
    assert matrix.size == 0 or matrix.max() <= 3


# --- words


def test_words_by_rules_have_places_lemmas_and_kinds() -> None:
    text = "Well, Ross's well-known dogs don't İmpress 42 _mothers_!"
    words = words_by_rules(text)
    assert [text[w.start : w.end] for w in words] == [
        *("Well", "Ross's", "well-known", "dogs", "don't", "İmpress", "mothers")
    ]
    assert [w.surface for w in words if w.content] == ["ross's", "well-known", "dogs", "i̇mpress", "mothers"]
    assert {w.surface: w.lemma for w in words}["dogs"] == "dog"
    assert {w.surface: w.lemma for w in words}["mothers"] == "mother"
    assert not words_by_rules("?! 3 -- 😂")


@pytest.mark.parametrize("word", ["I'm", "can't", "CAN’T", "they'll", "who's", "Twelve", "somebody", "gonna"])
def test_function_words_are_known_with_their_contractions(word: str) -> None:
    assert [w.content for w in words_by_rules(word)] == [False]


def test_spacy_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(WeightsError, match=r"en_core_web_sm.*not installed") as caught:
        tagger("spacy")
    assert "tagger: rules" in caught.value.hint


def test_spacy_words_are_its_tokens_without_blanks_and_punctuation(monkeypatch: pytest.MonkeyPatch) -> None:
    def token(idx: int, text: str, lemma: str, pos: str, **flags: bool) -> types.SimpleNamespace:
        given = {"is_space": False, "is_punct": False, "is_stop": False, **flags}
        return types.SimpleNamespace(idx=idx, text=text, lemma_=lemma, pos_=pos, **given)

    sentence = [
        token(0, "Gon", "go", "VERB"),
        token(3, "na", "to", "PART"),
        token(5, " ", " ", "SPACE", is_space=True),
        token(6, "go", "go", "VERB", is_stop=True),
        token(8, "!", "!", "PUNCT", is_punct=True),
    ]
    loaded: list[str] = []

    def load(name: str, exclude: Iterable[str]) -> object:
        loaded.append(name)
        return lambda text: sentence

    monkeypatch.setitem(sys.modules, "spacy", types.SimpleNamespace(load=load))  # type: ignore[arg-type]
    words = tagger("spacy")("Gonna go!")
    assert loaded == [tagging.MODEL]
    assert words == [
        TaggedWord(0, 3, "gon", "go", True),
        TaggedWord(3, 5, "na", "to", False),
        TaggedWord(6, 8, "go", "go", False),
    ]


# --- files of relations


def test_our_own_relations_are_read_and_know_everyday_things() -> None:
    knowledge = read_knowledge(OWN)
    assert len(knowledge.pairs) > 400
    assert knowledge.letters("dog", "animal") == knowledge.letters("animal", "dog") == "I"
    assert "C" in knowledge.letters("loss", "sadness") and knowledge.letters("dog", "sadness") == ""


def test_our_own_relations_are_those_of_this_version_of_the_encoder() -> None:
    # they decide the feature and have no digest in its provenance: with a change, raise the version and write both here
    known = {1: "16e0f9144fc38220e235bd1b124a22c1310c467d8f4599721e5bd8146cec5582"}
    assert digest_of_file(OWN) == known[KWRT.spec.version]


words_of_a_file = st.text(
    st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1, max_size=5
)


@given(
    st.lists(
        st.tuples(words_of_a_file, words_of_a_file, st.sampled_from(["I", "HC", "C", "IHC"])), max_size=8
    )
)
def test_relations_that_are_written_are_read_again(
    tmp_path_factory: pytest.TempPathFactory, relations: list[tuple[str, str, str]]
) -> None:
    path = tmp_path_factory.mktemp("relations") / "relations.tsv"
    knowledge = knowledge_of(relations)
    write_knowledge(path, knowledge, "a test")
    assert read_knowledge(path) == knowledge


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "line 1"),
        ("dog\tanimal\tI\n", "line 1"),
        ("# a\ndog\tI\n", "line 2"),
        ("# a\na\tb\tI\ndog\tanimal\tX\n", "line 3"),
        ("# a\na\tb\t\n", "line 2"),
    ],
)
def test_a_file_that_holds_no_relations_is_refused_with_its_line(
    tmp_path: Path, content: str, told: str
) -> None:
    path = tmp_path / "relations.tsv"
    path.write_text(content)
    with pytest.raises(WeightsError, match=told) as caught:
        read_knowledge(path)
    assert "ercache weights convert conceptnet" in caught.value.hint


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "relations.tsv"
    path.write_bytes(b"# \xff\n")
    with pytest.raises(WeightsError, match="not a file of word relations"):
        read_knowledge(path)


# --- ConceptNet's dump


def row(relation: str, start: str, end: str) -> str:
    uri = f"/a/[{relation}/,{start}/,{end}/]"
    facts = json.dumps({"dataset": "/d/test", "weight": 0.1, "surfaceText": "a\tb"})
    return "\t".join([uri, relation, start, end, facts.replace("\\t", "\t")]) + "\n"


DUMP = [
    row("/r/Antonym", "/c/en/hot", "/c/en/cold"),
    row("/r/Causes", "/c/en/fire", "/c/en/smoke/n"),
    row("/r/Causes", "/c/en/fire", "/c/fr/fumée"),
    row("/r/Causes", "/c/en/getting_drunk", "/c/en/hangover"),
    row("/r/HasContext", "/c/en/Chord/n/wn/artifact", "/c/en/music"),
    row("/r/IsA", "/c/en/dog/n", "/c/en/animal/n"),
    row("/r/IsA", "/c/en/animal", "/c/en/dog"),
    row("/r/IsA", "/c/en/dog", "/c/en/dog/v"),
    row("/r/IsA", "/c/en/café", "/c/en/place"),
]


def packed(path: Path, *lines: str) -> Path:
    path.write_bytes(gzip.compress("".join(lines).encode()))
    return path


def test_dump_is_cut_down_to_single_english_words_of_three_relations(tmp_path: Path) -> None:
    knowledge = read_conceptnet(packed(tmp_path / "dump.csv.gz", *DUMP))
    expected = [
        ("fire", "smoke", "C"),
        ("chord", "music", "H"),
        ("dog", "animal", "I"),
        ("café", "place", "I"),
    ]
    assert knowledge == knowledge_of(expected)
    assert isinstance(knowledge, Knowledge) and "hangover" not in knowledge.terms


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "contains no IsA"),
        (gzip.compress(b""), "contains no IsA"),
        (b"plain text", "not readable"),
        (gzip.compress("".join(DUMP).encode())[:-40], "not readable"),
        (gzip.compress(b"a,b,c\n"), "row 1 has 1 columns"),
        (gzip.compress(b"x" * (MAX_LINE_BYTES + 1)), "row 1 has 1 columns"),
        (
            gzip.compress(row("/r/IsA", "/c/en/x", "/c/en/\udcff").encode("utf-8", "surrogateescape")),
            "not readable",
        ),
        (gzip.compress(row("/r/Antonym", "/c/en/hot", "/c/en/cold").encode()), "contains no IsA"),
    ],
    ids=["no bytes", "no rows", "no gzip", "cut off", "commas", "a long line", "no UTF-8", "other relations"],
)  # names of our own: gzip writes the time, and workers that collect at other seconds would disagree
def test_what_is_not_the_dump_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "dump.csv.gz"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=told):
        read_conceptnet(path)
