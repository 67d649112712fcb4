"""How an emotion sounds: settings of the speech synthesiser espeak-ng, and the process that runs it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from ercache.errors import UsageError, WorkError
from extract.corpora.demo.generator.cast import Voice
from extract.corpora.demo.generator.channels import EMOTIONS, Emotion

SAMPLE_RATE: Final = 22050  # Hz, the rate of espeak-ng
FRAMES_PER_SECOND: Final = 12.5
SAMPLES_PER_FRAME: Final = 1764  # exactly SAMPLE_RATE / FRAMES_PER_SECOND
_BEFORE, _AFTER = 0.12, 0.16  # silence around the speech, seconds
_MIN_SECONDS: Final = 1.04  # seconds


@dataclass(frozen=True)
class SpeakingStyle:
    """How the voice of the speech synthesiser shows an emotion.

    Attributes:
        rate: words per minute.
        pitch: difference from the person's resting pitch.
        range: pitch range, 0 to 99.
        level: loudness of the voiced sections in dBFS.
        tremble: how much the loudness trembles, 0 to 1.
    """

    rate: int
    pitch: int
    range: int
    level: float
    tremble: float = 0.0


SPEAKING_STYLES: Final[dict[Emotion, SpeakingStyle]] = {
    "neutral": SpeakingStyle(172, 0, 40, -23.0),
    "surprise": SpeakingStyle(158, 30, 99, -17.0),
    "fear": SpeakingStyle(240, 20, 12, -25.0, tremble=0.5),
    "sadness": SpeakingStyle(132, -14, 8, -30.0),
    "joy": SpeakingStyle(200, 12, 80, -18.5),
    "disgust": SpeakingStyle(140, -18, 65, -21.0),
    "anger": SpeakingStyle(222, -4, 50, -12.5),
}


class SpeechProcess:
    """Runs `speech_worker.py` in a separate process and asks it for speech. Use it as a context manager."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("speech_worker.py")
        # -P: files beside the script must not hide modules of the standard library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # an interrupt goes to the parent, which then closes the process
        )

    def __enter__(self) -> "SpeechProcess":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the pipes to the speech process and wait until it has ended."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def _pipe(self, pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:
            raise AssertionError("the speech process was opened with pipes")
        return pipe

    def say(self, text: str, voice: str, rate: int, pitch: int, range_: int) -> NDArray[np.float64]:
        """Let espeak-ng speak a text and return the sound: samples in [-1, 1] at `SAMPLE_RATE`.

        Args:
            text: what is said.
            voice: name of the espeak-ng voice.
            rate: words per minute.
            pitch: pitch, 0 to 99.
            range_: pitch range, 0 to 99.

        Raises:
            UsageError: the speech process ended, for example because a package is missing.
            WorkError: espeak-ng cannot speak the text, or has another sample rate.
        """
        request = {"text": text, "voice": voice, "rate": rate, "pitch": pitch, "range": range_}
        stdin, stdout = self._pipe(self._process.stdin), self._pipe(self._process.stdout)
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
            head = stdout.readline()
        except BrokenPipeError:
            head = b""
        if not head:
            words = self._pipe(self._process.stderr).read().decode(errors="replace").strip().splitlines()
            raise UsageError(
                f"demo: the speech process ended: {words[-1] if words else 'no message'}",
                hint="if the package espeakng-loader is missing, install it: pip install 'ercache[demo]'",
            )
        answer: dict[str, Any] = json.loads(head)
        if "error" in answer:
            raise WorkError(
                f"demo: speech synthesis failed: {answer['error']}",
                hint="install espeak-ng again: pip install --force-reinstall espeakng-loader",
            )
        if answer["rate"] != SAMPLE_RATE:
            raise WorkError(
                f"demo: espeak-ng speaks at {answer['rate']} Hz, but {SAMPLE_RATE} Hz are needed",
                hint="install the version of espeakng-loader that ercache requires: pip install 'ercache[demo]'",
            )
        data = stdout.read(2 * answer["samples"])
        return np.frombuffer(data, dtype="<i2").astype(np.float64) / 32768


def perform(
    speaker: SpeechProcess, text: str, voice: Voice, emotion: int, rng: Random
) -> NDArray[np.float64]:
    """Return the sound of an utterance that is spoken with an emotion: samples in [-1, 1].

    Silence is added so that the sound is as long as a whole number of video frames.

    Args:
        speaker: the running speech process.
        text: what is said.
        voice: voice of the person.
        emotion: index of the emotion that the voice shows.
        rng: random numbers for small differences in the way of speaking.
    """
    manner = SPEAKING_STYLES[EMOTIONS[emotion]]
    rate = round(manner.rate * (0.95 + 0.1 * rng.random()))
    pitch = round(voice.pitch + manner.pitch + 4 * rng.random() - 2)
    range_ = round(manner.range + 6 * rng.random() - 3)
    level = manner.level + 2 * rng.random() - 1
    spoken = speaker.say(text, voice.name, rate, min(99, max(0, pitch)), min(99, max(0, range_)))
    if manner.tremble:
        time = np.arange(len(spoken)) / SAMPLE_RATE
        spoken = spoken * (1 - manner.tremble * (0.5 + 0.5 * np.sin(2 * np.pi * 7.5 * time)))
    return pad_to_frames(set_level(spoken, level))


def set_level(samples: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    """Scale samples so that the voiced sections get a given loudness, `level` in dBFS.

    Peaks are compressed smoothly (tanh) and not cut off.
    """
    voiced = samples[np.abs(samples) > 0.02]
    loudness = float(np.sqrt(np.mean(voiced**2))) if len(voiced) else 1.0
    return np.asarray(np.tanh(samples * (10 ** (level / 20) / loudness)))


def pad_to_frames(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add a short silence on both sides, so that the sound is as long as a whole number of video frames."""
    before = round(_BEFORE * SAMPLE_RATE)
    length = max(before + len(samples) + round(_AFTER * SAMPLE_RATE), round(_MIN_SECONDS * SAMPLE_RATE))
    padded = np.zeros(-(-length // SAMPLES_PER_FRAME) * SAMPLES_PER_FRAME)
    padded[before : before + len(samples)] = samples
    return padded


def loudness(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loudness of a clip's sound at each of its T video frames, [T], from 0 (silence) to 1 (loud)."""
    energy = np.sqrt(np.mean(samples.reshape(-1, SAMPLES_PER_FRAME) ** 2, axis=1))
    peak = float(energy.max())
    return np.asarray(np.clip(energy / (0.85 * peak), 0, 1)) if peak > 0 else energy
