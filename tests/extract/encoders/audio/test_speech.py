"""wav2vec 2.0, HuBERT, WavLM and the emotion network: those of transformers, whatever else is in the batch."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from transformers import Wav2Vec2FeatureExtractor

from ercache.errors import WeightsError
from ercache.nets.speech_networks import build
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders import ENCODERS
from extract.encoders.audio import speech_forward
from extract.encoders.audio.common import frame_count
from extract.encoders.audio.speech import ENTRIES as SPEECH
from extract.encoders.audio.speech import SpeechKind
from extract.encoders.base import Encoded, Sample
from tests.support.tiny_audio import Shelf, noise, shelf

KEYS = [kind.spec.key for kind in SPEECH]
GROUP = [kind.spec.key for kind in SPEECH if kind.network.norm == "group"]
LAYER = [kind.spec.key for kind in SPEECH if kind.network.norm == "layer"]
ONE_OF_EACH = [
    "audio/wav2vec2-base",
    "audio/wav2vec2-xlsr",
    "audio/hubert-large",
    "audio/wavlm-base-plus",
    "audio/wavlm-large",
]
PARAMETERS = {
    "audio/hubert-large": 315_438_720,
    "audio/wav2vec2-base": 94_371_712,
    "audio/wav2vec2-large": 315_428_992,
    "audio/wav2vec2-large-robust": 315_438_720,
    "audio/wavlm-base-plus": 94_381_936,
    "audio/wavlm-large": 315_453_120,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with shelf(tmp_path_factory.mktemp("weights")) as made:
        yield made


def kind_of(key: str) -> SpeechKind:
    kind = ENCODERS[key]
    assert isinstance(kind, SpeechKind)
    return kind


def encoded(result: Any) -> Encoded:
    assert isinstance(result, Encoded), result
    return result


def values(tiny: Shelf, key: str, sound: NDArray[np.float32] | None, **params: Any) -> Any:
    return tiny[key].encoder(**params).encode([Sample(sound=sound)])[0]


@pytest.mark.parametrize("key", KEYS)
def test_frames_are_those_of_transformers(tiny: Shelf, key: str) -> None:
    facts, network, sound = kind_of(key).network, tiny[key].network, noise(16_000)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=facts.normalised)
    inputs = extractor(sound, sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        states = (network.wav2vec2 if facts.emotion else network)(**inputs).last_hidden_state[0]
    result = encoded(values(tiny, key, sound))
    np.testing.assert_allclose(result.arrays["frames"], states, atol=1e-6)
    np.testing.assert_allclose(result.arrays["pooled"][0], states.mean(0), atol=1e-6)
    assert result.arrays["frames"].shape == (49, facts.width) and result.frames == 49
    assert {spec.name for spec in kind_of(key).arrays(kind_of(key).Params())} == set(result.arrays)


@pytest.mark.parametrize("key", ONE_OF_EACH)
def test_a_layer_is_the_hidden_state_of_transformers(tiny: Shelf, key: str) -> None:
    sound = noise(3_000)
    inputs = Wav2Vec2FeatureExtractor(do_normalize=kind_of(key).network.normalised)(
        sound, sampling_rate=16_000, return_tensors="pt"
    )
    with torch.inference_mode():
        output = tiny[key].network(**inputs, output_hidden_states=True)
    expected = [*output.hidden_states[:2], output.last_hidden_state]
    for layer, states in enumerate(expected):
        result = encoded(values(tiny, key, sound, layer=layer))
        np.testing.assert_allclose(result.arrays["frames"], states[0], atol=1e-6)
    last = encoded(values(tiny, key, sound)).arrays["frames"]
    np.testing.assert_array_equal(last, encoded(values(tiny, key, sound, layer=2)).arrays["frames"])


@pytest.mark.parametrize("key", [*ONE_OF_EACH, "audio/wav2vec2-emotion"])
def test_frames_do_not_depend_on_the_batch(tiny: Shelf, key: str) -> None:
    encoder = tiny[key].encoder()
    samples = [Sample(sound=noise(n, n)) for n in (400, 3_000, 8_000, 20_000)]
    together = encoder.encode([*samples, Sample()])
    assert isinstance(together.pop(), Missing)
    for sample, batched in zip(samples, together, strict=True):
        alone = encoded(encoder.encode([sample])[0])
        for name, a in alone.arrays.items():
            b = encoded(batched).arrays[name]
            assert np.abs(a - b).max() <= ENCODERS[key].spec.tolerance * max(1, np.abs(a).max()), name


@pytest.mark.parametrize("key", ONE_OF_EACH)
def test_only_networks_without_a_group_norm_see_padding(tiny: Shelf, key: str) -> None:
    encoder: Any = tiny[key].encoder(frames=False)
    rows: list[int] = []
    network = encoder._network
    network.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    sounds = [noise(2_000), noise(4_000)]
    encoder.encode([Sample(sound=sound) for sound in sounds])
    assert rows == ([1, 1] if key in GROUP else [2])
    if key in GROUP:
        with pytest.raises(ValueError, match="group norm"):
            encoder._forward(sounds)
        assert len(encoder._forward([sounds[0], sounds[0]])) == 2  # equal lengths need no padding


def test_long_clips_share_a_forward_only_as_far_as_memory_reaches(
    tiny: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder: Any = tiny["audio/wav2vec2-xlsr"].encoder(frames=False)
    rows: list[int] = []
    encoder._network.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    monkeypatch.setattr(speech_forward, "MAX_FRAME_PAIRS", 2 * frame_count(4_000) ** 2)
    encoder.encode([Sample(sound=noise(4_000, n)) for n in range(5)])
    assert rows == [2, 2, 1]


@pytest.mark.parametrize("key", ["audio/wav2vec2-base", "audio/wavlm-large"])
def test_same_sound_gives_same_bytes(tiny: Shelf, key: str) -> None:
    first, again = (encoded(values(tiny, key, noise(4_000))).arrays["frames"] for _ in range(2))
    assert first.tobytes() == again.tobytes()


def test_the_batch_rule_follows_from_the_norm() -> None:
    assert {ENCODERS[key].spec.batch for key in GROUP} == {"one"}
    assert {ENCODERS[key].spec.batch for key in LAYER} == {"mask"}
    assert len(GROUP) == 5 and len(LAYER) == 5


@pytest.mark.parametrize("key", ["audio/wav2vec2-base", "audio/wavlm-base-plus"])
def test_loudness_matters_only_where_the_preprocessor_does_not_normalise(tiny: Shelf, key: str) -> None:
    quiet, loud = (encoded(values(tiny, key, noise(4_000) * g)).arrays["pooled"] for g in (0.1, 1.0))
    same = np.abs(quiet - loud).max() < 1e-3
    assert same == (key == "audio/wav2vec2-base")


def test_the_checkpoints_own_preprocessor_decides_about_normalisation(tiny: Shelf) -> None:
    made = tiny["audio/wav2vec2-base"]
    state = {f"wav2vec2.{name}": t for name, t in made.network.state_dict().items()}
    files = {"config.json": made.config, "preprocessor_config.json": {"do_normalize": False}}
    kind = kind_of("audio/wav2vec2-base")
    encoder = kind(kind.Params(), "cpu", tiny.bring("tiny-raw", state, files))
    with torch.inference_mode():
        expected = made.network(torch.from_numpy(noise(4_000))[None]).last_hidden_state[0]
    result = encoded(encoder.encode([Sample(sound=noise(4_000))])[0])
    np.testing.assert_allclose(result.arrays["frames"], expected, atol=1e-6)


@pytest.mark.parametrize("key", ["audio/wav2vec2-base-960h", "audio/wav2vec2-emotion"])
def test_the_vector_of_masked_frames_and_the_heads_of_training_are_not_needed(tiny: Shelf, key: str) -> None:
    made, kind = tiny[key], kind_of(key)
    base = "" if kind.network.emotion else "wav2vec2."
    state = {f"{base}{name}": t for name, t in made.network.state_dict().items() if "masked" not in name}
    files = {"config.json": made.config, "preprocessor_config.json": {"do_normalize": True}}
    more = state if kind.network.emotion else state | {"lm_head.weight": torch.zeros(32, kind.network.width)}
    encoder = kind(kind.Params(), "cpu", tiny.bring(f"tiny-bare-{kind.spec.weights}", more, files))
    bare = encoded(encoder.encode([Sample(sound=noise(1_000))])[0]).arrays
    np.testing.assert_array_equal(bare["frames"], encoded(values(tiny, key, noise(1_000))).arrays["frames"])


def test_emotions_are_tanh_and_three_outputs_of_the_mean(tiny: Shelf) -> None:
    result = encoded(values(tiny, "audio/wav2vec2-emotion", noise(8_000)))
    head = tiny["audio/wav2vec2-emotion"].network.classifier
    pooled = torch.from_numpy(result.arrays["pooled"][0])
    expected = (
        head.out_proj.weight @ torch.tanh(head.dense.weight @ pooled + head.dense.bias) + head.out_proj.bias
    )
    np.testing.assert_allclose(result.arrays["emotion"][0], expected.detach(), atol=1e-5)
    emotion = kind_of("audio/wav2vec2-emotion").arrays(kind_of("audio/wav2vec2-emotion").Params())[1]
    assert emotion.axes == ("utterance", "arousal_dominance_valence")


def test_a_checkpoint_without_the_emotion_head_is_refused(tiny: Shelf) -> None:
    made = tiny["audio/wav2vec2-emotion"]
    state = {n: t for n, t in made.network.state_dict().items() if n != "classifier.dense.bias"}
    files = {"config.json": made.config, "preprocessor_config.json": {"do_normalize": True}}
    kind = kind_of("audio/wav2vec2-emotion")
    with pytest.raises(WeightsError) as caught:
        kind(kind.Params(), "cpu", tiny.bring("tiny-headless", state, files))
    assert any("classifier.dense.bias" in line for line in caught.value.details)


def test_a_checkpoint_with_another_norm_is_refused(tiny: Shelf) -> None:
    kind = kind_of("audio/wav2vec2-xlsr")
    with pytest.raises(WeightsError, match="another network") as caught:
        kind(kind.Params(), "cpu", tiny["audio/wav2vec2-base"].weights)
    assert any("feat_extract_norm" in line for line in caught.value.details)
    assert any("hidden_size" in line for line in caught.value.details)


def test_sound_that_cannot_be_encoded_is_missing(tiny: Shelf) -> None:
    broken = noise(4_000)
    broken[7] = np.inf
    cases = {
        Reason.NO_AUDIO: np.zeros(0, np.float32),
        Reason.TOO_SHORT: noise(399),
        Reason.SILENT: np.zeros(16_000, np.float32),
        Reason.UNREADABLE: broken,
    }
    for key in ("audio/wav2vec2-base", "audio/wavlm-large"):
        for reason, sound in cases.items():
            result = values(tiny, key, sound)
            assert isinstance(result, Missing) and result.reason == reason
        assert encoded(values(tiny, key, noise(400))).frames == 1
        assert encoded(values(tiny, key, noise(800))).frames == 2  # 0.05 s


def test_a_long_clip_is_heard_from_its_beginning(tiny: Shelf) -> None:
    sound = noise(60 * 16_000)
    long = encoded(values(tiny, "audio/wavlm-large", sound, max_seconds=1))
    first = encoded(values(tiny, "audio/wavlm-large", sound[:16_000]))
    assert long.frames == 49
    np.testing.assert_array_equal(long.arrays["frames"], first.arrays["frames"])
    encoder = tiny["audio/wavlm-large"].encoder()
    assert encoder.length(Sample(sound=sound)) == 30 * 16_000


def test_avafn_lengthens_short_clips_after_normalising_them(tiny: Shelf) -> None:
    result = encoded(values(tiny, "audio/wav2vec2-large", noise(399), pad_seconds=0.1))
    extractor = Wav2Vec2FeatureExtractor()
    inputs = extractor(
        [noise(399)],
        sampling_rate=16_000,
        padding="max_length",
        max_length=1_600,
        return_tensors="pt",
        return_attention_mask=True,
    )
    with torch.inference_mode():
        expected = tiny["audio/wav2vec2-large"].network(inputs["input_values"]).last_hidden_state[0]
    assert result.frames == 4
    np.testing.assert_allclose(result.arrays["frames"], expected, atol=1e-6)


def test_layers_that_the_network_does_not_have_are_refused() -> None:
    with pytest.raises(ValidationError):
        ENCODERS["audio/wavlm-base-plus"].Params(layer=13)
    with pytest.raises(ValidationError):
        ENCODERS["audio/wav2vec2-large"].Params(layer=25)
    with pytest.raises(ValidationError):
        ENCODERS["audio/wav2vec2-emotion"].Params(layer=1)


@pytest.mark.parametrize("key", PARAMETERS)
def test_networks_have_the_published_number_of_parameters(key: str) -> None:
    facts = kind_of(key).network
    with torch.device("meta"):
        network = build(facts.family, facts.config, facts.emotion)
    assert sum(tensor.numel() for tensor in network.parameters()) == PARAMETERS[key]


def test_nothing_is_printed_and_no_random_number_drawn(
    tiny: Shelf, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = tiny["audio/wavlm-base-plus"].weights
    before = torch.random.get_rng_state()
    kind = kind_of("audio/wavlm-base-plus")
    kind(kind.Params(), "cpu", weights).encode([Sample(sound=noise(1_000))])
    assert torch.equal(before, torch.random.get_rng_state())
    assert capfd.readouterr().out == ""


@pytest.mark.full
@pytest.mark.parametrize("key", KEYS)
def test_networks_of_full_size_give_their_arrays(key: str) -> None:
    kind = kind_of(key)
    encoder = kind(kind.Params(), "cpu", Weights(str(kind.spec.weights), 0))
    sounds = [Sample(sound=noise(n, n)) for n in (8_000, 16_000)]
    for sample, batched in zip(sounds, encoder.encode(sounds), strict=True):
        alone = encoded(encoder.encode([sample])[0])
        for spec in kind.arrays(kind.Params()):
            a, b = alone.arrays[spec.name], encoded(batched).arrays[spec.name]
            assert a.shape[1:] == spec.shape and a.dtype == spec.dtype and np.isfinite(a).all()
            assert np.abs(a - b).max() <= kind.spec.tolerance * max(1, np.abs(a).max())
