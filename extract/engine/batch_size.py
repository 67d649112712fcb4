"""Measure how many utterances per second an encoder processes at several batch sizes.

The measurement runs only when the user asks for it, never during an extraction.
"""

import time
from dataclasses import dataclass

import numpy as np

from ercache.params.schema import EngineParams
from extract.encoders.base import Neighbour, Sample
from extract.engine.environment import autocast, exact_arithmetic, out_of_memory
from extract.engine.plan import Feature
from extract.media.types import Faces, Frame, PictureRequest

SECONDS = 4.0  # length of the sound, about the mean utterance of MELD; words and pictures match it
TEXT = "well I did not think that you would come back so soon"
SIZE = (360, 640)
POINTS = np.array(
    [(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32
)  # in the face box
ROUNDS = 3
NEIGHBOURS = 5  # neighbours used for a whole dialogue: half of MELD's mean length
MIN_GAIN = 0.05  # a larger batch must be faster by this share, because it costs memory and padding


@dataclass(frozen=True)
class Throughput:
    """How many utterances per second an encoder processed when a batch held `batch` utterances."""

    batch: int
    utterances_per_second: float


def throughputs(feature: Feature, engine: EngineParams, device: str, most: int = 256) -> list[Throughput]:
    """Measure an encoder's speed with batches of 1, 2, 4, ... utterances of typical length.

    The measurement stops at `most` utterances, when memory runs out, or after two larger batch sizes without a gain.

    Args:
        feature: the feature whose encoder is measured.
        engine: engine parameters of params.yaml (number of threads, precision).
        device: torch device.
        most: largest batch size to try.

    Returns:
        One measurement for each batch size, the smallest first.
    """
    encoder = feature.build(device)
    exact_arithmetic(engine.threads)
    sample = typical_sample(feature)
    found: list[Throughput] = []
    size = 1
    while size <= most:
        try:
            with autocast(device, engine.precision):
                encoder.encode([sample] * size)
                began = time.perf_counter()
                for _ in range(ROUNDS):
                    encoder.encode([sample] * size)
        except out_of_memory():
            break
        found.append(Throughput(size, ROUNDS * size / (time.perf_counter() - began)))
        if feature.spec.batch == "one" or (
            len(found) > 2 and good_batch_size(found[:-2]) == good_batch_size(found)
        ):
            break
        size *= 2
    return found


def good_batch_size(found: list[Throughput]) -> int:
    """Return the smallest measured batch size whose speed is at least 95 % of the best measured speed."""
    best = max(rate.utterances_per_second for rate in found)
    return next(rate.batch for rate in found if rate.utterances_per_second >= (1 - MIN_GAIN) * best)


def typical_sample(feature: Feature) -> Sample:
    """Return an artificial utterance with everything that a feature's encoder needs, of MELD's mean length (4 s).

    The sound and pictures are noise. Where the encoder needs faces, each picture has one face box in the middle.
    """
    encoder_input = feature.input
    rng = np.random.default_rng(0)
    sound = (
        rng.normal(0, 0.1, int(SECONDS * encoder_input.rate)).astype(np.float32)
        if encoder_input.rate
        else None
    )
    kind = encoder_input.pictures or PictureRequest(0)
    height, width = SIZE if kind.side is None else (kind.side, kind.side * SIZE[1] // SIZE[0])
    box = np.array([[0.4 * width, 0.25 * height, 0.6 * width, 0.75 * height]], np.float32)
    points = (box[:, None, :2] + POINTS * (box[:, None, 2:] - box[:, None, :2])).astype(np.float32)
    faces = Faces(box, np.ones(1, np.float32), points) if encoder_input.faces else None
    frames = tuple(
        Frame(float(n), rng.integers(0, 256, (height, width, 3), dtype=np.uint8), faces)
        for n in range(_picture_count(kind))
    )
    text, speaker = TEXT if encoder_input.text else None, "A" if encoder_input.speaker else None
    before, after = (
        (Neighbour(text, sound, speaker),) * min(n, NEIGHBOURS)
        for n in (encoder_input.past, encoder_input.future)
    )
    follows = speaker if encoder_input.speaker == "next" else None
    return Sample(text, sound, frames, speaker, before, after, next_speaker=follows)


def _picture_count(kind: PictureRequest) -> int:
    """Return how many pictures the encoder gets from the artificial clip of 4 seconds.

    Args:
        kind: how many pictures the encoder wants, or how many seconds they are apart.
    """
    by_step = 0 if kind.every is None else int(SECONDS / kind.every)
    return min(filter(None, (kind.count, by_step)), default=0)
