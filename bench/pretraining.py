"""Benchmark of training M2FNet's feature extractors in full size on a GPU: examples per second, and hours per corpus.

Each extractor is trained on random examples: 3 s of noise, images, or texts of about 60 tokens. The speed is measured
after the first epoch, validation included. Hours are for all epochs of the paper: 60 for audio, 100 for visual, 5 for
text (docs/papers/m2fnet.md, sections 3.1 and 5.2).
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import numpy as np
import torch

from extract.media.mel_image import RATE
from extract.pretrain.config import AudioConfig, ExtractorTraining, TextConfig, TextTraining, VisualConfig
from extract.pretrain.examples import Examples, examples_of_sounds
from extract.pretrain.text_training import train_text
from extract.pretrain.texts import Texts, TextSource, byte_pairs
from extract.pretrain.training import Tick, train_extractor

SKIPPED: Final = "needs a CUDA device"
EPOCHS: Final = 3  # the first warms up
TRAIN: Final = {"meld": 9989, "iemocap": 4778, "casia_webface": 494_414}  # utterances, images
OF: Final = {"audio": ("meld", "iemocap"), "text": ("meld", "iemocap"), "visual": ("casia_webface",)}
PAPER_EPOCHS: Final = {"audio": 60, "visual": 100, "text": 5}

Size = Literal["paper", "small", "tiny"]
TextSize = Literal["small", "base", "large"]


def measure(
    device: str = "cuda", size: Size = "paper", text: TextSize = "large", examples: int = 1024
) -> dict[str, Any]:
    """Measure the training speed of the audio, visual and text extractor: examples per second, and hours per corpus.

    Without a GPU, the result says only that the benchmark was skipped.

    Args:
        device: name of a torch device.
        size: size of the audio and the visual extractor.
        text: size of the text extractor.
        examples: number of training examples.
    """
    if device == "cuda" and not torch.cuda.is_available():
        return {"skipped": SKIPPED}
    trainings: Mapping[str, Callable[[Tick], object]] = {
        "audio": lambda tick: _audio(device, size, examples, tick),
        "visual": lambda tick: _visual(device, size, examples, tick),
        "text": lambda tick: _text(device, text, examples, tick),
    }
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name() if device == "cuda" else device}
    for name, train in trainings.items():
        rate = examples / _seconds_an_epoch(train)
        hours = {
            f"{corpus}_hours": round(TRAIN[corpus] * PAPER_EPOCHS[name] / rate / 3600, 4)
            for corpus in OF[name]
        }
        figures[name] = {"examples_per_second": round(rate, 3), **hours}
    return figures


def _seconds_an_epoch(train: Callable[[Tick], object]) -> float:
    ends: list[float] = []
    train(lambda _: ends.append(time.perf_counter()))
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def _audio(device: str, size: Size, count: int, tick: Tick) -> object:
    config = AudioConfig(size=size, init="scratch")
    random = np.random.default_rng(0)
    sounds = [random.standard_normal(3 * RATE).astype(np.float32) for _ in range(count)]
    labels = [n % 7 for n in range(count)]
    examples = examples_of_sounds([str(n) for n in range(count)], labels, sounds, config.side)
    return train_extractor(
        examples, examples.rows(range(count // 8)), config, _training(), device=device, tick=tick
    )


def _visual(device: str, size: Size, count: int, tick: Tick) -> object:
    config = VisualConfig(size=size, init="scratch", classes=32, images=4)
    images = torch.randint(256, (count, config.side, config.side, 3), dtype=torch.uint8)
    identities = torch.arange(count) % max(2, count // 16)
    examples = Examples(tuple(map(str, range(count))), identities, images)
    dev = examples.rows(range(count // 8))
    return train_extractor(examples, dev, config, _training(), identities=True, device=device, tick=tick)


def _text(device: str, size: TextSize, count: int, tick: Tick) -> object:
    random = np.random.default_rng(0)
    tokenizer = byte_pairs(["a"], 300)
    tokens = tuple(tuple(map(int, random.integers(4, 260, int(n)))) for n in random.integers(20, 100, count))
    texts = Texts(tuple(map(str, range(count))), torch.arange(count) % 7, tokens)
    dev = Texts(texts.ids[: count // 8], texts.labels[: count // 8], tokens[: count // 8])
    source = TextSource(texts, dev, tokenizer, tuple("abcdefg"), {}, "")
    config = TextConfig(size=size, init="scratch")
    training = TextTraining(epochs=EPOCHS, patience=EPOCHS)
    return train_text(source, config, training, device=device, tick=tick)


def _training() -> ExtractorTraining:
    return ExtractorTraining(epochs=EPOCHS, patience=EPOCHS)
