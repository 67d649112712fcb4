"""Augmentation: change sounds and images at random while an extractor is trained. Feature extraction never does this.

Source: docs/papers/m2fnet.md, sections 3.2 and 5.2.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float32]

CHANCE: Final = 0.5  # probability of each augmentation
WARP_RATES: Final = (0.8, 1.25)  # above 1, the sound gets shorter
SNR: Final = (10.0, 30.0)  # signal-to-noise ratio, dB


def augment_sound(sound: FloatArray, random: np.random.Generator) -> FloatArray:
    """Change a sound at random: its tempo with probability 0.5, and noise is added with probability 0.5.

    The tempo is multiplied by 0.8 to 1.25, so the result has another length: [n] becomes [n / factor].
    """
    if random.random() < CHANCE:
        sound = time_warp(sound, float(random.uniform(*WARP_RATES)))
    if random.random() < CHANCE:
        sound = add_noise(sound, float(random.uniform(*SNR)), random)
    return sound


def time_warp(sound: FloatArray, rate: float) -> FloatArray:
    """Make a sound `rate` times as fast without changing its pitch; n samples become round(n / rate).

    The method is librosa's phase vocoder. A sound below 64 samples stays as it is.
    """
    import librosa

    window = 1024 if len(sound) >= 1024 else 64
    if len(sound) < window:
        return sound
    spectrum = librosa.stft(sound, n_fft=window)
    slower = librosa.phase_vocoder(spectrum, rate=rate, hop_length=window // 4, n_fft=window)
    result = librosa.istft(slower, n_fft=window, length=max(1, round(len(sound) / rate)))
    return np.asarray(result, np.float32)


def add_noise(sound: FloatArray, snr: float, random: np.random.Generator) -> FloatArray:
    """Add white Gaussian noise to a sound, [n].

    Args:
        sound: n mono samples, [n].
        snr: signal-to-noise ratio: mean power of the sound relative to that of the noise, dB.
        random: random generator.
    """
    power = float(np.mean(np.square(sound, dtype=np.float64)))
    noise = random.standard_normal(len(sound)) * np.sqrt(power / 10 ** (snr / 10))
    return np.asarray(sound + noise, np.float32)


def flip_randomly(images: Tensor, random: torch.Generator) -> Tensor:
    """Mirror each of B images left to right with probability 0.5, [B, height, width, 3]."""
    mirror = torch.rand(len(images), generator=random).to(images.device) < CHANCE
    return torch.where(mirror[:, None, None, None], images.flip(2), images)
