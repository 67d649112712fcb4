"""The mel spectrogram of the paper Cues, and its form as a picture for a vision transformer.

The spectrogram has 80 bands from 90 to 7600 Hz and one column per 256 samples at 16 kHz, from Hann windows of 1024
samples. These values come from the voice conversion software that contains the paper's prosody encoder.

Source: docs/papers/cues.md, section 3.5.
"""

from typing import TYPE_CHECKING

import numpy as np

from extract.media.types import FloatArray

if TYPE_CHECKING:
    from torch import Tensor

RATE = 16_000
WINDOW, HOP = 1024, 256  # samples
BANDS, LOWEST, HIGHEST = 80, 90.0, 7600.0  # Hz
SIDE = 224  # pixels
FLOOR = 1e-5
REFERENCE_DB, RANGE_DB = 16.0, 100.0


def high_pass(sound: FloatArray) -> FloatArray:
    """Remove frequencies below 30 Hz from a sound, without shifting it in time.

    The filter is a Butterworth high-pass of order 5, applied forward and backward.
    """
    from scipy.signal import butter, filtfilt

    b, a = butter(5, 30, btype="highpass", fs=RATE)
    return np.ascontiguousarray(filtfilt(b, a, sound), np.float32)


def mel_levels(sound: FloatArray) -> FloatArray:
    """Return the mel spectrogram of a sound, with levels from 0 (-84 dB or less) to 1 (16 dB or more).

    Args:
        sound: n mono samples at 16 kHz, at least 1600, [n].

    Returns:
        The levels, [80, n // 256 + 1]: one row per mel band, low frequencies first; one column per 256 samples.
    """
    import librosa

    spectrum = librosa.stft(
        high_pass(sound), n_fft=WINDOW, hop_length=HOP, window="hann", center=True, pad_mode="reflect"
    )
    bank = librosa.filters.mel(
        sr=RATE, n_fft=WINDOW, n_mels=BANDS, fmin=LOWEST, fmax=HIGHEST, htk=False, norm="slaney"
    )
    decibels = 20 * np.log10(np.maximum(FLOOR, bank @ np.abs(spectrum))) - REFERENCE_DB
    return np.asarray(np.clip((decibels + RANGE_DB) / RANGE_DB, 0, 1), np.float32)


def as_picture(levels: FloatArray) -> "Tensor":
    """Turn a mel spectrogram, [80, T], into a picture for a vision transformer, [3, 224, 224].

    T is the number of time steps. The picture has low frequencies at the bottom, and three equal channels with values
    from -1 to 1. Anti-aliasing keeps details of long sounds, which shrink strongly (30 s: from 1876 to 224 columns).
    """
    import torch

    upright = torch.from_numpy(levels[::-1].copy())[None, None]
    picture = torch.nn.functional.interpolate(
        upright, size=(SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True
    )[0]
    return (picture.expand(3, -1, -1) - 0.5) / 0.5
