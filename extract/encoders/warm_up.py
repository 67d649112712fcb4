"""Compile librosa's functions in one process, after installation: `python -m extract.encoders.warm_up`.

Numba compiles functions of librosa at their first use and stores the result in a file. If several processes on a new
machine do this at once, the file can be damaged, and every process that loads it crashes. So one process does it first.
"""

import numpy as np

from extract.encoders import ENCODERS
from extract.encoders.base import Sample

KEYS = ("audio/prosody", "audio/mfcc", "audio/pitch-mel")
RATE = 16_000


def main() -> None:
    """Use each librosa function that needs compiling once, so that numba compiles it and stores the result.

    For this, a tone of one second runs through three sound encoders and through librosa's change of tempo.
    """
    import librosa

    for key in KEYS:
        kind = ENCODERS[key]
        params = kind.Params()
        rate = kind.input(params).rate or RATE
        tone = np.sin(2 * np.pi * 220 * np.arange(rate) / rate).astype(np.float32)
        kind(params, "cpu", None).encode([Sample(sound=tone)])
    librosa.istft(librosa.phase_vocoder(librosa.stft(tone), rate=1.1))


if __name__ == "__main__":
    main()
