"""The audio feature of M2FNet: the embedding that a ResNet18 computes from a sound's mel spectrogram, as an image.

The user trains this ResNet18 with `ercache pretrain`.

Source: docs/papers/m2fnet.md, section 3.2.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

import numpy as np
from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.trained_extractors import load_extractor
from ercache.weights import Weights
from extract.encoders.audio.common import why_unusable
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample
from extract.encoders.visual.m2fnet_images import SIZES, embed_images, network_of, width_of
from extract.media.mel_image import HOP, RATE, WINDOW, cut_or_pad, mel_image


class MelResnet18Params(Strict):
    """Parameters of `audio/mel-resnet18`.

    Attributes:
        pretrained: name of the training run under `pretrain:` in params.yaml that produced the weights.
        embed: which vector is kept: the output of the ResNet18 (`encoder`, 512 values), or that of the linear layer
            after it, the projector (`z`, 300 values).
        pad: True pads a sound below 25 ms (one analysis window) with zeros, as the paper does; False gives such an
            utterance no feature.
    """

    pretrained: str = "mel_resnet18"
    embed: Literal["z", "encoder"] = "z"
    pad: bool = True


class MelResnet18:
    """Computes one vector from the mel spectrogram of a sound's first 20 s, with a ResNet18.

    In the result, `frames` is the number of columns of the spectrogram, one per 10 ms.

    Raises:
        WeightsError: `ercache pretrain` has not written the weights yet, or they belong to another encoder.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="audio/mel-resnet18",
        modality="audio",
        summary="ResNet18 on the mel image, trained on the corpus' own train part by `ercache pretrain`",
        batch="equal",
        version=1,
        licence="that of the data it is trained on",
        paper="M2FNet",
    )
    Params: ClassVar[type[BaseModel]] = MelResnet18Params

    def __init__(
        self, params: MelResnet18Params, device: str = "cpu", weights: Weights | None = None
    ) -> None:
        self.params, self.device = params, device
        handle = weights or Weights(f"made/{params.pretrained}")
        network, config = load_extractor(handle, self.spec.key, network_of, {"size": "paper"})
        self._network, self._side = network.to(device), SIZES[config["size"]]

    @staticmethod
    def input(params: MelResnet18Params) -> Input:
        """Declare which input the encoder needs: the sound of the utterance, mono at 16 kHz."""
        return Input(rate=RATE)

    @staticmethod
    def arrays(params: MelResnet18Params) -> tuple[ArraySpec, ...]:
        """Declare one array of an utterance, `embedding`: [1, 512] with `embed: encoder`, or [1, 300] with `embed: z`.

        It is the output of the ResNet18 (`encoder`) or of the linear projector after it (`z`).
        """
        return (ArraySpec("embedding", "vector", ("utterance", "dimension"), (width_of(params.embed),)),)

    def length(self, sample: Sample) -> int:
        """Return the side of the mel image in pixels as length for forming batches; it is equal for all sounds."""
        return self._side

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute the embeddings of all usable sounds in one batch; return the array of each, or why it has none."""
        min_samples = 1 if self.params.pad else WINDOW
        results: list[Encoded | Missing | None] = [
            why_unusable(sample.sound, min_samples) for sample in samples
        ]
        rows = [n for n, fault in enumerate(results) if fault is None]
        sounds = [cut_or_pad(np.asarray(samples[n].sound)) for n in rows]
        if rows:
            images = np.stack([mel_image(sound, self._side) for sound in sounds])
            vectors = embed_images(self._network, images, self.params.embed, self.device)
            for n, sound, vector in zip(rows, sounds, vectors, strict=True):
                results[n] = Encoded({"embedding": vector[None]}, frames=1 + len(sound) // HOP)
        return [result or Missing(Reason.NO_AUDIO) for result in results]


ENTRY: Final[EncoderKind] = MelResnet18
