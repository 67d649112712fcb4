"""Throughput of an encoder by the size of its forwards: measured on request, never during an extraction."""

import time
from dataclasses import dataclass

import numpy as np

from ercache.params.schema import EngineParams
from extract.encoders.base import Sample, Turn
from extract.engine.plan import Feature
from extract.engine.worker import autocast, exact_arithmetic, out_of_memory
from extract.media.types import Faces, Frame, Pictures

SECONDS = 4.0  # of sound, and words and pictures to match: about the mean utterance of MELD
TEXT = "well I did not think that you would come back so soon"
SIZE = (360, 640)
POINTS = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], np.float32)  # of a box
ROUNDS = 3
NEIGHBOURS = 5  # of a whole dialogue: half of MELD's mean
GAIN = 0.05  # a larger forward must bring that much, since it costs memory and padding


@dataclass(frozen=True)
class Rate:
    """Utterances per second with forwards of one size."""

    batch: int
    utterances_per_second: float


def rates(feature: Feature, engine: EngineParams, device: str, most: int = 256) -> list[Rate]:
    """Rates of forwards of 1, 2, 4, ... typical utterances, until the memory runs out or nothing is gained."""
    encoder = feature.build(device)
    exact_arithmetic(engine.threads)
    sample = typical(feature)
    found: list[Rate] = []
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
        found.append(Rate(size, ROUNDS * size / (time.perf_counter() - began)))
        if feature.spec.batch == "one" or (len(found) > 2 and good(found[:-2]) == good(found)):
            break
        size *= 2
    return found


def good(found: list[Rate]) -> int:
    """The smallest forward that is about as fast as any."""
    best = max(rate.utterances_per_second for rate in found)
    return next(rate.batch for rate in found if rate.utterances_per_second >= (1 - GAIN) * best)


def typical(feature: Feature) -> Sample:
    """An utterance of about the mean length, with a face in the middle of each picture."""
    wants = feature.input
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 0.1, int(SECONDS * wants.rate)).astype(np.float32) if wants.rate else None
    kind = wants.pictures or Pictures(0)
    height, width = SIZE if kind.side is None else (kind.side, kind.side * SIZE[1] // SIZE[0])
    box = np.array([[0.4 * width, 0.25 * height, 0.6 * width, 0.75 * height]], np.float32)
    points = (box[:, None, :2] + POINTS * (box[:, None, 2:] - box[:, None, :2])).astype(np.float32)
    faces = Faces(box, np.ones(1, np.float32), points) if wants.faces else None
    frames = tuple(
        Frame(float(n), rng.integers(0, 256, (height, width, 3), dtype=np.uint8), faces)
        for n in range(_count(kind))
    )
    text, speaker = TEXT if wants.text else None, "A" if wants.speaker else None
    before, after = ((Turn(text, sound, speaker),) * min(n, NEIGHBOURS) for n in (wants.past, wants.future))
    follows = speaker if wants.speaker == "next" else None
    return Sample(text, sound, frames, speaker, before, after, next_speaker=follows)


def _count(kind: Pictures) -> int:
    """Pictures of a clip of that length."""
    by_step = 0 if kind.every is None else int(SECONDS / kind.every)
    return min(filter(None, (kind.count, by_step)), default=0)
