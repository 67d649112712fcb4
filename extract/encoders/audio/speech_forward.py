"""Sounds through a speech network: each clip normalised alone, then padded together or encoded apart."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ercache.reasons import Missing
from extract.encoders.audio.common import frame_count, lengthened, normalised, unusable
from extract.encoders.base import Encoded, Sample
from extract.encoders.run_singly import encode_good
from extract.media.types import FloatArray

RATE = 16_000
LEAST = 400  # samples of one frame
MOST_PAIRS = 8_000_000  # of frames that see each other in a forward: 0.5 GB for 16 heads


class Lengths(Protocol):
    """Switches that a forward needs."""

    frames: bool
    max_seconds: float
    pad_seconds: float


class SpeechEncoder:
    """At work: every clip is normalised alone and only then lengthened or padded."""

    def __init__(
        self, params: Lengths, network: Any, head: Any, masked: bool, normalise: bool, device: str
    ) -> None:
        self.params, self.device = params, device
        self._network, self._head = network, head
        self._masked, self._normalise = masked, normalise
        self._most, self._pad = round(params.max_seconds * RATE), round(params.pad_seconds * RATE)

    def length(self, sample: Sample) -> int:
        """Samples that the network sees."""
        if sample.sound is None:
            return 0
        return max(min(len(sample.sound), self._most), self._pad)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Encode sounds, together with a mask where the network allows it, else each alone."""
        least = 1 if self._pad >= LEAST else LEAST
        return encode_good(samples, lambda sample: unusable(sample.sound, least), self._together)

    def _together(self, samples: list[Sample]) -> Iterator[Encoded]:
        sounds = [self._prepared(sample.sound) for sample in samples if sample.sound is not None]
        step = max(1, MOST_PAIRS // max(map(frame_count, map(len, sounds))) ** 2) if self._masked else 1
        for start in range(0, len(sounds), step):
            yield from self._forward(sounds[start : start + step])

    def _prepared(self, sound: FloatArray) -> FloatArray:
        heard = sound[: self._most]
        return lengthened(normalised(heard) if self._normalise else heard, self._pad)

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
    """Sounds as rows of one length, zeros behind the shorter, and a mask of their own samples, each [B, longest]."""
    longest = max(map(len, sounds))
    rows = np.zeros((len(sounds), longest), np.float32)
    mask = np.zeros((len(sounds), longest), np.int64)
    for n, sound in enumerate(sounds):
        rows[n, : len(sound)] = sound
        mask[n, : len(sound)] = 1
    return rows, mask
