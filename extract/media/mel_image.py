"""The mel image: a sound as a coloured picture of its mel spectrogram (docs/papers/m2fnet.md, section 3.2).

Bytes in, bytes out: what the extractor sees is RGB uint8, low frequencies at the bottom.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 16_000  # Hz; with it the paper's window of 400 samples lasts its 25 ms
WINDOW: Final = 400
HOP: Final = 160
BANDS: Final = 128
LOWEST: Final = 1e-10  # power
RANGE: Final = 80.0  # dB below the loudest cell
LONGEST: Final = 20.0  # seconds; MELD has mis-cut clips of minutes

FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]


def mel_image(sound: FloatArray, side: int) -> Image:
    """The picture of a sound.

    Args:
        sound: mono at 16 kHz, [n]; what is shorter than a window is padded with zeros, only the first 20 s are seen.
        side: pixels.

    Returns:
        RGB, [side, side, 3].
    """
    return resized(coloured(grey(decibels(mel_power(fitted(sound))))), side)


def fitted(sound: FloatArray) -> FloatArray:
    """At most 20 s, at least 400 samples: [n]."""
    kept = sound[: int(LONGEST * RATE)]
    return np.pad(kept, (0, max(0, WINDOW - len(kept)))).astype(np.float32, copy=False)


def mel_power(sound: FloatArray) -> FloatArray:
    """Power in 128 Slaney mel bands of 0 to 8000 Hz, every 10 ms: [128, T]; row 0 is the lowest band.

    Slaney, because the HTK scale leaves four filters empty at this window.
    """
    import librosa

    power = librosa.feature.melspectrogram(
        y=sound,
        sr=RATE,
        n_fft=WINDOW,
        hop_length=HOP,
        win_length=WINDOW,
        window="hann",
        center=True,
        pad_mode="reflect",
        power=2.0,
        n_mels=BANDS,
        fmin=0.0,
        fmax=RATE / 2,
        htk=False,
        norm="slaney",
    )
    return np.asarray(power, np.float32)


def decibels(power: FloatArray) -> FloatArray:
    """Decibels below the loudest cell, at least -80: [128, T]."""
    level = 10 * np.log10(np.maximum(power, LOWEST))
    return np.asarray(np.maximum(level - level.max(), -RANGE), np.float32)


def grey(level: FloatArray) -> FloatArray:
    """Scaled to [0, 1] between its extremes; all 0 where there is no difference (digital silence)."""
    low, high = float(level.min()), float(level.max())
    return np.asarray((level - low) / (high - low), np.float32) if high > low else np.zeros_like(level)


def coloured(values: FloatArray) -> Image:
    """Values of [0, 1] in matplotlib's viridis, row 0 at the bottom: [128, T, 3]."""
    from matplotlib import colormaps

    return np.ascontiguousarray(colormaps["viridis"](values[::-1], bytes=True)[..., :3])


def resized(image: Image, side: int) -> Image:
    """A picture of any shape [height, width, 3] as a square, bilinear with anti-aliasing: [side, side, 3]."""
    from PIL import Image as Pictures

    picture = Pictures.fromarray(image).resize((side, side), Pictures.Resampling.BILINEAR)
    return np.asarray(picture, np.uint8)
