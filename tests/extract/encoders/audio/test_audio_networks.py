"""Whisper's encoder, the mel ViT of Cues, emotion2vec and eGeMAPS: literal references, promises, odd sounds."""

import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import WhisperFeatureExtractor

from ercache.errors import WeightsError
from ercache.nets.emotion2vec import Emotion2vec, distance_bias, slopes
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders import ENCODERS
from extract.encoders.audio import emotion2vec, mel_vit, whisper
from extract.encoders.audio.voice_mel import as_picture, mel_levels
from extract.encoders.base import Encoded, Neighbour, Sample
from tests.support.tiny_audio import Shelf, noise, shelf

WHISPER, VIT, EMOTION = "audio/whisper-small", "audio/mel-vit", "audio/emotion2vec"
KEYS = (WHISPER, VIT, EMOTION)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with shelf(tmp_path_factory.mktemp("weights")) as made:
        yield made


def encoded(result: Any) -> Encoded:
    assert isinstance(result, Encoded), result
    return result


def one(tiny: Shelf, key: str, sample: Sample, **params: Any) -> Any:
    return tiny[key].encoder(**params).encode([sample])[0]


@pytest.mark.parametrize("key", KEYS)
def test_arrays_are_as_declared_and_do_not_depend_on_the_batch(tiny: Shelf, key: str) -> None:
    kind, encoder = ENCODERS[key], tiny[key].encoder()
    samples = [Sample(sound=noise(n, n)) for n in (1_600, 8_000)]
    together = encoder.encode([Sample(), *samples])
    assert isinstance(together.pop(0), Missing)
    for sample, batched in zip(samples, together, strict=True):
        alone, again = (encoded(encoder.encode([sample])[0]) for _ in range(2))
        assert {n: a.tobytes() for n, a in alone.arrays.items()} == {
            n: a.tobytes() for n, a in again.arrays.items()
        }
        for spec in kind.arrays(kind.Params()):
            a, b = alone.arrays[spec.name], encoded(batched).arrays[spec.name]
            assert a.shape[1:] == spec.shape and a.dtype == spec.dtype and len(a) == len(b)
            assert np.abs(a.astype(float) - b).max() <= kind.spec.tolerance * max(1, np.abs(a).max())


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (None, Reason.NO_AUDIO),
        (noise(399), Reason.TOO_SHORT),
        (np.zeros(16_000, np.float32), Reason.SILENT),
        (np.full(16_000, np.inf, np.float32), Reason.UNREADABLE),
    ],
)
def test_sound_that_cannot_be_encoded_is_missing(
    tiny: Shelf, key: str, sound: NDArray[np.float32] | None, reason: Reason
) -> None:
    result = one(tiny, key, Sample(sound=sound))
    assert isinstance(result, Missing) and result.reason == reason


# --- audio/whisper-small


def test_whisper_states_are_those_of_transformers_up_to_the_end_of_the_sound(tiny: Shelf) -> None:
    sound = noise(16_001)
    mel = WhisperFeatureExtractor()(sound, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.inference_mode():
        states = tiny[WHISPER].network(mel).last_hidden_state[0]
    result = encoded(one(tiny, WHISPER, Sample(sound=sound)))
    assert states.shape == (1500, 768) and result.frames == 51
    np.testing.assert_allclose(result.arrays["frames"], states[:51], atol=1e-6)
    np.testing.assert_allclose(result.arrays["pooled"][0], states[:51].mean(0), atol=1e-5)


def test_whisper_hears_30_seconds(tiny: Shelf) -> None:
    result = encoded(one(tiny, WHISPER, Sample(sound=noise(60 * 16_000)), frames=False))
    assert result.frames == 1500 and set(result.arrays) == {"pooled"}


def test_whisper_encoder_has_its_parameters() -> None:
    with torch.device("meta"):
        assert sum(tensor.numel() for tensor in whisper.build(whisper.CONFIG).parameters()) == 88_154_112


# --- audio/mel-vit


def test_tokens_are_the_hidden_states_below_the_upper_layers(tiny: Shelf) -> None:
    sound = noise(16_000)
    picture = as_picture(mel_levels(sound))[None]
    with torch.inference_mode():
        states = tiny[VIT].network(picture, output_hidden_states=True).hidden_states
    for upper in (1, 2):
        result = encoded(one(tiny, VIT, Sample(sound=sound), upper=upper, dtype="float32"))
        expected = states[len(states) - 1 - upper][0]
        np.testing.assert_allclose(result.arrays["tokens"], expected, atol=1e-6)
        np.testing.assert_allclose(result.arrays["pooled"][0], expected[0], atol=1e-6)


def test_tokens_are_half_as_large_by_default(tiny: Shelf) -> None:
    sample = Sample(sound=noise(16_000))
    half, full = (encoded(one(tiny, VIT, sample, dtype=d)).arrays["tokens"] for d in ("float16", "float32"))
    assert half.shape == (197, 1024) and half.nbytes == 403_456
    np.testing.assert_array_equal(half, full.astype(np.float16))


def test_recognition_sees_the_utterance_and_prediction_those_before_it(tiny: Shelf) -> None:
    kind = ENCODERS[VIT]
    assert kind.input(kind.Params()).past == 0
    assert kind.input(kind.Params(scope="window", window=3)).past == 2
    turns = (Neighbour(sound=noise(8_000, 1)), Neighbour(sound=None))
    sample = Sample(sound=noise(8_000, 2), before=turns)
    alone = encoded(one(tiny, VIT, sample)).arrays["pooled"]
    np.testing.assert_array_equal(alone, encoded(one(tiny, VIT, Sample(sound=sample.sound))).arrays["pooled"])
    window = encoded(one(tiny, VIT, sample, scope="window")).arrays["pooled"]
    gap = np.zeros(1_600, np.float32)
    joined = Sample(sound=np.concatenate([noise(8_000, 1), gap, noise(8_000, 2)]))
    np.testing.assert_array_equal(window, encoded(one(tiny, VIT, joined)).arrays["pooled"])
    assert np.abs(window - alone).max() > 1e-3


def test_a_long_utterance_is_heard_for_10_seconds(tiny: Shelf) -> None:
    sound = noise(60 * 16_000)
    long, cut = (encoded(one(tiny, VIT, Sample(sound=s))).arrays["tokens"] for s in (sound, sound[:160_000]))
    np.testing.assert_array_equal(long, cut)


@pytest.mark.parametrize(("size", "width", "layer"), [("base", 768, 7_087_872), ("large", 1024, 12_596_224)])
def test_lower_layers_of_vit_have_their_parameters(size: str, width: int, layer: int) -> None:
    config = mel_vit.CONFIGS[f"vit-{size}-in21k"]
    with torch.device("meta"):
        lower = mel_vit.build(config, 2)
    before = (3 * 256 + 1) * width + width + 197 * width  # patches, class token, positions
    layers = config["num_hidden_layers"] - 2
    assert sum(tensor.numel() for tensor in lower.parameters()) == before + layers * layer
    kind = ENCODERS[VIT]
    assert kind.arrays(kind.Params(weights=f"vit-{size}-in21k"))[1].shape == (width,)


# --- audio/emotion2vec


def reference_emotion2vec(state: dict[str, Tensor], sound: Tensor, depths: tuple[int, int]) -> Tensor:
    """The published forward pass, one step after the other, on the state dict alone."""
    base = "modality_encoders.AUDIO"

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"] if name else scaled

    x = (sound - sound.mean()) / (sound.var(correction=0) + 1e-5).sqrt()
    x = x[None]
    for n, stride in enumerate((5, 2, 2, 2, 2, 2, 2)):
        x = F.conv1d(x, state[f"{base}.local_encoder.conv_layers.{n}.0.weight"], stride=stride)
        x = F.gelu(norm(x.T, f"{base}.local_encoder.conv_layers.{n}.2.1")).T
    x = linear(norm(x.T, f"{base}.project_features.1"), f"{base}.project_features.2")  # [T, 768]
    near = x.T
    for n in range(1, 6):
        name = f"{base}.relative_positional_encoder.{n}.0"
        near = F.conv1d(near, state[f"{name}.weight"], state[f"{name}.bias"], padding=9, groups=16)
        near = F.gelu(norm(near.T, "")).T
    x = torch.cat([state[f"{base}.extra_tokens"][0], x + near.T])
    rows = [2.0**-n for n in range(1, 9)] + [2.0 ** -(n + 0.5) for n in range(4)]
    bias = torch.zeros(12, len(x), len(x))
    for head in range(12):
        for i in range(10, len(x)):
            for j in range(10, len(x)):
                bias[head, i, j] = -rows[head] * abs(i - j) * state[f"{base}.alibi_scale"][0, 0, head, 0, 0]
    names = [f"{base}.context_encoder.blocks.{n}" for n in range(depths[0])]
    x = norm(x, f"{base}.context_encoder.norm")
    for name in [*names, *(f"blocks.{n}" for n in range(depths[1]))]:
        q, k, v = linear(x, f"{name}.attn.qkv").reshape(len(x), 3, 12, 64).permute(1, 2, 0, 3)
        weights = (q @ k.transpose(1, 2) / 8 + bias).softmax(-1)
        x = norm(
            x + linear((weights @ v).transpose(0, 1).reshape(len(x), 768), f"{name}.attn.proj"),
            f"{name}.norm1",
        )
        x = norm(x + linear(F.gelu(linear(x, f"{name}.mlp.fc1")), f"{name}.mlp.fc2"), f"{name}.norm2")
    return x[10:]


def test_emotion2vec_is_the_published_forward_pass(tiny: Shelf) -> None:
    sound = noise(6_400)
    state = tiny[EMOTION].network.state_dict()
    expected = reference_emotion2vec(state, torch.from_numpy(sound), (1, 1)).detach()
    result = encoded(one(tiny, EMOTION, Sample(sound=sound)))
    assert result.frames == 19
    np.testing.assert_allclose(result.arrays["frames"], expected, atol=2e-5)
    np.testing.assert_allclose(result.arrays["pooled"][0], expected.mean(0), atol=2e-5)


def test_emotion2vec_hears_the_beginning_of_a_long_clip(tiny: Shelf) -> None:
    sound = noise(60 * 16_000)
    long = encoded(one(tiny, EMOTION, Sample(sound=sound), max_seconds=1))
    np.testing.assert_array_equal(
        long.arrays["frames"], encoded(one(tiny, EMOTION, Sample(sound=sound[:16_000]))).arrays["frames"]
    )


def test_attention_falls_with_distance_as_in_alibi() -> None:
    assert slopes(8) == [2.0**-n for n in range(1, 9)]
    assert slopes(12)[8:] == pytest.approx([2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5])
    assert distance_bias(3, 2)[0, 0].tolist() == [
        [0, -0.0625, -0.125],
        [-0.0625, 0, -0.0625],
        [-0.125, -0.0625, 0],
    ]


def test_emotion2vec_has_the_published_tensors_without_its_decoder() -> None:
    with torch.device("meta"):
        network = Emotion2vec()
    # the paper's 93.79 M with the decoder of pretraining: 4 convolutions (16 groups, kernel 7) of 384 and a projection
    decoder = (768 // 16 * 384 * 7 + 384) + 3 * (384 // 16 * 384 * 7 + 384) + 384 * 768 + 768
    total = sum(tensor.numel() for tensor in network.parameters()) + decoder
    assert round(total / 1e6, 2) == 93.79
    names = set(network.state_dict())
    assert {
        "modality_encoders.AUDIO.alibi_scale",
        "modality_encoders.AUDIO.extra_tokens",
        "modality_encoders.AUDIO.local_encoder.conv_layers.6.2.1.weight",
        "modality_encoders.AUDIO.project_features.2.bias",
        "modality_encoders.AUDIO.relative_positional_encoder.5.0.weight",
        "modality_encoders.AUDIO.context_encoder.blocks.3.attn.qkv.bias",
        "modality_encoders.AUDIO.context_encoder.norm.weight",
        "blocks.7.mlp.fc2.bias",
    } <= names


# --- audio/egemaps


def test_egemaps_says_why_it_cannot_run_or_gives_88_numbers() -> None:
    kind = ENCODERS["audio/egemaps"]
    if importlib.util.find_spec("opensmile") is None:
        assert "opensmile" in kind.spec.unavailable and "research" in kind.spec.unavailable
        with pytest.raises(WeightsError) as caught:
            kind(kind.Params())
        assert "pip install" in str(caught.value.hint)
        return
    encoder = kind(kind.Params(frames=True))
    result = encoded(encoder.encode([Sample(sound=noise(16_000))])[0])
    assert result.arrays["pooled"].shape == (1, 88) and result.arrays["frames"].shape[1] == 25
    short = encoder.encode([Sample(sound=noise(800))])[0]
    assert isinstance(short, Missing) and short.reason == Reason.TOO_SHORT


@pytest.mark.full
@pytest.mark.parametrize("key", KEYS)
def test_networks_of_full_size_give_their_arrays(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emotion2vec, "DEPTHS", (4, 8))
    kind = ENCODERS[key]
    encoder = kind(kind.Params(), "cpu", Weights(str(kind.spec.weights), 0))
    result = encoded(encoder.encode([Sample(sound=noise(16_000))])[0])
    for spec in kind.arrays(kind.Params()):
        values = result.arrays[spec.name]
        assert values.shape[1:] == spec.shape and values.dtype == spec.dtype and np.isfinite(values).all()
