"""Run sounds through a speech network such as wav2vec 2.0, in padded batches or one by one.

A clip that the network needs normalised is normalised alone, before it is padded to the length of the batch.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ercache.reasons import Missing
from extract.encoders.audio.common import frame_count, normalise_clip, pad_to_length, why_unusable
from extract.encoders.base import Encoded, Sample
from extract.encoders.run_singly import encode_usable
from extract.media.types import FloatArray

RATE = 16_000
MIN_SAMPLES = 400  # samples of one frame
MAX_FRAME_PAIRS = 8_000_000  # pairs of frames in the attention of a batch: 0.5 GB for 16 heads


class Lengths(Protocol):
    """The params that `SpeechEncoder` reads: whether to keep the state of every 20 ms, and when to cut or pad a clip.

    The class for the params in params.yaml is `SpeechParams`.
    """

    frames: bool
    max_seconds: float
    pad_seconds: float


class SpeechEncoder:
    """Runs sounds through a speech network: it gives a state for every 20 ms (frame), and the mean of these states.

    An emotion network also gives arousal, dominance and valence, which its head computes from the mean.
    """

    def __init__(
        self, params: Lengths, network: Any, head: Any, masked: bool, normalise: bool, device: str
    ) -> None:
        self.params, self.device = params, device
        self._network, self._head = network, head
        self._masked, self._normalise = masked, normalise
        self._most, self._pad = round(params.max_seconds * RATE), round(params.pad_seconds * RATE)

    def length(self, sample: Sample) -> int:
        """Return how many sound samples of this clip the network gets, after the clip has been cut or padded."""
        if sample.sound is None:
            return 0
        return max(min(len(sample.sound), self._most), self._pad)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Compute a state for every 20 ms of each sound.

        A network that accepts an attention mask gets padded batches; any other network gets the sounds one by one.

        Returns:
            For each sound, the arrays that `arrays` declares, or a `Missing` that says why there are none.
        """
        min_samples = 1 if self._pad >= MIN_SAMPLES else MIN_SAMPLES
        return encode_usable(
            samples, lambda sample: why_unusable(sample.sound, min_samples), self._encode_together
        )

    def _encode_together(self, samples: list[Sample]) -> Iterator[Encoded]:
        sounds = [self._prepare(sample.sound) for sample in samples if sample.sound is not None]
        step = max(1, MAX_FRAME_PAIRS // max(map(frame_count, map(len, sounds))) ** 2) if self._masked else 1
        for start in range(0, len(sounds), step):
            yield from self._forward(sounds[start : start + step])

    def _prepare(self, sound: FloatArray) -> FloatArray:
        used_part = sound[: self._most]
        return pad_to_length(normalise_clip(used_part) if self._normalise else used_part, self._pad)

    def _forward(self, sounds: Sequence[FloatArray]) -> list[Encoded]:
        import torch

        padded, mask = padded_rows(sounds)
        if not self._masked and not mask.all():
            raise ValueError("padding would change every frame of a network with a group norm over time")
        with torch.inference_mode():
            states = self._network(
                torch.from_numpy(padded).to(self.device),
                attention_mask=torch.from_numpy(mask).to(self.device) if self._masked else None,
            ).last_hidden_state  # [B, T, width]
            counts = [frame_count(len(sound)) for sound in sounds]
            return [self._result(row[:count]) for row, count in zip(states, counts, strict=True)]

    def _result(self, frames: Any) -> Encoded:
        pooled = frames.float().mean(0, keepdim=True)
        arrays = {"pooled": pooled}
        if self._head is not None:
            arrays["emotion"] = self._head(pooled)
        if self.params.frames:
            arrays["frames"] = frames
        return Encoded({name: value.float().cpu().numpy() for name, value in arrays.items()}, len(frames))


def padded_rows(sounds: Sequence[FloatArray]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Stack B sounds as the rows of one array, padded with zeros to the longest sound.

    Return two arrays [B, longest]: the padded sounds, and a mask (1 for sound, 0 for padding).
    """
    longest = max(map(len, sounds))
    rows = np.zeros((len(sounds), longest), np.float32)
    mask = np.zeros((len(sounds), longest), np.int64)
    for n, sound in enumerate(sounds):
        rows[n, : len(sound)] = sound
        mask[n, : len(sound)] = 1
    return rows, mask
