"""Replacements for FFmpeg in the process of a media `Reader`. The name of the file says what happens."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np

from extract.media import Clip
from extract.media.scanned import ReadRequest
from extract.media.types import Frame, PictureRequest
from tests.support.toy_letters import once

HUGE = (1080, 1920, 3)


def read(request: ReadRequest, tick: Callable[[], None]) -> Iterator[tuple[int, Clip]]:
    """Return one clip for each time span. Each sound sample is the second at which the span begins.

    At the span that begins at second 2, the event in the file's name happens (a crash, an error, a delay).
    """
    (request.root / f"pid {os.getpid()}").touch()
    for number, stretch in enumerate(request.spans):
        begin = int(stretch.ref.start or 0)
        if begin == 2:
            happen(request, tick)
            if "forgets" in request.path:
                continue
        yield number, Clip(sounds={8000: np.full(8, begin, np.float32)}, pictures=frames(request))


def happen(request: ReadRequest, tick: Callable[[], None]) -> None:
    """Do what the name of the file says: crash, raise an error, hang, be slow or be busy."""
    if "killed" in request.path and ("once" not in request.path or once(request.root)):
        os.kill(os.getpid(), signal.SIGKILL)
    if "strange" in request.path:
        signal.signal(40, signal.SIG_DFL)
        os.kill(os.getpid(), 40)
    if "raises" in request.path:
        raise RuntimeError("a fault of ours")
    if "hangs" in request.path:
        time.sleep(600)
    until = time.monotonic() + 3
    while "slow" in request.path and time.monotonic() < until:
        tick()
        time.sleep(0.01)
    if "busy" in request.path:
        (request.root / "busy").touch()
        while True:
            sum(range(1000))


def frames(request: ReadRequest) -> dict[PictureRequest, tuple[Frame, ...]]:
    """Sixty large pictures if the name of the file contains "huge"; otherwise none."""
    if "huge" not in request.path:
        return {}
    picture = np.arange(np.prod(HUGE), dtype=np.uint32).astype(np.uint8).reshape(HUGE)
    return {PictureRequest(60): tuple(Frame(n / 10, picture + n) for n in range(60))}
