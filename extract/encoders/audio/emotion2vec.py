"""emotion2vec: a speech network that was pretrained on emotional speech, without labels.

Source: docs/encoders.md#emotion2vec.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
from pydantic import BaseModel, Field

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing
from ercache.weights import Weights
from extract.encoders.audio.common import normalise_clip, pooled_and_frames, why_unusable
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.run_singly import encode_usable
from extract.media.types import FloatArray

if TYPE_CHECKING:
    from torch import nn

RATE: Final = 16_000
MIN_SAMPLES: Final = 400  # samples of one frame
WIDTH: Final = 768
DEPTHS: tuple[int, int] = (4, 8)


class Emotion2vecParams(Strict):
    """Parameters of `audio/emotion2vec`.

    Attributes:
        frames: also keep the state of every 20 ms, not only their mean.
        max_seconds: a longer clip is cut after this time.
    """

    frames: bool = True
    max_seconds: float = Field(30, ge=0.025, le=120)


class Emotion2vec:
    """Computes a state for every 20 ms of sound with emotion2vec (`frames`), and the mean of these states (`pooled`).

    Each clip is encoded alone, because padding in a batch would change its normalisation. The published checkpoint is a
    pickle file that needs the package fairseq; `ercache weights convert` turns it into a plain file once.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/emotion2vec",
        modality="audio",
        summary="emotion2vec base",
        batch="one",
        version=1,
        licence="FunASR model licence 1.1",
        weights="emotion2vec",
        paper="Ma et al. 2024, arXiv 2312.15185",
    )
    Params: ClassVar[type[BaseModel]] = Emotion2vecParams

    def __init__(
        self, params: Emotion2vecParams, device: str = "cpu", weights: Weights | None = None
    ) -> None:
        self.params, self.device = params, device
        handle = weights or Weights("emotion2vec")
        network: Any = handle.network(
            build, strip=("d2v_model.",), drop=("_ema.", "modality_encoders.AUDIO.decoder.")
        )
        self._network = network.to(device)

    @staticmethod
    def input(params: Emotion2vecParams) -> Input:
        """Declare which input the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: Emotion2vecParams) -> tuple[ArraySpec, ...]:
        """Declare the arrays of an utterance: `pooled` [1, 768], the mean state, and if requested `frames` [T, 768].

        `frames` holds T states, one per 20 ms of sound. The param `frames` requests it.
        """
        return pooled_and_frames(WIDTH, params.frames)

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and this encoder runs each clip alone."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute a state for every 20 ms of each sound.

        Returns:
            For each sound, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        return encode_usable(samples, lambda sample: why_unusable(sample.sound, MIN_SAMPLES), self._each)

    def _each(self, samples: list[Sample]) -> Iterator[Encoded]:
        sounds = [sample.sound for sample in samples if sample.sound is not None]
        return map(self._one, sounds)

    def _one(self, sound: FloatArray) -> Encoded:
        import torch

        used_part = normalise_clip(sound[: round(self.params.max_seconds * RATE)], 1e-5)
        with torch.inference_mode():
            states = self._network(torch.from_numpy(used_part)[None].to(self.device))[0]
        frames = np.asarray(states.float().cpu().numpy(), np.float32)
        pooled = {"pooled": frames.mean(0, keepdims=True)}
        return Encoded(pooled | ({"frames": frames} if self.params.frames else {}), len(frames))


def build() -> "nn.Module":
    """Build the emotion2vec network in the size of its published checkpoint, without weights."""
    from ercache.nets.emotion2vec import Emotion2vec as Network

    network: nn.Module = Network(WIDTH, 12, DEPTHS)
    return network


ENTRY: Final[EncoderKind] = Emotion2vec
