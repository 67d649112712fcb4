"""Media libraries that raise what a file's name tells them to, at the call that it names, in whatever process.

`a--container.demux--3--IndexError.mp4` lets the third item of every `demux` of this file, and all later ones, raise an
IndexError. Other files are read as ever. Patched are PyAV, soundfile and soxr, none of our own functions.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.audio.resampler
import av.container
import av.error
import av.filter
import av.video.reformatter
import numpy as np
import soundfile
import soxr

REACHED = "ERCACHE_TEST_REACHED"  # a file to which every fault that was raised is written
NAME = re.compile(r"--([\w.]+)--(\d+)--(\w+)\.\w+$")
KINDS = {
    "InputContainer": "container",
    "StreamContainer": "streams",
    "VideoStream": "stream",
    "AudioStream": "stream",
    "VideoCodecContext": "codec",
    "AudioCodecContext": "codec",
    "Packet": "packet",
    "VideoFrame": "frame",
    "AudioFrame": "frame",
    "AudioResampler": "resampler",
    "VideoReformatter": "reformatter",
    "Graph": "graph",
    "FilterContext": "node",
}
ERRORS: dict[str, Callable[[], BaseException]] = {
    "InvalidDataError": lambda: av.error.InvalidDataError(1094995529, "told to fail"),
    "PatchWelcomeError": lambda: av.error.PatchWelcomeError(1163346256, "told to fail"),
    "LibsndfileError": lambda: soundfile.LibsndfileError(1, "told to fail: "),
    "AxisError": lambda: np.exceptions.AxisError("told to fail"),
    **{
        kind.__name__: lambda kind=kind: kind("told to fail")  # type: ignore[misc]
        for kind in (IndexError, ValueError, MemoryError, OSError, RuntimeError)
    },
}


@dataclass
class Fault:
    """What a file's name asks for."""

    site: str
    nth: int
    error: str
    name: str

    def strike(self, site: str, nth: int = 1) -> None:
        """Raise, if this is the place."""
        if site == self.site and nth >= self.nth:
            if told := os.environ.get(REACHED):
                with open(told, "a") as stream:
                    stream.write(f"{self.name}\n")
            raise ERRORS[self.error]()


_of_thread = threading.local()  # the fault of the file that a thread opened last


def missing_from_error(file: Any) -> Fault | None:
    """What the name of a file asks for."""
    name = str(getattr(file, "name", file))
    found = NAME.search(name)
    return Fault(found[1], int(found[2]), found[3], Path(name).name) if found else None


def strike_opened(file: Any, site: str) -> Fault | None:
    """The fault of a file that is being opened."""
    fault = _of_thread.fault = missing_from_error(file)
    if fault:
        fault.strike(site)
    return fault


class Proxy:
    """An object of PyAV that looks like itself, but may fail."""

    def __init__(self, real: Any, fault: Fault | None) -> None:
        object.__setattr__(self, "_real", real)
        object.__setattr__(self, "_fault", fault)
        object.__setattr__(self, "_kind", KINDS[type(real).__name__])

    @property
    def __class__(self) -> Any:
        return type(self._real)

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise TypeError

    def __getattr__(self, name: str) -> Any:
        site = f"{self._kind}.{name}"
        value = getattr(self._real, name)
        if callable(value) and type(value).__name__ not in KINDS:
            return _call(value, site, self._fault)
        if self._fault:
            self._fault.strike(site)
        return wrapped(value, self._fault, site)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._real, name, bare(value))

    def __enter__(self) -> Any:
        self._real.__enter__()
        return self

    def __exit__(self, *told: Any) -> Any:
        return self._real.__exit__(*told)

    def __iter__(self) -> Iterator[Any]:
        return _items(iter(self._real), f"{self._kind}.__iter__", self._fault)

    def __next__(self) -> Any:
        return wrapped(next(self._real), self._fault, "")

    def __len__(self) -> int:
        return len(self._real)

    def __bool__(self) -> bool:
        return bool(self._real)

    def __bytes__(self) -> bytes:
        return bytes(self._real)

    def __getitem__(self, key: Any) -> Any:
        return wrapped(self._real[key], self._fault, "")

    def __eq__(self, other: object) -> bool:
        return bool(self._real == bare(other))

    def __hash__(self) -> int:
        return hash(self._real)

    def __repr__(self) -> str:
        return repr(self._real)


def bare(value: Any) -> Any:
    """The object behind a proxy, also inside of lists."""
    if type(value) is Proxy:
        return value._real
    if type(value) in (list, tuple):
        return type(value)(map(bare, value))
    return value


def wrapped(value: Any, fault: Fault | None, site: str) -> Any:
    """A proxy for what may fail in turn, also inside of lists and generators."""
    if type(value).__name__ in KINDS:
        return Proxy(value, fault)
    if type(value) in (list, tuple):
        return type(value)(wrapped(v, fault, site) for v in value)
    if type(value).__name__ in ("generator", "chain"):
        return _items(value, site, fault)
    return value


def _items(items: Iterator[Any], site: str, fault: Fault | None) -> Iterator[Any]:
    for number, item in enumerate(items, 1):
        if fault:
            fault.strike(site, number)
        yield wrapped(item, fault, site)


def _call(real: Callable[..., Any], site: str, fault: Fault | None) -> Callable[..., Any]:
    def call(*args: Any, **more: Any) -> Any:
        mine = fault or next((a._fault for a in (*args, *more.values()) if type(a) is Proxy), None)
        value = real(*map(bare, args), **{k: bare(v) for k, v in more.items()})
        if type(value).__name__ in ("generator", "chain"):
            return _items(value, site, mine)  # fails at its items
        if mine:
            mine.strike(site)
        return wrapped(value, mine, site)

    return call


def install() -> None:
    """Put what may fail in the place of the libraries' own entries."""
    for module in (av, av.container):
        module.open = _opening(module.open, "av.open")  # type: ignore[attr-defined]
    for module, name in (
        (av, "AudioResampler"),
        (av.audio.resampler, "AudioResampler"),
        (av.filter, "Graph"),
        (av.video.reformatter, "VideoReformatter"),
    ):
        kind = getattr(module, name)
        if type(kind) is type:
            setattr(module, name, lambda *a, kind=kind, **k: Proxy(kind(*map(bare, a), **k), None))
    for name in ("read", "info", "blocks"):
        setattr(soundfile, name, _opening(getattr(soundfile, name), f"soundfile.{name}"))
    soundfile.SoundFile = _sound_file(soundfile.SoundFile)
    soxr.resample = _resampling(soxr.resample)


def _opening(real: Callable[..., Any], site: str) -> Callable[..., Any]:
    def opening(file: Any, *args: Any, **more: Any) -> Any:
        fault = strike_opened(file, site)
        return wrapped(real(file, *args, **more), fault, site)

    return opening


def _sound_file(real: Any) -> Any:
    class SoundFile(real):  # type: ignore[misc]
        def __init__(self, file: Any, *args: Any, **more: Any) -> None:
            self._told = strike_opened(file, "soundfile.SoundFile")
            super().__init__(file, *args, **more)

        def __getattribute__(self, name: str) -> Any:
            if name in ("read", "seek", "buffer_read", "samplerate", "frames", "channels", "subtype"):
                told = self.__dict__.get("_told")
                if told:
                    told.strike(f"SoundFile.{name}")
            return super().__getattribute__(name)

    return SoundFile


def _resampling(real: Callable[..., Any]) -> Callable[..., Any]:
    def resample(*args: Any, **more: Any) -> Any:
        fault = getattr(_of_thread, "fault", None)
        if fault:
            fault.strike("soxr.resample")
        return real(*args, **more)

    return resample
