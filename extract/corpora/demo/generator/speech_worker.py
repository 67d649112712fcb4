"""Synthesise speech in a separate process. This is the only file that loads espeak-ng, a library under the GPL.

Run it as a script. Each line on stdin is a JSON request `{"text", "voice", "rate", "pitch", "range"}`. Each answer on
stdout is a JSON line `{"rate", "samples"}` followed by that many 16-bit little-endian samples. A request that fails is
answered with `{"error"}`.
"""

import ctypes
import json
import os
import sys
from typing import Any

_SYNCHRONOUS = 2
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The loaded espeak-ng library. Use an instance for one text only: a text changes the sound of the next one."""

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = os.fsencode(espeakng_loader.get_data_path())
        self.sample_rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0))
        if self.sample_rate <= 0:
            raise RuntimeError("espeak_Initialize failed")
        self._chunks: list[bytes] = []
        self._callback = _CALLBACK(self._collect)  # kept: the library holds only a bare pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def speak(self, request: dict[str, Any]) -> bytes:
        """Return the speech of one request (text, voice, rate, pitch, range) as 16-bit little-endian mono samples."""
        # Breath noise comes from two generators; espeak-ng seeds its own from the clock.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(0))
        ctypes.CDLL(None).srand(0)
        if self._library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {request['voice']!r}")
        for parameter, value in (
            (_RATE, request["rate"]),
            (_VOLUME, 100),
            (_PITCH, request["pitch"]),
            (_RANGE, request["range"]),
        ):
            self._library.espeak_SetParameter(parameter, int(value), 0)
        text = request["text"].encode()
        status = self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        if status != 0 or not self._chunks:
            raise RuntimeError(f"espeak-ng could not speak {request['text']!r} (status {status})")
        return b"".join(self._chunks)


def _answer(espeak: Espeak, line: bytes) -> bytes:
    try:
        samples = espeak.speak(json.loads(line))
        return (
            json.dumps({"rate": espeak.sample_rate, "samples": len(samples) // 2}).encode() + b"\n" + samples
        )
    except Exception as error:
        return json.dumps({"error": str(error)}).encode() + b"\n"


def main() -> None:
    """Read speech requests from stdin and write the samples to stdout, until stdin is closed.

    In espeak-ng, earlier utterances change the noise and intonation of later ones, even after a restart. So each
    request is spoken in a forked process with an unused copy of the library, and equal requests give equal samples.
    """
    espeak = Espeak()
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            sys.stdout.buffer.write(_answer(espeak, line))
            sys.stdout.buffer.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
