"""The encoder of the speech recogniser Whisper (Radford et al. 2022), without its decoder.

It turns the log-mel spectrogram of a sound of up to 30 s into one state per 20 ms.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.audio.common import pooled_and_frames, why_unusable
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.run_singly import encode_usable
from extract.media.types import FloatArray

if TYPE_CHECKING:
    from torch import nn

RATE: Final = 16_000
MIN_SAMPLES: Final = 400  # one window of the spectrum
MAX_SAMPLES: Final = 30 * RATE  # the network always gets 30 s
STEP: Final = 320  # samples per state
WIDTH: Final = 768
CONFIG: Final[dict[str, Any]] = {
    "d_model": WIDTH,
    "encoder_layers": 12,
    "encoder_attention_heads": 12,
    "encoder_ffn_dim": 3072,
    "num_mel_bins": 80,
}


class WhisperParams(Strict):
    """Parameters of `audio/whisper-small`.

    Attributes:
        frames: also keep the state of every 20 ms, not only their mean.
    """

    frames: bool = True


class WhisperSmall:
    """Computes the states of Whisper's encoder for the first 30 s of a sound (`frames`), and their mean (`pooled`).

    Whisper always reads 30 s: a shorter sound is padded with silence, and the states of this silence are removed.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/whisper-small",
        modality="audio",
        summary="encoder of Whisper small",
        batch="equal",
        version=1,
        licence="Apache-2.0",
        weights="whisper-small",
        paper="Radford et al. 2022, arXiv 2212.04356",
    )
    Params: ClassVar[type[BaseModel]] = WhisperParams

    def __init__(self, params: WhisperParams, device: str = "cpu", weights: Weights | None = None) -> None:
        from transformers.models.whisper.feature_extraction_whisper import WhisperFeatureExtractor

        self.params, self.device = params, device
        handle = weights or Weights("whisper-small")
        config = handle.config(CONFIG)
        network: Any = handle.network(
            lambda: build(config), strip=("model.encoder.",), drop=("model.decoder.", "proj_out.")
        )
        self._network = network.to(device)
        extractor: Any = WhisperFeatureExtractor
        self._mel = extractor(feature_size=config["num_mel_bins"])

    @staticmethod
    def input(params: WhisperParams) -> Input:
        """Declare which input the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: WhisperParams) -> tuple[ArraySpec, ...]:
        """Declare the arrays of an utterance: `pooled` [1, 768], the mean state, and if requested `frames` [T, 768].

        `frames` holds T states, one per 20 ms of sound. The param `frames` requests it.
        """
        return pooled_and_frames(WIDTH, params.frames)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and all inputs are 30 s long."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute the states of all usable sounds in one batch.

        Returns:
            For each sound, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return encode_usable(samples, lambda sample: why_unusable(sample.sound, MIN_SAMPLES), self._forward)

    def _forward(self, samples: list[Sample]) -> Iterator[Encoded]:
        import torch

        sounds = [sample.sound[:MAX_SAMPLES] for sample in samples if sample.sound is not None]
        with torch.inference_mode():
            mel = torch.stack([self._spectrum(sound) for sound in sounds])  # [B, 80, 3000]
            states = self._network(mel.to(self.device)).last_hidden_state  # [B, 1500, 768]
        for row, sound in zip(states, sounds, strict=True):
            frames = row[: -(-len(sound) // STEP)].float().cpu().numpy()
            pooled = {"pooled": frames.mean(0, keepdims=True)}
            yield Encoded(pooled | ({"frames": frames} if self.params.frames else {}), len(frames))

    def _spectrum(self, sound: FloatArray) -> Any:
        """Return the log-mel spectrogram of one clip, [80, 3000]: 80 mel bands every 10 ms of 30 s.

        Levels far below the loudest one of the clip are raised to a common floor, so each clip is processed alone.
        """
        features = self._mel(np.asarray(sound), sampling_rate=RATE, return_tensors="pt")
        return features.input_features[0]


def build(config: dict[str, Any]) -> "nn.Module":
    """Build Whisper's encoder (88,154,112 parameters with the published config); the decoder is left out."""
    from transformers.models.whisper.configuration_whisper import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    network: nn.Module = WhisperEncoder(WhisperConfig.from_dict(config))
    return network


ENTRY: Final[EncoderKind] = WhisperSmall
