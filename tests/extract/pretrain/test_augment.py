"""Augmentations have the statistics that they claim."""

import numpy as np
import pytest
import torch

from extract.pretrain.augment import add_noise, augment_sound, flip_randomly, time_warp

SOUND = (0.3 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)


def peak(sound: np.ndarray) -> float:
    return float(np.fft.rfftfreq(len(sound), 1 / 16_000)[np.abs(np.fft.rfft(sound)).argmax()])


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.25])
def test_time_warp_changes_the_length_and_not_the_pitch(rate: float) -> None:
    result = time_warp(SOUND, rate)
    assert len(result) == round(16_000 / rate) and result.dtype == np.float32
    assert peak(result) == pytest.approx(440, abs=5)
    assert np.sqrt(np.mean(result**2)) == pytest.approx(np.sqrt(np.mean(SOUND**2)), rel=0.1)


@pytest.mark.parametrize("length", [1, 63, 64, 500, 1024])
def test_short_sounds_survive_a_time_warp(length: int) -> None:
    result = time_warp(SOUND[:length], 1.2)
    assert len(result) >= 1 and np.isfinite(result).all()


@pytest.mark.parametrize("snr", [10.0, 30.0])
def test_noise_is_white_gaussian_at_its_signal_to_noise_ratio(snr: float) -> None:
    noise = add_noise(SOUND, snr, np.random.default_rng(0)) - SOUND
    measured = 10 * np.log10(np.mean(SOUND.astype(float) ** 2) / np.mean(noise.astype(float) ** 2))
    assert measured == pytest.approx(snr, abs=0.2)
    z = noise / noise.std()
    assert abs(np.mean(z**4) - 3) < 0.2, "the kurtosis of a Gaussian"
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.03, "neighbours are independent"


def test_each_change_comes_half_of_the_time_and_evenly_over_its_range() -> None:
    random = np.random.default_rng(0)
    results = [augment_sound(SOUND[:800], random) for _ in range(400)]
    lengths = np.array([len(r) for r in results])
    other = lengths != 800
    assert 0.42 < other.mean() < 0.58
    rates = 800 / lengths[other]
    assert rates.min() >= 0.79 and rates.max() <= 1.26 and abs(rates.mean() - 1.025) < 0.03
    loud = np.array([not np.array_equal(r, SOUND[:800]) for r in results])
    assert 0.42 < loud[~other].mean() < 0.58


def test_silence_stays_silent() -> None:
    assert not add_noise(np.zeros(100, np.float32), 20, np.random.default_rng(0)).any()


def test_half_of_the_images_are_mirrored() -> None:
    images = torch.arange(3 * 4 * 3, dtype=torch.uint8).view(1, 3, 4, 3).expand(600, 3, 4, 3)
    result = flip_randomly(images, torch.Generator().manual_seed(0))
    mirrored = (result == images.flip(2)).flatten(1).all(1)
    kept = (result == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 0.42 < mirrored.float().mean() < 0.58
