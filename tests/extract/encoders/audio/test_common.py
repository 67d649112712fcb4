"""Sounds before networks: windows and lengths by hand; mel picture of Cues, MFCC of AVT-CA by literal references."""

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.signal import butter, filtfilt, get_window
from transformers import Wav2Vec2FeatureExtractor

from ercache.reasons import Missing, Reason
from extract.encoders import ENCODERS, configs
from extract.encoders.audio.common import (
    frame_count,
    middle_of,
    mirrored_windows,
    normalise_clip,
    pad_to_length,
)
from extract.encoders.audio.mel_vit import window_sound
from extract.encoders.audio.voice_mel import as_picture, mel_levels
from extract.encoders.base import Encoded, Sample

Sound = NDArray[np.float32]


def noise(samples: int, seed: int = 0) -> Sound:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def tone(hertz: float, samples: int) -> Sound:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16_000)).astype(np.float32)


def mfcc(sound: Sound, **params: object) -> Encoded | Missing:
    kind = ENCODERS["audio/mfcc"]
    result: Encoded | Missing = kind(configs()["audio/mfcc"](**params)).encode([Sample(sound=sound)])[0]
    return result


AVTCA = {"n_mfcc": 10, "window_seconds": 3.6}


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49), (48_000, 149), (160_000, 499)],
)
def test_frames_of_speech_networks_are_those_of_their_convolutions(samples: int, frames: int) -> None:
    assert frame_count(samples) == frames


def test_a_clip_is_normalised_as_the_checkpoint_asks() -> None:
    sound = noise(3000) + 0.3
    extractor = Wav2Vec2FeatureExtractor()
    expected = extractor(sound, sampling_rate=16_000, return_tensors="np")["input_values"][0]
    np.testing.assert_array_equal(normalise_clip(sound), expected)
    assert not normalise_clip(np.full(500, 0.25, np.float32)).any()


def test_windows_continue_the_ends_by_their_mirror_image() -> None:
    rows = mirrored_windows(np.arange(10, dtype=np.float32), 4, 3)
    np.testing.assert_array_equal(rows, [[2, 1, 0, 1], [1, 2, 3, 4], [4, 5, 6, 7], [7, 8, 9, 8]])


@pytest.mark.parametrize(("seconds", "windows"), [(1, 3), (3, 7), (30, 61)])
def test_amuse_gets_one_window_each_half_second(seconds: int, windows: int) -> None:
    assert mirrored_windows(np.zeros(seconds * 32_000, np.float32), 32_000, 16_000).shape == (windows, 32_000)


def test_the_packages_own_windows_of_three_seconds_are_61() -> None:
    assert mirrored_windows(np.zeros(3 * 32_000, np.float32), 5_120, 1_600).shape == (61, 5_120)


def test_the_middle_of_a_clip_or_all_of_it_and_silence() -> None:
    np.testing.assert_array_equal(middle_of(np.arange(9, dtype=np.float32), 4), [2, 3, 4, 5])
    np.testing.assert_array_equal(middle_of(np.array([1, 2], np.float32), 4), [1, 2, 0, 0])
    np.testing.assert_array_equal(pad_to_length(np.array([1, 2], np.float32), 1), [1, 2])


# --- MFCC of AVT-CA (docs/papers/avtca.md, sections 3.1, 3.2)


def test_avtca_gets_156_frames_of_the_middle_3_6_seconds() -> None:
    sound = noise(100_000)
    result = mfcc(sound, **AVTCA)
    assert isinstance(result, Encoded)
    middle = sound[10_310 : 10_310 + 79_380]
    expected = librosa.feature.mfcc(y=middle, sr=22_050, n_mfcc=10, n_fft=2048, hop_length=512).T
    np.testing.assert_allclose(result.arrays["frames"], expected, atol=1e-3)
    assert result.arrays["frames"].shape == (156, 10) and result.frames == 156


def test_avtca_silence_behind_a_short_clip_is_in_the_frames_but_not_in_the_mean() -> None:
    sound = noise(22_050)
    result = mfcc(sound, **AVTCA)
    assert isinstance(result, Encoded)
    padded = np.concatenate([sound, np.zeros(79_380 - 22_050, np.float32)])
    expected = librosa.feature.mfcc(y=padded, sr=22_050, n_mfcc=10, n_fft=2048, hop_length=512).T
    np.testing.assert_allclose(result.arrays["frames"], expected, atol=1e-3)
    assert result.frames == 1 + 22_050 // 512
    np.testing.assert_allclose(result.arrays["pooled"][0, :10], expected[:44].mean(axis=0), atol=1e-3)


def test_mfcc_pad_mode_is_that_of_librosa_and_moves_only_the_ends() -> None:
    silence, mirror = mfcc(noise(22_050)), mfcc(noise(22_050), pad_mode="reflect")
    assert isinstance(silence, Encoded) and isinstance(mirror, Encoded)
    expected = librosa.feature.mfcc(
        y=noise(22_050), sr=22_050, n_mfcc=20, n_fft=2048, hop_length=512, pad_mode="reflect"
    ).T
    np.testing.assert_allclose(mirror.arrays["frames"], expected, atol=1e-3)
    difference = np.abs(silence.arrays["frames"] - mirror.arrays["frames"]).max(axis=1)
    assert difference[0] > 1 and difference[3:-3].max() < 1e-3


def test_a_clip_whose_middle_is_silent_is_missing() -> None:
    sound = np.concatenate([noise(22_050), np.zeros(90_000, np.float32), noise(22_050)])
    result = mfcc(sound, **AVTCA)
    assert isinstance(result, Missing) and result.reason == Reason.SILENT


def test_a_window_shorter_than_the_transform_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than n_fft"):
        configs()["audio/mfcc"](window_seconds=0.05)


# --- the mel picture of Cues (docs/papers/cues.md, section 3.5)


def reference_levels(sound: Sound) -> NDArray[np.float64]:
    """Frame by frame, as the page says."""
    b, a = butter(5, 30 / 8_000, btype="highpass")
    padded = np.pad(filtfilt(b, a, sound), 512, mode="reflect")
    count = (len(sound) + 1024 - 768) // 256
    window = get_window("hann", 1024)
    spectrum = np.stack(
        [np.abs(np.fft.rfft(window * padded[n * 256 : n * 256 + 1024])) for n in range(count)]
    )
    bank = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=80, fmin=90, fmax=7600)
    decibels = 20 * np.log10(np.maximum(1e-5, spectrum @ bank.T)) - 16
    return np.asarray(np.clip((decibels + 100) / 100, 0, 1).T)


@pytest.mark.parametrize(("samples", "columns"), [(1_600, 7), (16_000, 63), (48_000, 188), (160_000, 626)])
def test_mel_levels_are_those_of_the_page(samples: int, columns: int) -> None:
    sound = noise(samples) + tone(440, samples)
    levels = mel_levels(sound)
    assert levels.shape == (80, columns) and levels.dtype == np.float32
    np.testing.assert_allclose(levels, reference_levels(sound), atol=1e-5)


def test_rumble_is_taken_out_and_silence_is_black() -> None:
    assert mel_levels(np.zeros(16_000, np.float32)).max() == 0
    inner = mel_levels(tone(10, 32_000))[:, 10:-10]  # not where the tone sets in
    assert inner.max() < 0.1 < mel_levels(tone(100, 32_000))[:, 10:-10].max()


def test_low_tones_are_bright_at_the_bottom_of_the_picture() -> None:
    for hertz, rows in ((200.0, slice(200, 224)), (7000.0, slice(0, 24))):
        picture = as_picture(mel_levels(tone(hertz, 16_000)))
        brightest = int(picture[0].mean(1).argmax())
        assert rows.start <= brightest < rows.stop
        assert picture.shape == (3, 224, 224) and torch.equal(picture[0], picture[2])


def test_picture_scales_levels_to_minus_one_and_one() -> None:
    levels = np.tile(np.array([[0.0], [1.0]], np.float32).repeat(40, 0), (1, 500))
    picture = as_picture(levels)
    assert picture[0, -1, 0].item() == pytest.approx(-1)
    assert picture[0, 0, 0].item() == pytest.approx(1)  # low bands are the first rows of the levels


# --- the window of Cues (docs/papers/cues.md, section 3.4)


def test_window_is_the_utterances_one_after_the_other() -> None:
    a, b, target = noise(2_000, 1), noise(3_000, 2), noise(4_000, 3)
    heard = window_sound([a, b], target, 160_000, 480_000, 1_600)
    np.testing.assert_array_equal(heard, np.concatenate([a, b, target]))


def test_window_hears_the_beginning_of_a_long_utterance_and_drops_the_oldest_whole() -> None:
    a, b, target = noise(5_000, 1), noise(5_000, 2), noise(5_000, 3)
    heard = window_sound([a, b], target, 3_000, 7_000, 1_600)
    np.testing.assert_array_equal(heard, np.concatenate([b[:3_000], target[:3_000]]))
    np.testing.assert_array_equal(window_sound([a], target, 5_000, 1_000, 1_600), target)


def test_window_keeps_a_gap_for_what_cannot_be_heard() -> None:
    bad = [None, noise(1_599), np.zeros(5_000, np.float32), np.full(5_000, np.nan, np.float32)]
    heard = window_sound(bad, noise(2_000), 160_000, 480_000, 1_600)
    assert len(heard) == 4 * 1_600 + 2_000 and not heard[: 4 * 1_600].any()
