"""Windows of Cues: speakers' tokens, places of words among the tokens, and what is left out when room is short."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ercache.cache import CacheFile
from ercache.manifest import Manifest, Utterance
from ercache.nets.text_shapes import Shape
from ercache.params.schema import EngineParams
from extract.encoders.base import Encoded, Neighbour, Sample
from extract.encoders.text.kwrt import ENTRY as KWRT
from extract.encoders.text.kwrt import KwrtParams
from extract.engine import Feature, extract_corpus
from extract.text.dialogue_context import SpecialTokens
from extract.text.kwrt.knowledge import OWN, read_knowledge
from extract.text.kwrt.matrix import importance
from extract.text.kwrt.window import TokenizedUtterance, UtteranceWindow, build_window
from extract.text.kwrt.words import TaggedWord, words_by_rules
from tests.support.tiny_texts import Tiny, taken_in

TINY = replace(KWRT, shape=Shape(32, 2, 4, 48, 400))
SPEAKER = 900  # id of [s1] in the windows by hand


def tokenize_utterance(speaker: str, *words: str) -> TokenizedUtterance:
    """An utterance with a token for each word; ids from the words' lengths."""
    text = " ".join(words)
    places = [(text.index(word), text.index(word) + len(word)) for word in words]
    tagged = tuple(TaggedWord(a, b, word, word, True) for (a, b), word in zip(places, words, strict=True))
    ids = tuple(100 + len(word) for word in words)
    return TokenizedUtterance(speaker, ids, np.array(places, np.int32).reshape(-1, 2), tagged)


def window(*turns: TokenizedUtterance, current: int = -1, limit: int = 512) -> UtteranceWindow:
    return build_window(turns, current % len(turns), SPEAKER, SpecialTokens(), limit)


# --- by hand


def test_every_utterance_follows_its_speakers_token_numbered_by_first_appearance() -> None:
    found = window(
        tokenize_utterance("Ross", "aa", "b"),
        tokenize_utterance("Monica", "ccc"),
        tokenize_utterance("Ross", "dddd"),
    )
    assert found.ids == (0, 900, 102, 101, 901, 103, 900, 104, 2)
    assert [w.surface for w in found.words] == ["aa", "b", "ccc", "dddd"]
    assert found.places.tolist() == [[2, 3, -2], [3, 4, -2], [5, 6, -1], [7, 8, 0]]


def test_an_empty_utterance_keeps_its_speaker() -> None:
    found = window(tokenize_utterance("A", "aa"), tokenize_utterance("B"))
    assert found.ids == (0, 900, 102, 901, 2) and found.places.tolist() == [[2, 3, -1]]


def test_a_window_without_words_has_its_beginning_in_their_place() -> None:
    found = window(tokenize_utterance("A"))
    assert found.ids == (0, 900, 2) and found.places.tolist() == [[0, 1, 0]]
    assert importance(found.words, read_knowledge(OWN)).tolist() == [[0]]


def test_what_does_not_fit_goes_as_whole_utterances_the_oldest_first() -> None:
    turns = (
        tokenize_utterance("A", "aa", "b"),
        tokenize_utterance("B", "ccc"),
        tokenize_utterance("C", "dddd"),
        tokenize_utterance("D", "eeeee"),
    )
    assert window(*turns, current=2, limit=11).ids == (0, 900, 102, 101, 901, 103, 902, 104, 903, 105, 2)
    assert window(*turns, current=2, limit=10).ids == (0, 900, 103, 901, 104, 902, 105, 2)
    assert window(*turns, current=2, limit=7).ids == (0, 900, 104, 901, 105, 2)
    assert window(*turns, current=2, limit=4).ids == (0, 900, 104, 2)


def test_a_current_utterance_that_is_too_long_loses_its_end_and_the_words_there() -> None:
    found = window(tokenize_utterance("A", "x"), tokenize_utterance("B", "aa", "bb", "cc"), limit=5)
    assert found.ids == (0, 900, 102, 102, 2)
    assert [w.surface for w in found.words] == ["aa", "bb"]


def test_the_tenth_token_stands_for_all_further_speakers() -> None:
    found = window(*(tokenize_utterance(f"S{n}", "x") for n in range(12)))
    assert [i for i in found.ids if i >= 900] == [*range(900, 909), 909, 909, 909]


def test_a_piece_belongs_to_every_word_that_it_overlaps() -> None:
    text_words = (TaggedWord(0, 3, "gon", "go", True), TaggedWord(3, 5, "na", "to", False))
    one_piece = TokenizedUtterance("A", (7,), np.array([[0, 5]], np.int32), text_words)
    three = TokenizedUtterance("A", (7, 8, 9), np.array([[0, 1], [1, 4], [4, 5]], np.int32), text_words)
    assert window(one_piece).places.tolist() == [[2, 3, 0], [2, 3, 0]]
    assert window(three).places.tolist() == [[2, 4, 0], [3, 5, 0]]


# --- with a network


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    with taken_in(tmp_path_factory.mktemp("tiny"), ["roberta-base"]) as made:
        yield made["roberta-base"]


def encoded(tiny: Tiny, sample: Sample, **params: Any) -> Encoded:
    result = TINY(KwrtParams(**params), "cpu", tiny.handle).encode([sample])[0]
    assert isinstance(result, Encoded)
    return result


FIRE = Sample(
    "[LAUGHTER] I’m scared of the fire!",
    speaker="Ross",
    before=(Neighbour("Smoke, fire!", speaker="Monica"), Neighbour("Why?", speaker="Ross")),
)


def test_window_is_roberta_with_rows_for_speakers_at_the_mean_of_all(tiny: Tiny) -> None:
    result = encoded(tiny, FIRE)
    ids, tokens = result.arrays["ids"], result.arrays["tokens"]
    parts = [tiny.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (
        " Smoke, fire!", " Why?", " I'm scared of the fire!"
    )]  # fmt: skip
    assert ids.tolist() == [0, 400, *parts[0], 401, *parts[1], 401, *parts[2], 2]
    network: Any = tiny.network
    table = network.embeddings.word_embeddings.weight.detach()
    noise = 0.02 * torch.randn((10, 32), generator=torch.Generator().manual_seed(0))
    rows = torch.cat([table, table.mean(0) + noise])
    with torch.inference_mode():
        expected = network(inputs_embeds=rows[torch.tensor([ids.tolist()])]).last_hidden_state[0]
    np.testing.assert_allclose(tokens, expected, atol=1e-6)
    np.testing.assert_array_equal(result.arrays["pooled"], tokens[:1])


def test_words_and_matrix_are_those_of_the_window(tiny: Tiny) -> None:
    result = encoded(tiny, FIRE)
    words = [w for text in ("Smoke, fire!", "Why?", "I'm scared of the fire!") for w in words_by_rules(text)]
    matrix = importance(words, read_knowledge(OWN))
    count = len(words)
    assert result.arrays["size"].tolist() == [count] and result.arrays["matrix"].shape == (count * count,)
    np.testing.assert_array_equal(result.arrays["matrix"].reshape(count, count), matrix)
    assert matrix[1, -1] == 1 and matrix[0, 1] == 1  # fire again; fire causes smoke
    assert result.arrays["words"][:, 2].tolist() == [-2, -2, -1, 0, 0, 0, 0, 0]
    ids = result.arrays["ids"]
    told = [tiny.tokenizer.decode(ids[a:b].tolist()).strip() for a, b, _ in result.arrays["words"]]
    assert told == ["Smoke", "fire", "Why", "I'm", "scared", "of", "the", "fire"]
    speakers = set(np.flatnonzero(ids >= 400).tolist())
    assert not speakers & {n for a, b, _ in result.arrays["words"] for n in range(a, b)}


def test_relations_that_are_not_asked_for_do_not_count(tiny: Tiny) -> None:
    sums = {
        letters: int(encoded(tiny, FIRE, relations=letters).arrays["matrix"].sum())
        for letters in ("IHC", "I", "")
    }
    assert sums["IHC"] > sums["I"] == sums[""] == 2


def test_an_utterance_of_a_tag_alone_has_no_words_of_its_own(tiny: Tiny) -> None:
    heard = encoded(tiny, Sample("[LAUGHTER]", speaker="A", before=(Neighbour("Run!", speaker="B"),)))
    assert heard.arrays["words"][:, 2].tolist() == [-1]
    alone = encoded(tiny, Sample("[LAUGHTER]", speaker="A"))
    assert alone.arrays["ids"].tolist() == [0, 400, 2]
    # nothing but <s>, which no pair of words can be related to
    assert alone.arrays["words"].tolist() == [[0, 1, 0]]
    assert alone.arrays["matrix"].tolist() == [0] and alone.arrays["size"].tolist() == [1]


def test_nothing_of_the_next_utterance_enters_a_window_without_a_future(tiny: Tiny) -> None:
    later = replace(FIRE, after=(Neighbour("Oh no!", speaker="Chandler"),))
    assert TINY.input(KwrtParams()).future == 0
    seen = encoded(tiny, later, future=1)
    assert seen.arrays["words"][-1, 2] == 1 and len(seen.arrays["ids"]) > len(
        encoded(tiny, FIRE).arrays["ids"]
    )


def test_windows_go_through_the_engine_into_a_cache(tiny: Tiny, tmp_path: Path) -> None:
    texts = ("Smoke, fire!", "[LAUGHTER]", "", "😂", "I’m scared of the fire!")
    rows = tuple(
        Utterance(f"u{n}", "d", n, "AB"[n % 2], text, None, None, {}, "train") for n, text in enumerate(texts)
    )
    rows += (Utterance("u5", "e", 0, "A", "42!", None, None, {}, "train"),)
    feature = Feature("kwrt", TINY, KwrtParams(), {"id": "roberta-base"}, None)
    done = extract_corpus(
        Manifest("toy", "1", {}, {}, rows),
        [feature],
        EngineParams(text_shard=2, lanes=1),
        store=tmp_path / "store",
        out=tmp_path / "caches",
    )
    with CacheFile(done.files[0]) as cache:
        assert [(e.status, e.reason) for e in cache.entries if e.status != "ok"] == [("missing", "no_text")]
        assert cache.provenance["context"] == {"past": 2, "future": 0, "speaker": True}
        before = (Neighbour("", speaker="A"), Neighbour("😂", speaker="B"))
        expected = encoded(tiny, Sample(texts[4], speaker="A", before=before))
        for name, array in expected.arrays.items():
            np.testing.assert_allclose(cache["u4"][name], array, atol=1e-5)
        assert cache["u5"]["words"].tolist() == [[0, 1, 0]]
