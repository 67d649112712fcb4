"""Toy encoders for tests of the engine. They run in worker processes; files in a folder control and record them."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from ercache.cache import ArraySpec
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderSpec, Input, Sample
from extract.engine import Feature
from extract.media import Clip, failed_clip
from extract.media.scanned import ReadRequest


class Letters:
    """Encoder that counts letters.

    The file `refuse.json` in its folder says what it does on some texts (fail, hang, die). It records its inputs in
    `calls.jsonl`.
    """

    class Params(Strict):
        folder: str
        scale: float = 1.0

    spec: ClassVar = EncoderSpec("text/letters", "text", "letter counts", "equal", 1, "MIT")

    def __init__(self, params: "Letters.Params", device: str = "cpu", weights: Weights | None = None) -> None:
        self.folder, self.scale = Path(params.folder), params.scale

    @staticmethod
    def input(params: "Letters.Params") -> Input:
        return Input(text=True)

    @staticmethod
    def arrays(params: "Letters.Params") -> tuple[ArraySpec, ...]:
        return (ArraySpec("pooled", "vector", ("utterance", "dim"), (2,)),)

    def length(self, sample: Sample) -> int:
        return len(sample.text or "")

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        texts = [s.text or "" for s in samples]
        with (self.folder / "calls.jsonl").open("a") as stream:
            stream.write(json.dumps(texts) + "\n")
        told = self.folder / "refuse.json"
        refuse = json.loads(told.read_text()) if told.is_file() else {}
        return [self._one(text, refuse.get(text), len(texts)) for text in texts]

    def _one(self, text: str, action: str | None, together: int) -> Encoded | Missing:
        if action == "die" or (action == "die once" and once(self.folder)):
            os._exit(3)
        if action == "hang":
            time.sleep(600)
        if action == "raise" or (action == "raise together" and together > 1):
            raise RuntimeError("broken")
        if action == "memory" or (action == "memory together" and together > 1):
            raise MemoryError("no more")
        if action in set(Reason):
            return Missing(Reason(action), "words of the tool")
        row = np.array([[len(text), text.count("e")]], "f4") * self.scale
        return Encoded({"pooled": row}, len(text))


class Loud(Letters):
    """Encoder that returns the length of a sound."""

    spec: ClassVar = replace(Letters.spec, key="audio/loud", modality="audio", batch="one")

    @staticmethod
    def input(params: Letters.Params) -> Input:
        return Input(rate=8000)

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        (sample,) = samples
        assert sample.sound is not None
        row = np.array([[len(sample.sound), 0]], "f4")
        return [Encoded({"pooled": row}, 1)]


def letters(
    folder: Path, name: str = "letters", scale: float = 1.0, kind: type[Letters] = Letters
) -> Feature:
    """A feature with a toy encoder."""
    return Feature(name, kind, Letters.Params(folder=str(folder), scale=scale), None, None)


def refuse(folder: Path, **actions: str) -> None:
    """Write `refuse.json`: what the toy encoders do on some texts."""
    (folder / "refuse.json").write_text(json.dumps(actions))


def calls(folder: Path) -> list[list[str]]:
    """Read the inputs that toy encoders recorded, and clear the record. Sorted, because workers run in parallel."""
    path = folder / "calls.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    path.unlink(missing_ok=True)
    return sorted(json.loads(line) for line in lines)


def once(folder: Path) -> bool:
    """True for the first call with this folder only."""
    try:
        (folder / "once").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def read_toy(request: ReadRequest, tick: Callable[[], None]) -> Iterator[tuple[int, Clip]]:
    """Replacement for `read_scanned` without any media. The file's name decides what the reader does."""
    for number, stretch in enumerate(request.spans):
        if "die" in request.path and ("once" not in request.path or once(request.root)):
            os._exit(3)
        if "killed" in request.path:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in request.path:
            time.sleep(600)
        if "bad" in request.path:
            yield number, failed_clip(stretch, Missing(Reason.UNREADABLE, "bad"))
        else:
            yield number, Clip(sounds={8000: np.ones(8, "f4")})
