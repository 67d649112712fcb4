"""Encoders with speech networks: wav2vec 2.0, HuBERT, WavLM, and an emotion network built on wav2vec 2.0.

All read sound at 16 kHz and give one state (vector) every 20 ms. Each state belongs to a frame of 400 samples; the next
frame starts 320 samples later (docs/encoders.md#speech-networks).
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.nets.speech_networks import (
    BASE,
    BASE_WAVLM,
    EMOTION,
    LARGE,
    LARGE_HUBERT,
    LARGE_STABLE,
    LARGE_WAVLM,
    UNMASKED,
    UNUSED,
    SpeechNetwork,
    build,
    keep_layers,
    tensor_name,
)
from ercache.params.schema import Strict
from ercache.weights import Weights
from extract.encoders.audio.common import pooled_and_frames
from extract.encoders.audio.speech_forward import RATE, SpeechEncoder
from extract.encoders.base import EncoderSpec, Input

EMOTIONS = ("arousal", "dominance", "valence")


class SpeechParams(Strict):
    """Parameters that all encoders with speech networks (wav2vec 2.0, HuBERT, WavLM) have.

    Attributes:
        frames: also keep the state of every 20 ms (frame), not only the mean of all states.
        max_seconds: a longer clip is cut after this time, because memory and time grow with the square of the length.
        pad_seconds: a shorter clip gets silence at its end up to this length (AVAFN: 0.1 s); 0 appends none.
    """

    frames: bool = True
    max_seconds: float = Field(30, ge=0.025, le=120)
    pad_seconds: float = Field(0, ge=0, le=30)


class BaseSpeechParams(SpeechParams):
    """Parameters of a speech network with 12 layers.

    Attributes:
        layer: number of the layer whose output is kept; 0 keeps the input of the first layer, None means the last one.
    """

    layer: int | None = Field(None, ge=0, le=12)


class WavlmBaseParams(BaseSpeechParams):
    """Parameters of WavLM base.

    Attributes:
        weights: checkpoint: `wavlm-base-plus`, trained on 94,000 hours of speech, or `wavlm-base`, trained on the 960
            hours of LibriSpeech.
    """

    weights: Literal["wavlm-base-plus", "wavlm-base"] = "wavlm-base-plus"


class LargeSpeechParams(SpeechParams):
    """Parameters of a speech network with 24 layers.

    Attributes:
        layer: number of the layer whose output is kept; 0 keeps the input of the first layer, None means the last one.
    """

    layer: int | None = Field(None, ge=0, le=24)


@dataclass(frozen=True)
class SpeechKind:
    """An entry of the encoder registry for a speech network: it declares input and arrays, and builds the encoder."""

    spec: EncoderSpec
    network: SpeechNetwork
    Params: type[BaseModel]

    def input(self, params: Any) -> Input:
        """Declare which input the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    def arrays(self, params: Any) -> tuple[ArraySpec, ...]:
        """Declare the arrays of a clip: `pooled` [1, width], the mean state, and if requested `frames` [T, width].

        `frames` has T rows of width values, one per 20 ms; the param `frames` requests it. The emotion network also
        gives `emotion` [1, 3]: arousal, dominance and valence, each from about 0 to 1.
        """
        pooled, *frames = pooled_and_frames(self.network.width, params.frames)
        emotion = ArraySpec("emotion", "vector", ("utterance", "_".join(EMOTIONS)), (len(EMOTIONS),))
        return (pooled, *((emotion,) if self.network.emotion else ()), *frames)

    def __call__(self, params: Any, device: str = "cpu", weights: Weights | None = None) -> "SpeechEncoder":
        """Load the network's checkpoint and build the encoder on a device.

        Raises:
            WeightsError: the checkpoint is absent or damaged, or it belongs to a network with other norm layers or
                another width.
        """
        handle = weights or Weights(getattr(params, "weights", str(self.spec.weights)))
        config, normalise = read_config(handle, self.network)
        network: Any = handle.network(
            lambda: build(self.network.family, config, self.network.emotion),
            strip=() if self.network.emotion else (f"{self.network.family}.",),
            drop=UNUSED,
            rename=tensor_name,
        )
        encoder = network.wav2vec2 if self.network.emotion else network
        layer = getattr(params, "layer", None)
        if layer is not None:
            keep_layers(encoder, layer)
        head = network.classifier.to(device) if self.network.emotion else None
        return SpeechEncoder(params, encoder.to(device), head, self.spec.batch == "mask", normalise, device)


def read_config(weights: Weights, expected: SpeechNetwork) -> tuple[dict[str, Any], bool]:
    """Read the config of a speech network from the files of its checkpoint, and check it.

    Returns:
        The config for building the network, and whether each clip must be normalised to mean 0 and variance 1.

    Raises:
        WeightsError: the checkpoint belongs to a network with other norm layers or another width than `expected`.
    """
    config = weights.config(expected.config, fixed=("feat_extract_norm", "hidden_size"))
    if weights.random is not None:
        return config | UNMASKED, expected.normalised
    preprocessor = json.loads(weights.path("preprocessor_config.json").read_text(encoding="utf-8"))
    return config | UNMASKED, bool(preprocessor["do_normalize"])


def _kind(
    name: str, network: SpeechNetwork, paper: str, summary: str, licence: str = "Apache-2.0"
) -> SpeechKind:
    rule: Literal["one", "mask"] = "one" if network.norm == "group" else "mask"
    spec = EncoderSpec(
        key=f"audio/{name}",
        modality="audio",
        summary=summary,
        batch=rule,
        version=1,
        licence=licence,
        weights=name,
        paper=paper,
    )
    return SpeechKind(spec, network, _params(network))


def _params(network: SpeechNetwork) -> type[SpeechParams]:
    if network.emotion:
        return SpeechParams
    if network.layers == 24:
        return LargeSpeechParams
    return WavlmBaseParams if network.family == "wavlm" else BaseSpeechParams


_WAV2VEC2 = "Baevski et al. 2020, arXiv 2006.11477"
_WAVLM = "Chen et al. 2022, arXiv 2110.13900"
_NC = "CC-BY-NC-SA-4.0"

ENTRIES: tuple[SpeechKind, ...] = (
    _kind(
        "hubert-large", LARGE_HUBERT, "Hsu et al. 2021, arXiv 2106.07447", "HuBERT large, Libri-Light 60k h"
    ),
    _kind("wav2vec2-base", BASE, _WAV2VEC2, "wav2vec 2.0 base, LibriSpeech"),
    _kind("wav2vec2-base-960h", BASE, _WAV2VEC2, "wav2vec 2.0 base, tuned to recognise LibriSpeech"),
    _kind(
        "wav2vec2-emotion",
        EMOTION,
        "Wagner et al. 2023, arXiv 2203.07378",
        "arousal, dominance, valence",
        _NC,
    ),
    _kind("wav2vec2-large", LARGE, _WAV2VEC2, "wav2vec 2.0 large, LibriSpeech"),
    _kind("wav2vec2-large-960h", LARGE, _WAV2VEC2, "wav2vec 2.0 large, tuned to recognise LibriSpeech"),
    _kind(
        "wav2vec2-large-robust",
        LARGE_STABLE,
        "Hsu et al. 2021, arXiv 2104.01027",
        "wav2vec 2.0 large, four domains",
    ),
    _kind(
        "wav2vec2-xlsr",
        LARGE_STABLE,
        "Conneau et al. 2020, arXiv 2006.13979",
        "wav2vec 2.0 large, 53 languages",
    ),
    _kind("wavlm-base-plus", BASE_WAVLM, _WAVLM, "WavLM base, 94k h", "MIT"),
    _kind("wavlm-large", LARGE_WAVLM, _WAVLM, "WavLM large, 94k h", "MIT"),
)
