"""The mel image has the values of docs/papers/m2fnet.md, section 3.2."""

import librosa
import numpy as np
import pytest

from extract.media.mel_image import coloured, cut_or_pad, decibels, grey, mel_image, mel_power, resized

SECOND = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)


def test_a_second_gives_128_bands_and_101_frames_with_a_sine_in_its_band() -> None:
    power = mel_power(SECOND)
    assert power.shape == (128, 101)
    assert np.argmax(power.mean(axis=1)) == 42


def test_the_power_is_a_slaney_bank_over_windows_of_25_ms() -> None:
    bank = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=128, fmin=0, fmax=8000, htk=False, norm="slaney")
    assert (bank.sum(axis=1) > 0).all(), "no filter is empty"
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frame = np.abs(np.fft.rfft(SECOND[50 * 160 - 200 : 50 * 160 + 200] * window)) ** 2
    assert mel_power(SECOND)[:, 50] == pytest.approx(bank @ frame, rel=1e-4, abs=1e-6)


def test_decibels_end_80_below_the_loudest_and_grey_spans_0_to_1() -> None:
    level = decibels(np.array([[1.0, 0.1], [1e-12, 10.0]], np.float32))
    assert level == pytest.approx(np.array([[-10, -20], [-80, 0]]), abs=1e-4)
    assert grey(level) == pytest.approx(np.array([[0.875, 0.75], [0, 1]]), abs=1e-5)


def test_digital_silence_is_one_colour() -> None:
    image = mel_image(np.zeros(16_000, np.float32), 112)
    assert image.shape == (112, 112, 3)
    assert (image == [68, 1, 84]).all(), "viridis at 0"


def test_low_frequencies_lie_at_the_bottom_in_viridis() -> None:
    values = np.zeros((128, 3), np.float32)
    values[0] = 1
    image = coloured(values)
    assert image.shape == (128, 3, 3)
    assert (image[-1] == [253, 231, 36]).all() and (image[0] == [68, 1, 84]).all()


def test_resizing_averages_instead_of_picking() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    small = resized(stripes, 16)
    assert small.shape == (16, 16, 3)
    assert np.abs(small[:, 1:-1].astype(int) - 100).max() <= 15


def test_short_sounds_are_padded_and_long_ones_cut() -> None:
    assert cut_or_pad(np.ones(10, np.float32)).tolist() == [1.0] * 10 + [0.0] * 390
    assert len(cut_or_pad(np.ones(25 * 16_000, np.float32))) == 20 * 16_000
    assert mel_image(np.ones(1, np.float32), 32).shape == (32, 32, 3)
