"""PaSST: what hear21passt itself gives, in windows and as a whole; silent on stdout, no random number drawn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hear21passt.wrapper import PasstBasicWrapper
from numpy.typing import NDArray
from pydantic import ValidationError

from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders import ENCODERS
from extract.encoders.audio import passt
from extract.encoders.base import Encoded, Sample
from tests.support.tiny_audio import Shelf, noise, shelf

KEY = "audio/passt"
SECOND = 32_000
AMUSE = {"window_seconds": 1.0, "hop_seconds": 0.5, "pad_seconds": 1.0}
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with shelf(tmp_path_factory.mktemp("weights")) as made:
        yield made


@pytest.fixture(scope="module")
def package(tiny: Shelf) -> dict[str, Any]:
    """The package's own wrapper around the same network, by mode."""
    modes = ("embed_only", "logits", "all")
    return {
        mode: PasstBasicWrapper(mel=passt.spectrogram(), net=tiny[KEY].network, mode=mode).eval()
        for mode in modes
    }


def values(tiny: Shelf, sound: NDArray[np.float32], **params: Any) -> Any:
    return tiny[KEY].encoder(**params).encode([Sample(sound=sound)])[0]


def encoded(result: Any) -> Encoded:
    assert isinstance(result, Encoded), result
    return result


@pytest.mark.parametrize(("mode", "width"), [("embed_only", 768), ("logits", 527), ("all", 1295)])
def test_windows_are_those_of_the_package(
    tiny: Shelf, package: dict[str, Any], mode: str, width: int
) -> None:
    sound = noise(2 * SECOND)
    with torch.no_grad():
        expected, _ = package[mode].get_timestamp_embeddings(torch.from_numpy(sound)[None], 32_000, 16_000)
    result = encoded(values(tiny, sound, mode=mode, **AMUSE))
    assert result.arrays["frames"].shape == (5, width) and result.frames == 5
    np.testing.assert_allclose(result.arrays["frames"], expected[0], atol=1e-5)
    np.testing.assert_allclose(result.arrays["pooled"][0], expected[0].mean(0), atol=1e-5)


def test_the_packages_own_windows_are_a_switch(tiny: Shelf, package: dict[str, Any]) -> None:
    sound = noise(SECOND)
    with torch.no_grad():
        expected, _ = package["embed_only"].get_timestamp_embeddings(torch.from_numpy(sound)[None])
    result = encoded(values(tiny, sound, window_seconds=0.16, hop_seconds=0.05))
    assert len(expected[0]) == 21
    np.testing.assert_allclose(result.arrays["frames"], expected[0], atol=1e-5)


def scene(tiny: Shelf, seconds: float, **switches: int) -> NDArray[np.float32]:
    """What the package gives for a whole clip."""
    wrapper = PasstBasicWrapper(
        mel=passt.spectrogram(), net=tiny[KEY].network, mode="embed_only", **switches
    ).eval()
    with torch.no_grad():
        found = wrapper.get_scene_embeddings(torch.from_numpy(noise(round(seconds * SECOND)))[None])
    return np.asarray(found.numpy())


def test_a_whole_clip_is_the_scene_of_the_package(tiny: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    result = encoded(values(tiny, noise(3 * SECOND)))
    assert result.frames == 1 and set(result.arrays) == {"pooled"}
    np.testing.assert_allclose(result.arrays["pooled"], scene(tiny, 3), atol=1e-5)
    monkeypatch.setattr(passt, "SCENE_WINDOW", SECOND)  # a tenth, for speed
    monkeypatch.setattr(passt, "SCENE_HOP", SECOND // 4)
    result = encoded(values(tiny, noise(round(1.1 * SECOND))))
    assert result.frames == 5
    np.testing.assert_allclose(
        result.arrays["pooled"], scene(tiny, 1.1, max_model_window=1000, scene_hop=250), atol=1e-5
    )


@pytest.mark.full
def test_11_seconds_are_five_windows_of_10(tiny: Shelf) -> None:
    result = encoded(values(tiny, noise(11 * SECOND)))
    assert result.frames == 5
    np.testing.assert_allclose(result.arrays["pooled"], scene(tiny, 11), atol=1e-5)


def test_amuse_windows_of_short_and_long_clips(tiny: Shelf) -> None:
    short = encoded(values(tiny, noise(6_400), frames=False, **AMUSE))
    assert short.frames == 3  # 0.2 s, lengthened to 1 s
    encoder = tiny[KEY].encoder(**AMUSE)
    assert encoder.length(Sample(sound=noise(6_400))) == encoder.length(Sample(sound=noise(96_000))) == SECOND
    assert len(encoder._windows(np.zeros(305 * SECOND, np.float32))) == 61  # type: ignore[attr-defined]


def test_clips_that_share_a_forward_do_not_touch_each_other(tiny: Shelf) -> None:
    encoder = tiny[KEY].encoder(**AMUSE)
    samples = [Sample(sound=noise(n, n)) for n in (6_400, 40_000, 64_000)]
    for sample, batched in zip(samples, encoder.encode(samples), strict=True):
        alone = encoded(encoder.encode([sample])[0])
        assert alone.arrays["pooled"].tobytes() == encoder.encode([sample])[0].arrays["pooled"].tobytes()
        for name, a in alone.arrays.items():
            assert np.abs(a - encoded(batched).arrays[name]).max() <= 1e-5 * max(1, np.abs(a).max())


@pytest.mark.parametrize(
    ("sound", "params", "reason"),
    [
        (np.zeros(0, np.float32), {}, Reason.NO_AUDIO),
        (noise(4_800), {}, Reason.TOO_SHORT),
        (noise(16_000), {"window_seconds": 1.0}, Reason.TOO_SHORT),
        (np.zeros(SECOND, np.float32), AMUSE, Reason.SILENT),
        (np.full(SECOND, np.nan, np.float32), AMUSE, Reason.UNREADABLE),
    ],
)
def test_sound_that_cannot_be_encoded_is_missing(
    tiny: Shelf, sound: NDArray[np.float32], params: dict[str, Any], reason: Reason
) -> None:
    result = values(tiny, sound, **params)
    assert isinstance(result, Missing) and result.reason == reason
    assert tiny[KEY].encoder(**params).length(Sample(sound=sound)) >= 0


def test_the_shortest_and_the_longest_forward(tiny: Shelf) -> None:
    assert encoded(values(tiny, noise(passt.MIN_SAMPLES))).frames == 1
    with torch.no_grad(), pytest.raises(RuntimeError):
        tiny[KEY].network(passt.spectrogram()(torch.zeros(1, 321_601))[:, None])
    assert encoded(values(tiny, noise(16_001), window_seconds=1.0)).frames == 2


def test_windows_below_one_patch_are_refused() -> None:
    with pytest.raises(ValidationError):
        ENCODERS[KEY].Params(window_seconds=0.1)


def test_building_and_running_leave_stdout_and_random_state_alone(
    tiny: Shelf, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made = tiny[KEY]
    monkeypatch.setattr("hear21passt.models.passt.first_RUN", True)  # as in a process that has not run it yet
    before = torch.random.get_rng_state()
    made.encoder().encode([Sample(sound=noise(9_600))])
    assert torch.equal(before, torch.random.get_rng_state())
    assert capfd.readouterr().out == ""


def test_the_spectrogram_is_the_one_that_the_package_uses() -> None:
    from hear21passt.base import AugmentMelSTFT

    own = AugmentMelSTFT(
        n_mels=128,
        sr=32_000,
        win_length=800,
        hopsize=320,
        n_fft=1024,
        htk=False,
        fmin=0.0,
        fmax=None,
        norm=1,
        fmin_aug_range=10,
        fmax_aug_range=2000,
    ).eval()
    sound = torch.from_numpy(noise(SECOND))[None]
    levels = passt.spectrogram()(sound)
    assert torch.equal(levels, own(sound)) and levels.shape == (1, 128, 100)
    # by hand: level = (log(power + 1e-5) + 4.5) / 5, and silence has no power
    assert passt.spectrogram()(torch.zeros(1, SECOND)).unique().item() == pytest.approx(
        (np.log(1e-5) + 4.5) / 5
    )


@pytest.mark.full
def test_network_of_full_size_is_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    from hear21passt.models.passt import get_model

    monkeypatch.setattr(passt, "DEPTH", 12)
    expected = get_model(arch="passt_s_swa_p16_128_ap476", pretrained=False).state_dict()
    network = passt.build()
    assert {n: t.shape for n, t in network.state_dict().items()} == {n: t.shape for n, t in expected.items()}
    assert sum(tensor.numel() for tensor in network.parameters()) == 86_153_758
    kind = ENCODERS[KEY]
    encoder = kind(kind.Params(**AMUSE), "cpu", Weights("passt", 0))
    result = encoded(encoder.encode([Sample(sound=noise(SECOND))])[0])
    assert result.arrays["frames"].shape == (3, 768) and np.isfinite(result.arrays["frames"]).all()
