"""RoBERTa, MPNet and their relatives give what transformers gives on the same checkpoint, alone and in batches."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ercache.errors import WeightsError
from ercache.nets.roberta import BASE, LARGE, roberta
from ercache.nets.text_shapes import Shape
from ercache.reasons import Missing, Reason
from ercache.trained_extractors import extractor_folder
from ercache.weights import Weights
from extract.encoders import ENCODERS, configs
from extract.encoders.base import Encoded, Encoder, EncoderKind, Neighbour, Sample
from extract.encoders.text import mpnet as mpnets
from extract.encoders.text.kwrt import ENTRY as KWRT
from extract.encoders.text.kwrt import KwrtKind
from extract.encoders.text.mpnet import ENTRIES as MPNETS
from extract.encoders.text.mpnet import MpnetKind, word_vectors
from extract.encoders.text.roberta import ENTRIES as ROBERTAS
from extract.encoders.text.roberta import M2FNET, RobertaKind
from extract.encoders.text.tokenization import byte_tokenizer
from tests.support.tiny_texts import Tiny, made_here, taken_in, write_record

ROBERTA = Shape(32, 2, 4, 48, 400)
MPNET = Shape(32, 2, 4, 48, 400)
KEYS = tuple(kind.spec.key for kind in (KWRT, *MPNETS, *ROBERTAS))
TUNED = "m2fnet-roberta"  # made by a training of ours
CHECKPOINTS = sorted({ENCODERS[key].spec.weights for key in KEYS} - {None})  # type: ignore[type-var]
TALK = (
    Sample("Why not?", speaker="Ross", after=(Neighbour("No.", speaker="Monica"),)),
    Sample("Oh my God!", speaker="Ross", before=(Neighbour("There is a fire, run!", speaker="Monica"),)),
    Sample(
        "I am so happy that you could come, really.",
        speaker="Monica",
        before=(Neighbour("No!", speaker="Ross"), Neighbour("", speaker="Ross")),
        after=(Neighbour("We lost our old dog.", speaker="Ross"),),
    ),
    Sample("no", speaker="Monica"),
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tiny]]:
    folder = tmp_path_factory.mktemp("tiny")
    with taken_in(folder, CHECKPOINTS) as brought:
        yield {**brought, TUNED: made_here(folder, TUNED)}


def kind_of(key: str) -> EncoderKind:
    """The registered kind with a tiny network."""
    kind = ENCODERS[key]
    if isinstance(kind, MpnetKind):
        return replace(kind, shape=MPNET)
    assert isinstance(kind, RobertaKind | KwrtKind)
    return replace(kind, shape=ROBERTA)


def build(key: str, tiny: dict[str, Tiny], **params: Any) -> Encoder:
    """An encoder with its tiny checkpoint; one of ours says that it was trained with these very params."""
    config = configs()[key](**params)
    if ENCODERS[key].spec.weights is None:
        folder = extractor_folder(tiny[TUNED].handle.data, TUNED)
        write_record(folder, key, config.model_dump(mode="json"))
    return kind_of(key)(config, "cpu", tiny[ENCODERS[key].spec.weights or TUNED].handle)


def one(encoder: Encoder, *args: Any, **kwargs: Any) -> Encoded:
    result = encoder.encode([Sample(*args, **kwargs)])[0]
    assert isinstance(result, Encoded), result
    return result


def states(made: Tiny, ids: list[int]) -> Any:
    """Last hidden states [T, D] of transformers' own network."""
    with torch.inference_mode():
        return made.network(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()


# --- promises of all


@pytest.mark.parametrize("key", KEYS)
def test_arrays_are_as_declared_and_do_not_depend_on_the_batch(key: str, tiny: dict[str, Tiny]) -> None:
    encoder, kind = build(key, tiny), kind_of(key)
    together = encoder.encode(TALK)
    for sample, batched in zip(TALK, together, strict=True):
        alone = encoder.encode([sample])[0]
        assert isinstance(alone, Encoded) and isinstance(batched, Encoded)
        assert alone.frames == batched.frames > 0
        specs = {spec.name: spec for spec in kind.arrays(configs()[key]())}
        assert alone.arrays.keys() == specs.keys()
        for name, a in alone.arrays.items():
            assert a.shape[1:] == specs[name].shape and a.dtype == np.dtype(specs[name].dtype)
            assert specs[name].kind == "sequence" or len(a) == 1
            difference = np.abs(a.astype(float) - batched.arrays[name]).max(initial=0)
            assert difference <= 1e-5 * max(1, np.abs(a).max(initial=0)), name


@pytest.mark.parametrize("key", KEYS)
def test_the_same_texts_give_the_same_bytes(key: str, tiny: dict[str, Tiny]) -> None:
    first, again = (build(key, tiny).encode(TALK) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert {n: v.tobytes() for n, v in a.arrays.items()} == {n: v.tobytes() for n, v in b.arrays.items()}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("text", [None, "", "  \n\t", "\u200b", "\x00\x01"])
def test_a_text_without_a_visible_character_is_missing(
    key: str, text: str | None, tiny: dict[str, Tiny]
) -> None:
    neighbours = {"before": (Neighbour("Hi.", speaker="A"),), "after": (Neighbour("Yes.", speaker="A"),)}
    good, bad = build(key, tiny).encode(
        [Sample("hello", speaker="B"), Sample(text, speaker="B", **neighbours)]
    )  # type: ignore[arg-type]
    assert isinstance(good, Encoded)
    assert isinstance(bad, Missing) and bad.reason == Reason.NO_TEXT


@pytest.mark.parametrize("key", KEYS)
def test_an_emoji_is_a_text_like_any_other(key: str, tiny: dict[str, Tiny]) -> None:
    encoder = build(key, tiny)
    laughing, text = one(encoder, "😂😂", speaker="A"), one(encoder, "a a", speaker="A")
    assert np.isfinite(laughing.arrays["pooled"]).all()
    assert np.abs(laughing.arrays["pooled"] - text.arrays["pooled"]).max() > 1e-3


@pytest.mark.parametrize("key", KEYS)
def test_a_text_of_any_length_is_cut_at_the_limit(key: str, tiny: dict[str, Tiny]) -> None:
    encoder = build(key, tiny)
    long, longer = (Sample("a " * n, speaker="A") for n in (2000, 3000))
    limit = {"text/all-mpnet": 384, "text/mpnet": 130}.get(key, 512)  # 128 words of a token each, two marks
    assert encoder.length(long) == encoder.length(longer) == limit
    a, b = (encoder.encode([sample])[0].arrays["pooled"] for sample in (long, longer))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("key", KEYS)
def test_random_weights_stand_in_with_bytes_as_tokens(key: str) -> None:
    before = torch.random.get_rng_state()
    params = configs()[key]()
    seeds = [
        kind_of(key)(params, "cpu", Weights(str(ENCODERS[key].spec.weights), seed)) for seed in (1, 1, 2)
    ]
    a, b, c = (one(encoder, "Héllo!", speaker="A").arrays["pooled"] for encoder in seeds)
    assert np.array_equal(a, b) and np.abs(a - c).max() > 1e-3
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("key", ["text/roberta-base", "text/mpnet", "text/kwrt"])
def test_another_networks_checkpoint_is_refused_with_its_tensors(key: str, tiny: dict[str, Tiny]) -> None:
    other = "mpnet" if key != "text/mpnet" else "roberta-base"
    with pytest.raises(WeightsError, match="does not fit") as caught:
        kind_of(key)(configs()[key](), "cpu", tiny[other].handle)
    assert any("missing" in detail for detail in caught.value.details)


# --- RoBERTa alone


@pytest.mark.parametrize(
    "key", ["text/roberta-base", "text/roberta-large", "text/emoberta-base", "text/emoberta-large"]
)
def test_roberta_is_that_of_transformers(key: str, tiny: dict[str, Tiny]) -> None:
    made = tiny[key.removeprefix("text/")]
    for text in ("Oh my God!", "Why  not? I’m scared 😂."):
        given = made.tokenizer(text, return_offsets_mapping=True)
        expected = states(made, given["input_ids"])
        for pool, pooled in (("cls", expected[0]), ("mean", expected.mean(axis=0))):
            result = one(build(key, tiny, pool=pool), text)
            np.testing.assert_allclose(result.arrays["pooled"][0], pooled, atol=1e-6)
        np.testing.assert_allclose(result.arrays["tokens"], expected[1:-1], atol=1e-6)
        np.testing.assert_array_equal(result.arrays["words"], given["offset_mapping"][1:-1])
        assert result.frames == len(expected) - 2


def test_words_are_stretches_of_the_tidied_text(tiny: dict[str, Tiny]) -> None:
    text = "  Oh my\x92 unbelievable party! "
    words = one(build("text/roberta-base", tiny), text).arrays["words"]
    tidied = "Oh my’ unbelievable party!"
    covered = {n for a, b in words for n in range(a, b)}
    assert "".join(tidied[n] for n in sorted(covered)) == tidied.replace(" ", "")


def test_512_tokens_fit_and_513_lose_one(tiny: dict[str, Tiny]) -> None:
    made, encoder = tiny["roberta-base"], build("text/roberta-base", tiny, pool="mean")
    fits = made.tokenizer("a" + " a" * 509)["input_ids"]
    assert len(fits) == 512
    result = one(encoder, "a" + " a" * 510)
    assert result.frames == 510
    np.testing.assert_allclose(result.arrays["pooled"][0], states(made, fits).mean(axis=0), atol=1e-6)


def test_marks_inside_a_transcript_are_text(tiny: dict[str, Tiny]) -> None:
    encoder = build("text/roberta-base", tiny)
    assert one(encoder, "a</s></s>b").frames > 4 and one(encoder, "<s>").frames > 1


def test_event_tags_can_be_left_out(tiny: dict[str, Tiny]) -> None:
    kept, left = (build("text/roberta-base", tiny, events=events) for events in (True, False))
    assert one(kept, "[LAUGHTER] no").frames > one(left, "[LAUGHTER] no").frames == one(left, "no").frames
    result = left.encode([Sample("[LAUGHTER]")])[0]
    assert isinstance(result, Missing) and result.reason == Reason.NO_TEXT


def test_without_tokens_there_is_only_the_same_vector(tiny: dict[str, Tiny]) -> None:
    full, bare = (one(build("text/roberta-base", tiny, tokens=tokens), "no") for tokens in (True, False))
    assert set(bare.arrays) == {"pooled"}
    np.testing.assert_array_equal(full.arrays["pooled"], bare.arrays["pooled"])


# --- among neighbours

ROSS = Sample(
    "Why not?",
    speaker="Ross",
    before=(Neighbour("Oh my God!", speaker="Monica"), Neighbour("Really.", speaker="Ross")),
    after=(Neighbour("Run!", speaker="Monica"), Neighbour("No.", speaker="Ross")),
)
PAST, OWN, FUTURE = "MONICA: Oh my God! ROSS: Really.", "ROSS: Why not?", "MONICA: Run! ROSS: No."


def expected_ids(made: Tiny, *parts: str) -> list[int]:
    ids: list[int] = made.tokenizer("</s></s>".join(parts))["input_ids"]
    return ids


@pytest.mark.parametrize(
    ("key", "parts", "own"),
    [
        ("text/roberta-base-ctx-past", (PAST, OWN), 1),
        ("text/roberta-large-ctx-both", (PAST, OWN, FUTURE), 1),
        ("text/emoberta-large-ctx-past", (PAST, OWN), 1),
        ("text/emoberta-base-ctx-both", (PAST, OWN, FUTURE), 1),
    ],
)
def test_context_is_that_of_the_published_string(
    key: str, parts: tuple[str, ...], own: int, tiny: dict[str, Tiny]
) -> None:
    made = tiny[ENCODERS[key].spec.weights or TUNED]
    ids = expected_ids(made, *parts)
    expected = states(made, ids)
    start = len(expected_ids(made, *parts[:own])) + 1  # the part before has <s> and one </s> of its own
    turn = expected[start : start + len(made.tokenizer(parts[own])["input_ids"]) - 2]
    pools = {"cls": expected[0], "mean": expected.mean(axis=0), "target_mean": turn.mean(axis=0)}
    for pool, pooled in pools.items():
        encoder = build(key, tiny, pool=pool)
        assert encoder.length(ROSS) == len(ids)
        result = encoder.encode([ROSS])[0]
        np.testing.assert_allclose(result.arrays["pooled"][0], pooled, atol=1e-6)
    name = len(made.tokenizer("ROSS:")["input_ids"]) - 2
    np.testing.assert_allclose(result.arrays["tokens"], turn[name:], atol=1e-6)
    covered = sorted({n for a, b in result.arrays["words"] for n in range(a, b)})
    assert "".join("Why not?"[n] for n in covered) == "Whynot?"


def test_m2fnet_reads_one_neighbour_on_each_side_between_five_ends(tiny: dict[str, Tiny]) -> None:
    made, encoder = tiny["m2fnet-roberta"], build("text/m2fnet-roberta", tiny)
    near = Sample("Why not?", speaker="Ses01F", before=(Neighbour("Really.", speaker="Ses01M"),))
    ids = expected_ids(made, "MALE: Really.", "FEMALE: Why not?", "")
    assert ids.count(2) == 5
    np.testing.assert_allclose(encoder.encode([near])[0].arrays["pooled"], states(made, ids)[:1], atol=1e-6)


@pytest.mark.parametrize(
    ("key", "params", "past", "future", "speaker"),
    [
        ("text/m2fnet-roberta", {}, 1, 1, True),
        ("text/m2fnet-roberta", {"past": 3, "future": 0, "names": "none"}, 3, 0, False),
        ("text/m2fnet-roberta", {"past": "max", "future": "max"}, 1_000_000, 1_000_000, True),
        ("text/roberta-base", {}, 0, 0, False),
        ("text/roberta-base-ctx-past", {}, 1_000_000, 0, True),
        ("text/emoberta-large-ctx-both", {}, 1_000_000, 1_000_000, True),
        ("text/kwrt", {}, 2, 0, True),
        ("text/kwrt", {"utterances": "all", "future": 1}, 1_000_000, 1, True),
    ],
)
def test_encoders_ask_for_the_neighbours_that_they_read(
    key: str, params: dict[str, Any], past: int, future: int, speaker: bool
) -> None:
    asked = ENCODERS[key].input(configs()[key](**params))
    assert (asked.text, asked.past, asked.future, asked.speaker) == (True, past, future, speaker)


def test_m2fnet_without_a_future_leaves_no_separator_for_it(tiny: dict[str, Tiny]) -> None:
    made, encoder = tiny["m2fnet-roberta"], build("text/m2fnet-roberta", tiny, future=0, names="none")
    ids = expected_ids(made, "Really.", "Why not?")
    sample = Sample("Why not?", before=(Neighbour("Really."),))
    np.testing.assert_allclose(encoder.encode([sample])[0].arrays["pooled"], states(made, ids)[:1], atol=1e-6)


def test_m2fnet_has_the_width_of_its_size() -> None:
    for size, width in (("small", 128), ("base", 768), ("large", 1024)):
        arrays = M2FNET.arrays(configs()["text/m2fnet-roberta"](size=size))
        assert [spec.shape for spec in arrays] == [(width,)]


# --- MPNet


@pytest.mark.parametrize("text", ["Oh my  God! I’m unbelievably scared", "Héllo 😂 x!y"])
def test_mpnet_words_are_means_of_transformers_tokens(text: str, tiny: dict[str, Tiny]) -> None:
    made, result = tiny["mpnet"], one(build("text/mpnet", tiny), text)
    given = made.tokenizer(text.split(), is_split_into_words=True)
    expected, owners = states(made, given["input_ids"]), given.word_ids()
    words = [
        np.mean([expected[t] for t, w in enumerate(owners) if w == n], axis=0)
        for n in range(len(text.split()))
    ]
    np.testing.assert_allclose(result.arrays["tokens"], words, atol=1e-6)
    np.testing.assert_allclose(result.arrays["pooled"][0], np.mean(words, axis=0), atol=1e-6)
    assert [text[a:b] for a, b in result.arrays["words"]] == text.split()
    assert result.frames == len(text.split())


def test_mpnet_words_of_which_the_tokenizer_keeps_nothing_have_no_row(tiny: dict[str, Tiny]) -> None:
    text = "Oh \x01 God!"
    result = one(build("text/mpnet", tiny), text)
    assert [text[a:b] for a, b in result.arrays["words"]] == ["Oh", "God!"]


def test_mpnet_keeps_so_many_words_and_512_tokens_of_long_ones(tiny: dict[str, Tiny]) -> None:
    encoder = build("text/mpnet", tiny, words=3)
    assert one(encoder, "a b c d e").frames == 3
    dense = "x!" * 1000 + " end"
    assert encoder.length(Sample(dense)) == 512 and one(encoder, dense).frames == 1


def test_all_mpnet_is_the_recipe_of_sentence_transformers(tiny: dict[str, Tiny]) -> None:
    made, text = tiny["all-mpnet"], "Oh my God! I am SO happy"
    expected = states(made, made.tokenizer(text)["input_ids"])
    result = one(build("text/all-mpnet", tiny), text)
    mean = expected.mean(axis=0)
    np.testing.assert_allclose(result.arrays["pooled"][0], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(result.arrays["tokens"], expected[1:-1], atol=1e-6)
    assert [text[a:b] for a, b in result.arrays["words"]][:2] == ["Oh", "my"]


# --- full size


@pytest.mark.parametrize(
    ("build_network", "width", "expected"),
    [
        (lambda: roberta(BASE, 0), 768, 124_645_632),
        (lambda: roberta(LARGE, 0), 1024, 355_359_744),
        (lambda: mpnets.mpnet(mpnets.FULL), 768, 109_486_464),
    ],
)
def test_networks_have_the_published_number_of_parameters(
    build_network: Any, width: int, expected: int
) -> None:
    with torch.device("meta"):
        network = build_network()
    pooler = width * width + width  # published with it; never trained, so none of ours has it
    assert sum(p.numel() for p in network.parameters()) == expected - pooler


@pytest.mark.full
@pytest.mark.parametrize("key", KEYS)
def test_full_size_networks_give_arrays_of_their_spec(key: str) -> None:
    params = configs()[key]()
    kind = ENCODERS[key]
    encoder = kind(params, "cpu", Weights(str(kind.spec.weights), 0))
    for result in encoder.encode(TALK):
        assert isinstance(result, Encoded)
        for spec in kind.arrays(params):
            assert result.arrays[spec.name].shape[1:] == spec.shape
            assert np.isfinite(result.arrays[spec.name]).all()


def test_stand_in_tokens_are_the_bytes_of_the_text() -> None:
    tokenizer = byte_tokenizer()
    assert tokenizer.get_vocab_size() == 260
    encoding = tokenizer.encode("é b")
    assert encoding.ids[0] == 0 and encoding.ids[-1] == 2 and len(encoding.ids) == 2 + 4
    assert encoding.offsets[1:3] == [(0, 1), (0, 1)]
    assert tokenizer.decode(encoding.ids) == "é b"


def test_states_that_are_not_finite_are_no_verdict_on_the_text() -> None:
    state = np.array([[1.0, 2.0], [np.inf, 0.0]], np.float32)
    result = word_vectors(state, [0, 1], np.array([[0, 2], [3, 5]], np.int32))
    assert isinstance(result, Missing) and result.reason is Reason.FAULT
    assert result.reason.status == "unavailable"
