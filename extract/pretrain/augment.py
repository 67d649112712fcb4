"""Augmentations for the training of extractors, never for extraction.

Source: docs/papers/m2fnet.md, sections 3.2 and 5.2.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float32]

CHANCE: Final = 0.5  # of each augmentation
STRETCH: Final = (0.8, 1.25)  # rate; above 1 the sound gets shorter
SNR: Final = (10.0, 30.0)  # dB


def varied(sound: FloatArray, random: np.random.Generator) -> FloatArray:
    """A sound with, by chance, another tempo and noise, [n] -> [n / rate]."""
    if random.random() < CHANCE:
        sound = warped(sound, float(random.uniform(*STRETCH)))
    if random.random() < CHANCE:
        sound = noisy(sound, float(random.uniform(*SNR)), random)
    return sound


def warped(sound: FloatArray, rate: float) -> FloatArray:
    """A sound in another tempo at the same pitch (librosa's phase vocoder), [n] -> [round(n / rate)]."""
    import librosa

    window = 1024 if len(sound) >= 1024 else 64
    if len(sound) < window:
        return sound
    spectrum = librosa.stft(sound, n_fft=window)
    slower = librosa.phase_vocoder(spectrum, rate=rate, hop_length=window // 4, n_fft=window)
    result = librosa.istft(slower, n_fft=window, length=max(1, round(len(sound) / rate)))
    return np.asarray(result, np.float32)


def noisy(sound: FloatArray, snr: float, random: np.random.Generator) -> FloatArray:
    """A sound with white Gaussian noise, [n].

    Args:
        snr: of the sound's mean power to the noise's, dB.
    """
    power = float(np.mean(np.square(sound, dtype=np.float64)))
    noise = random.standard_normal(len(sound)) * np.sqrt(power / 10 ** (snr / 10))
    return np.asarray(sound + noise, np.float32)


def flipped(images: Tensor, random: torch.Generator) -> Tensor:
    """Images [B, H, W, 3], each mirrored left to right with probability 0.5."""
    mirror = torch.rand(len(images), generator=random).to(images.device) < CHANCE
    return torch.where(mirror[:, None, None, None], images.flip(2), images)
