"""Items of the list of docs/papers/avtca.md that speak of media and labels; 20 is tested with RAVDESS and CREMA-D."""

import numpy as np
import pytest

from ercache.manifest import MediaRef
from extract.corpora.mosei.scan import labels_of
from extract.encoders import ENCODERS, configs
from extract.encoders.audio.common import middle_of
from extract.encoders.base import Encoded, Sample
from extract.media.types import PictureRequest
from extract.media.video import instants, pick_evenly, shown_at

WINDOW = PictureRequest(15, window=3.6)
RATE = 22_050


def packet_numbers_of_pictures(count: int, rate: float) -> list[int]:
    """Which pictures of a clip of so many are looked at."""
    times = np.arange(count) / rate
    wanted = instants(WINDOW, times, np.array([]), MediaRef("clip.mp4"), 60.0)
    return [round(t * rate) for t in shown_at(times, wanted)]


def mfcc(sound: np.ndarray, **params: object) -> np.ndarray:
    kind = ENCODERS["audio/mfcc"]
    asked = configs()["audio/mfcc"](n_mfcc=10, window_seconds=3.6, **params)
    found = kind(asked).encode([Sample(sound=sound.astype(np.float32))])[0]
    assert isinstance(found, Encoded)
    return found.arrays["frames"]


def test_item_4_pictures_of_a_window_are_those_of_the_page() -> None:
    def chosen(n: int, m: int) -> list[int]:
        return [int(i) for i in pick_evenly(np.arange(float(n)), m)]

    assert chosen(108, 15) == [3, 10, 17, 24, 31, 39, 46, 53, 60, 67, 75, 82, 89, 96, 103]
    assert chosen(90, 15) == list(range(3, 90, 6))
    assert chosen(12, 5) == [1, 3, 5, 8, 10]
    short = packet_numbers_of_pictures(67, 29.97)
    assert len(short) == 9 and short[-1] == 60  # the other six are beyond its end


def test_item_5_sound_and_pictures_have_one_window_in_the_middle_of_a_long_clip() -> None:
    sound = np.arange(5 * RATE, dtype=np.float32)
    window = configs()["audio/mfcc"](window_seconds=3.6).window  # type: ignore[attr-defined]
    assert window == 79_380 and middle_of(sound, window)[0] == 15_435
    first = packet_numbers_of_pictures(150, 30.0)[0]
    assert first == 21 + 3  # the window begins at picture 21, its first choice is the fourth
    exact = np.arange(79_380, dtype=np.float32)
    np.testing.assert_array_equal(middle_of(exact, window), exact)
    short = middle_of(np.ones(49_392, np.float32), window)  # 2.24 s
    assert len(short) == 79_380 and short[:49_392].all() and not short[49_392:].any()


@pytest.mark.parametrize(
    "pad_mode, means", [("constant", (-476.50, 42.06, 28.44)), ("reflect", (-474.94, 42.22, 28.24))]
)
def test_item_6_coefficients_of_a_tone_are_those_of_the_page(pad_mode: str, means: tuple[float, ...]) -> None:
    frames = mfcc(0.5 * np.sin(2 * np.pi * 440 * np.arange(79_380) / RATE), pad_mode=pad_mode)
    assert frames.shape == (156, 10)
    assert frames[:, :3].mean(axis=0) == pytest.approx(means, abs=0.05)
    assert frames[78, :3] == pytest.approx((-482.03, 37.88, 28.29), abs=0.05)


def test_item_6_silence_has_finite_coefficients() -> None:
    import librosa

    silence = librosa.feature.mfcc(
        y=np.zeros(79_380, np.float32), sr=RATE, n_mfcc=10, n_fft=2048, hop_length=512
    )
    assert silence[0] == pytest.approx(-1131.37, abs=0.05) and silence[1:] == pytest.approx(0, abs=1e-3)
    # Here a clip of nothing but silence is missing; behind a short one, silence has the floor of its loudest frame.
    quiet = mfcc(np.sin(np.arange(RATE) / 5))[-1]
    assert np.isfinite(quiet).all() and quiet[1:] == pytest.approx(0, abs=1e-3)


def test_item_21_labels_of_mosei_are_the_strongest_emotion_without_ties() -> None:
    def single(*scores: float) -> str | None:
        return labels_of(scores)["emotion6"]

    assert single(1, 0.667, 0, 0.333, 0, 0, 0) == "happy"
    assert single(0, 0.667, 0, 0, 0, 0, 0.667) is None and single(*[0] * 7) is None
    alone = [single(0, *[float(i == j) for j in range(6)]) for i in range(6)]
    assert alone == ["happy", "sad", "anger", "surprise", "disgust", "fear"]


def test_frames_of_silence_behind_a_short_clip_can_be_left_out_and_change_no_other() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, RATE)
    whole, own = mfcc(sound), mfcc(sound, fill=False)
    assert len(whole) == 156 and len(own) == 1 + RATE // 512
    np.testing.assert_array_equal(whole[: len(own)], own)
    kept = configs()["audio/mfcc"]
    assert "fill" not in kept().model_dump() and kept(fill=False).model_dump()["fill"] is False
