"""Compile librosa's functions in one process, after installation: `python -m extract.encoders.warm_up`.

Numba stores compiled functions beside librosa's files, or where `extract.encoders.numba_cache` says. If several workers
on a new machine compile the same functions at once, a stored file can be damaged. Then every process that loads this
file dies.
"""

import numpy as np

from extract.encoders import ENCODERS
from extract.encoders.base import Sample

KEYS = ("audio/prosody", "audio/mfcc", "audio/pitch-mel")
RATE = 16_000


def main() -> None:
    """Run ercache's code that uses librosa's compiled functions, so that numba compiles and stores them.

    A tone of one second passes through three sound encoders and through librosa's change of tempo.
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
