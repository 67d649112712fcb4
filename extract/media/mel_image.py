"""The mel image: the mel spectrogram of a sound as a coloured picture (docs/papers/m2fnet.md, section 3.2).

The extractor gets the picture as RGB uint8, with low frequencies at the bottom.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 16_000  # Hz; at this rate a window of 400 samples is the paper's 25 ms
WINDOW: Final = 400
HOP: Final = 160
BANDS: Final = 128
MIN_POWER: Final = 1e-10  # power
MAX_DECIBELS: Final = 80.0  # dB below the loudest cell
MAX_SECONDS: Final = 20.0  # some wrongly cut clips of MELD last minutes

FloatArray = NDArray[np.float32]
Image = NDArray[np.uint8]


def mel_image(sound: FloatArray, side: int) -> Image:
    """Draw the mel spectrogram of a sound.

    Args:
        sound: n mono samples at 16 kHz, [n]. Only the first 20 s are used; less than 400 samples are padded with zeros.
        side: side of the image, pixels.

    Returns:
        RGB image, [side, side, 3].
    """
    return resized(coloured(grey(decibels(mel_power(cut_or_pad(sound))))), side)


def cut_or_pad(sound: FloatArray) -> FloatArray:
    """Return the first 20 s of a sound with n samples, [n]. A sound below 400 samples is padded with zeros to 400."""
    kept = sound[: int(MAX_SECONDS * RATE)]
    return np.pad(kept, (0, max(0, WINDOW - len(kept)))).astype(np.float32, copy=False)


def mel_power(sound: FloatArray) -> FloatArray:
    """Return the power in 128 mel bands from 0 to 8000 Hz at T times, every 10 ms, [128, T]; row 0 is the lowest band.

    The bands follow the Slaney scale. On the HTK scale, four bands would be empty at this window of 400 samples.
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
    """Convert the mel power of 128 bands at T times, [128, T], to decibels relative to the largest value.

    Values below -80 dB become -80 dB.
    """
    level = 10 * np.log10(np.maximum(power, MIN_POWER))
    return np.asarray(np.maximum(level - level.max(), -MAX_DECIBELS), np.float32)


def grey(level: FloatArray) -> FloatArray:
    """Scale values linearly to [0, 1]: the smallest value becomes 0, the largest 1.

    If all values are equal (digital silence), all become 0.
    """
    low, high = float(level.min()), float(level.max())
    return np.asarray((level - low) / (high - low), np.float32) if high > low else np.zeros_like(level)


def coloured(values: FloatArray) -> Image:
    """Turn values in [0, 1] of 128 bands at T times, [128, T], into colours of matplotlib's viridis, [128, T, 3].

    The order of the rows is reversed: the lowest band, row 0, moves to the bottom of the image.
    """
    from matplotlib import colormaps

    return np.ascontiguousarray(colormaps["viridis"](values[::-1], bytes=True)[..., :3])


def resized(image: Image, side: int) -> Image:
    """Resize an image [height, width, 3] to a square [side, side, 3], bilinear with anti-aliasing."""
    from PIL import Image as Pictures

    picture = Pictures.fromarray(image).resize((side, side), Pictures.Resampling.BILINEAR)
    return np.asarray(picture, np.uint8)
