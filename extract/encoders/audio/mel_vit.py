"""The second speech encoder of Cues: a vision transformer (ViT) that gets a mel spectrogram as a picture.

Its lower layers run here; its top layers are trained as a part of the fusion model.

Source: docs/papers/cues.md, section 3.5.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, model_validator

from ercache.cache import ArraySpec
from ercache.nets.vit_names import vit_name
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.audio.common import why_unusable
from extract.encoders.audio.voice_mel import RATE, as_picture, mel_levels
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.run_singly import encode_usable
from extract.media.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor, nn

TOKENS: Final = 197  # the class token and 14 x 14 patches
MIN_SAMPLES: Final = 1_600  # samples of an utterance: 0.1 s
CONFIGS: Final[dict[str, dict[str, Any]]] = {
    "vit-base-in21k": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
    "vit-large-in21k": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}


class MelVitParams(Strict):
    """Parameters of `audio/mel-vit`.

    Attributes:
        weights: checkpoint of the vision transformer. Choose `vit-base-in21k` if the fusion model has
            `mfm_size: base`.
        scope: whose sound is encoded: that of the utterance alone (`target`, to recognise its emotion), or also that of
            earlier utterances (`window`, to predict the next emotion).
        window: number of utterances with `scope: window`, including the current one.
        upper: number of top layers that are left out here, because the fusion model contains them. If the fusion model
            has `vit_lower_layers: false`, give the number of all layers (24 in the large network, 12 in the base one).
        dtype: data type of the stored array `tokens`; float16 needs half the disk space (float32: 11 GB for MELD).
        utterance_seconds: a longer utterance is cut after this time.
        window_seconds: with `scope: window`, the oldest utterances are dropped until the sound is at most this long.
        gap_seconds: length of the silence that replaces an earlier utterance without usable sound.
    """

    weights: Literal["vit-large-in21k", "vit-base-in21k"] = "vit-large-in21k"
    scope: Literal["target", "window"] = "target"
    window: int = Field(3, ge=1, le=64)
    upper: int = Field(2, ge=0, le=24)
    dtype: Literal["float16", "float32"] = "float16"
    utterance_seconds: float = Field(10, ge=0.1, le=120)
    window_seconds: float = Field(30, ge=0.1, le=600)
    gap_seconds: float = Field(0.1, ge=0)

    @model_validator(mode="after")
    def _has_so_many_layers(self) -> Self:
        layers = CONFIGS[self.weights]["num_hidden_layers"]
        if self.upper > layers:
            raise ValueError(f"upper: at most {layers}, the number of layers of {self.weights}")
        return self

    @property
    def width(self) -> int:
        """Number of values per token in the network's output: 1024 in the large network, 768 in the base one."""
        return int(CONFIGS[self.weights]["hidden_size"])


class MelVit:
    """Runs the mel spectrogram of an utterance, as a picture, through the lower layers of a vision transformer.

    The array `tokens` holds the output for all tokens (class token and patches of the picture), the array `pooled` only
    the output for the class token.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/mel-vit",
        modality="audio",
        summary="mel spectrogram through the lower layers of ViT-L/16",
        batch="equal",
        version=1,
        licence="Apache-2.0",
        weights="vit-large-in21k",
        paper="Cues, arXiv 2408.04547",
    )
    Params: ClassVar[type[BaseModel]] = MelVitParams

    def __init__(self, params: MelVitParams, device: str = "cpu", weights: Weights | None = None) -> None:
        self.params, self.device = params, device
        handle = weights or Weights(params.weights)
        config = handle.config(CONFIGS[params.weights])
        layers = config["num_hidden_layers"]
        upper = tuple(f"layers.{n}." for n in range(layers - params.upper, layers))
        network: Any = handle.network(
            lambda: build(config, params.upper),
            strip=("vit.",),
            drop=(*upper, "layernorm.", "pooler."),
            rename=vit_name,
        )
        self._network = network.to(device)

    @staticmethod
    def input(params: MelVitParams) -> Input:
        """Declare which input the encoder needs: sound at 16 kHz.

        With `scope: window` the sound of earlier utterances in the dialogue is needed too.
        """
        return Input(rate=RATE, past=params.window - 1 if params.scope == "window" else 0)

    @staticmethod
    def arrays(params: MelVitParams) -> tuple[ArraySpec, ...]:
        """Declare two arrays of an utterance: `tokens` [197, width] and `pooled` [1, width], width values per token.

        The first row of `tokens` is the output for the class token; `pooled` repeats it. The other 196 rows belong to
        the patches of the picture, row by row, high frequencies first.
        """
        shape = (params.width,)
        return (
            ArraySpec("pooled", "vector", ("utterance", "dimension"), shape),
            ArraySpec("tokens", "sequence", ("class_and_patches", "dimension"), shape, params.dtype),
        )

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and all inputs have one size."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Run the mel spectrograms of all utterances through the network in one batch.

        Returns:
            For each utterance, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return encode_usable(
            samples, lambda sample: why_unusable(sample.sound, MIN_SAMPLES), self._encode_together
        )

    def _encode_together(self, samples: list[Sample]) -> Iterator[Encoded]:
        pictures = [as_picture(mel_levels(self._sound_of(sample))) for sample in samples]
        for states in self._forward(pictures):
            tokens = states.astype(self.params.dtype)
            yield Encoded({"pooled": states[:1], "tokens": tokens}, len(tokens))

    def _sound_of(self, sample: Sample) -> FloatArray:
        if sample.sound is None:
            raise ValueError("a sample without sound has no picture")
        most = round(self.params.utterance_seconds * RATE)
        before = [turn.sound for turn in sample.before] if self.params.scope == "window" else []
        gap = round(self.params.gap_seconds * RATE)
        return window_sound(before, sample.sound, most, round(self.params.window_seconds * RATE), gap)

    def _forward(self, pictures: Sequence["Tensor"]) -> FloatArray:
        """Return the network's output [B, 197, width] for B pictures, each [3, 224, 224]."""
        import torch

        with torch.inference_mode():
            states = self._network(torch.stack(list(pictures)).to(self.device)).last_hidden_state
        return np.asarray(states.float().cpu().numpy(), np.float32)


def window_sound(
    before: Sequence[FloatArray | None], target: FloatArray, utterance: int, window: int, gap: int
) -> FloatArray:
    """Join the sounds of earlier utterances and of the current one, in this order, [n].

    Source: docs/papers/cues.md, section 3.4.

    Args:
        before: sounds of earlier utterances in order, None where there is no sound.
        target: sound of the current utterance.
        utterance: each utterance is cut after this many samples.
        window: largest number n of samples in the result. To reach it, whole utterances are dropped, the oldest first,
            but never the current one.
        gap: number of silent samples that replace an earlier utterance without usable sound.
    """
    silence = np.zeros(gap, np.float32)
    parts = [silence if s is None or why_unusable(s, MIN_SAMPLES) else s[:utterance] for s in before]
    parts.append(target[:utterance])
    while len(parts) > 1 and sum(map(len, parts)) > window:
        parts.pop(0)
    return np.concatenate(parts)


def build(config: dict[str, Any], upper: int) -> "nn.Module":
    """Build a vision transformer (ViT) without its top `upper` layers and without its final norm layer.

    The large ViT without its two top layers has 278,107,136 parameters.
    """
    from torch import nn
    from transformers.models.vit.configuration_vit import ViTConfig
    from transformers.models.vit.modeling_vit import ViTModel

    lower = config | {"num_hidden_layers": config["num_hidden_layers"] - upper}
    network: Any = ViTModel(ViTConfig.from_dict(lower), add_pooling_layer=False)
    network.layernorm = nn.Identity()
    built: nn.Module = network
    return built


ENTRY: Final[EncoderKind] = MelVit
