"""Encoders: same values alone, in a batch and each time; missing instead of zeros; literal references."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError
from skimage import data
from skimage.color import rgb2gray
from skimage.feature import hog
from skimage.transform import resize

import extract
from ercache import weights
from ercache.cache import ArraySpec
from ercache.errors import WeightsError
from ercache.reasons import Missing, Reason
from ercache.weights import Checkpoint, WeightFile, Weights, checked_files
from extract.encoders import ENCODERS, configs
from extract.encoders.audio.prosody import NAMES
from extract.encoders.base import Encoded, Encoder, Sample
from extract.encoders.visual.cropping import crop_face
from extract.faces.mtcnn import FACES_KEY, FACES_VERSION
from extract.media.types import Faces, Frame

TEXTS = ("Oh my God!", "I am so happy that you could come to the party tonight, really.", "no", "Why not?")
FACE = (170.0, 60.0, 280.0, 190.0)
HERE = sorted(
    key
    for key, kind in ENCODERS.items()
    if kind.spec.weights in (None, "minilm")
    and (kind.spec.modality != "text" or kind.spec.weights)  # a RoBERTa, see test_text_encoders
    and not kind.spec.unavailable
    and not kind.input(kind.Params()).video
)  # nothing to bring


MADE = tuple(key for key in ENCODERS if "pretrained" in configs()[key].model_fields)


def build(key: str, **params: Any) -> Encoder:
    """An encoder; one whose weights the pipeline makes gets random ones."""
    handle = Weights("made/none", random=0) if key in MADE else None
    return ENCODERS[key](configs()[key](**params), "cpu", handle)


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return build("text/minilm")


def speech(seconds: float, rate: int, pitch: float = 150.0) -> NDArray[np.float32]:
    """Something like speech: pulses at a falling pitch through two resonances, in syllables."""
    t = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(pitch * (1 - 0.1 * t / max(seconds, 1e-9))) / rate
    voice = sum(np.cos(k * phase) / (1 + abs(k * pitch - 600) / 300) for k in range(1, 12))
    envelope = 0.55 - 0.45 * np.cos(2 * np.pi * 4 * t)  # four syllables a second
    noise = np.random.default_rng(7).normal(size=len(t))
    return np.asarray(0.05 * envelope * voice + 1e-4 * noise, dtype=np.float32)


def faces_at(*boxes: tuple[float, ...]) -> Faces:
    n = len(boxes)
    probabilities = np.linspace(0.99, 0.95, n, dtype=np.float32)
    return Faces(np.array(boxes, np.float32).reshape(n, 4), probabilities, np.zeros((n, 5, 2), np.float32))


def clip(frames: int, faces: Faces | None = None) -> Sample:
    image = data.astronaut()  # type: ignore[no-untyped-call]
    shifted = [np.roll(image, n, axis=1) for n in range(frames)]
    return Sample(frames=tuple(Frame(n / 5, i, faces or faces_at(FACE)) for n, i in enumerate(shifted)))


def good_samples(key: str) -> list[Sample]:
    modality = ENCODERS[key].spec.modality
    if modality == "text":
        return [Sample(text=text) for text in TEXTS]
    if modality == "visual":
        return [clip(n) for n in (1, 3, 6)]
    rate = build(key).input(configs()[key]()).rate
    assert rate is not None
    return [Sample(sound=speech(seconds, rate)) for seconds in (0.2, 1.0, 2.5)]


def check(result: Any, specs: tuple[ArraySpec, ...]) -> Encoded:
    """An `Encoded` whose arrays are as declared and finite."""
    assert isinstance(result, Encoded), result
    assert set(result.arrays) == {spec.name for spec in specs}
    for spec in specs:
        array = result.arrays[spec.name]
        assert array.shape[1:] == spec.shape and array.dtype == np.dtype(spec.dtype) and len(array) >= 1
        assert spec.kind == "sequence" or len(array) == 1
        assert np.isfinite(array).all()
    return result


@pytest.mark.parametrize("key", HERE)
def test_features_do_not_depend_on_the_batch(key: str) -> None:
    encoder, samples = build(key), good_samples(key)
    specs = encoder.arrays(configs()[key]())
    for alone, batched in zip(
        [encoder.encode([s])[0] for s in samples], encoder.encode(samples), strict=True
    ):
        alone, batched = check(alone, specs), check(batched, specs)
        assert alone.frames == batched.frames
        for name, a in alone.arrays.items():
            difference = np.abs(a.astype(float) - batched.arrays[name]).max()
            assert difference <= encoder.spec.tolerance * max(1, np.abs(a).max()), name


@pytest.mark.parametrize("key", HERE)
def test_same_samples_give_same_bytes(key: str) -> None:
    samples = good_samples(key)
    first, again = build(key).encode(samples), build(key).encode(samples)
    for a, b in zip(first, again, strict=True):
        assert {n: v.tobytes() for n, v in a.arrays.items()} == {n: v.tobytes() for n, v in b.arrays.items()}


@pytest.mark.parametrize("key", HERE)
def test_one_vector_is_declared_but_of_what_is_raw_and_unknown_params_are_refused(key: str) -> None:
    pooled = [spec for spec in ENCODERS[key].arrays(configs()[key]()) if spec.kind == "vector"]
    assert (
        len(pooled) == (key not in ("visual/face-crops", "audio/samples")) and ENCODERS[key].spec.key == key
    )
    with pytest.raises(ValidationError):
        configs()[key](no_such_switch=1)


def test_versions_file_names_every_encoder_and_its_version() -> None:
    text = Path(extract.__file__).with_name("versions.yaml").read_text(encoding="utf-8")
    registry = {key: kind.spec.version for key, kind in ENCODERS.items()}
    assert yaml.safe_load(text) == {**registry, FACES_KEY: FACES_VERSION}


def test_registry_imports_no_heavy_library() -> None:
    heavy = ("torch", "transformers", "librosa", "skimage", "scipy", "facenet_pytorch", "tokenizers")
    program = (
        f"import sys, extract.encoders, extract.faces.mtcnn; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- text/minilm


def test_minilm_pooled_is_the_recipe_of_sentence_transformers(minilm: Encoder) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder = checked_files("minilm")["config.json"].parent
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    for text, result in zip(TEXTS, minilm.encode([Sample(text=t) for t in TEXTS]), strict=True):
        with torch.inference_mode():
            states = model(**tokenizer([text], return_tensors="pt", truncation=True, max_length=256))
        expected = torch.nn.functional.normalize(states.last_hidden_state.mean(dim=1))
        np.testing.assert_allclose(result.arrays["pooled"], expected, atol=1e-5)
        np.testing.assert_allclose(result.arrays["tokens"], states.last_hidden_state[0, 1:-1], atol=1e-4)


def test_minilm_paraphrases_are_nearer_than_other_sentences(minilm: Encoder) -> None:
    texts = ("A man is eating food.", "A man eats a meal.", "The stock market fell sharply today.")
    a, b, c = (r.arrays["pooled"][0] for r in minilm.encode([Sample(text=t) for t in texts]))
    assert a @ b > 0.85 and abs(a @ c) < 0.15
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-6)


def test_minilm_words_are_stretches_of_the_text(minilm: Encoder) -> None:
    text = "Héllo,  Wörld! unbelievably"
    words = minilm.encode([Sample(text=text)])[0].arrays["words"]
    assert [text[a:b] for a, b in words][:4] == ["Héllo", ",", "Wörld", "!"]
    assert words[-1, 1] == len(text)


@pytest.mark.parametrize("text", [None, "", "   \n\t", "\u200b", "\x00\x01"])
def test_minilm_without_a_token_is_missing(minilm: Encoder, text: str | None) -> None:
    results = minilm.encode([Sample(text="hello"), Sample(text=text)])
    assert isinstance(results[0], Encoded)
    assert isinstance(results[1], Missing) and results[1].reason == Reason.NO_TEXT


def test_minilm_cuts_at_256_tokens_and_says_so(minilm: Encoder) -> None:
    long, cut = minilm.encode([Sample(text="word " * 1000), Sample(text="word " * 254)])
    assert long.frames == 254 and len(long.arrays["tokens"]) == 254
    np.testing.assert_allclose(long.arrays["pooled"], cut.arrays["pooled"], atol=1e-5)


def test_minilm_without_tokens_gives_the_same_vector(minilm: Encoder) -> None:
    result = build("text/minilm", tokens=False).encode([Sample(text="hello")])[0]
    assert set(result.arrays) == {"pooled"}
    np.testing.assert_array_equal(
        result.arrays["pooled"], minilm.encode([Sample(text="hello")])[0].arrays["pooled"]
    )


def test_minilm_refuses_a_tampered_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, folder = weights.checkpoint("minilm"), tmp_path / "minilm"
    folder.mkdir()
    for name, path in checked_files("minilm").items():
        os.symlink(path, folder / name)
    content = bytearray((folder / "tokenizer.json").read_bytes())
    content[-10] ^= 1
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").write_bytes(content)
    files = tuple(WeightFile(file.name, file.sha256) for file in row.files)
    other = Checkpoint("minilm", "brought", row.source, row.revision, files, row.licence, row.remedy)
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    with (
        weights.extra_checkpoints(other),
        pytest.raises(WeightsError, match=r"damaged or of another version: .*tokenizer\.json"),
    ):
        build("text/minilm")


def test_minilm_building_leaves_the_global_random_state() -> None:
    before = torch.random.get_rng_state()
    build("text/minilm")
    assert torch.equal(before, torch.random.get_rng_state())


# --- audio


@pytest.mark.parametrize("key", ["audio/prosody", "audio/mfcc"])
def test_sound_that_cannot_be_described_is_missing(key: str) -> None:
    encoder = build(key)
    rate = encoder.input(configs()[key]()).rate or 0
    broken = speech(1, rate)
    broken[100] = np.nan
    cases = {
        Reason.NO_AUDIO: np.zeros(0, np.float32),
        Reason.TOO_SHORT: speech(0.05, rate),
        Reason.SILENT: np.zeros(rate, np.float32),
        Reason.UNREADABLE: broken,
    }
    for reason, sound in cases.items():
        result = encoder.encode([Sample(sound=sound)])[0]
        assert isinstance(result, Missing) and result.reason == reason


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("key", ["audio/prosody", "audio/mfcc"])
def test_odd_sounds_give_finite_numbers_or_a_reason(key: str) -> None:
    encoder = build(key)
    specs = encoder.arrays(configs()[key]())
    rate = encoder.input(configs()[key]()).rate or 0
    click = np.zeros(rate, np.float32)
    click[rate // 2] = 1.0
    half = np.concatenate([speech(1, rate), np.zeros(rate, np.float32)])
    noise = np.random.default_rng(0).normal(size=rate).astype(np.float32) * 0.01
    full = np.sign(speech(1, rate))
    quiet = np.full(rate, 3e-5, np.float32)
    for sound in (click, half, noise, full, np.ones(rate, np.float32), quiet):
        check(encoder.encode([Sample(sound=sound)])[0], specs)
    absurd = encoder.encode([Sample(sound=noise * np.float32(1e30))])[0]
    assert isinstance(absurd, Missing) and absurd.reason == Reason.UNREADABLE


@pytest.mark.parametrize("key", ["audio/prosody", "audio/mfcc"])
def test_a_minute_of_sound_is_described(key: str) -> None:
    encoder = build(key)
    rate = encoder.input(configs()[key]()).rate or 0
    result = check(encoder.encode([Sample(sound=speech(60, rate))])[0], encoder.arrays(configs()[key]()))
    assert result.frames == len(result.arrays["frames"])


def test_mfcc_are_those_of_librosa() -> None:
    sound = speech(1.0, 22050)
    result = build("audio/mfcc", n_mfcc=13).encode([Sample(sound=sound)])[0]
    expected = librosa.feature.mfcc(y=sound, sr=22050, n_mfcc=13, n_fft=2048, hop_length=512).T
    np.testing.assert_allclose(result.arrays["frames"], expected, atol=1e-4)
    pooled = result.arrays["pooled"][0]
    np.testing.assert_allclose(pooled[:13], expected.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(pooled[13:26], expected.std(axis=0), atol=1e-4)
    assert len(pooled) == 52 and result.frames == 44


def test_mfcc_takes_one_window_and_no_less() -> None:
    encoder = build("audio/mfcc")
    assert isinstance(encoder.encode([Sample(sound=speech(1, 22050)[:2048])])[0], Encoded)
    assert isinstance(encoder.encode([Sample(sound=speech(1, 22050)[:2047])])[0], Missing)


def test_prosody_hears_pitch_loudness_and_rhythm() -> None:
    def told(sound: NDArray[np.float32]) -> dict[str, float]:
        result = build("audio/prosody").encode([Sample(sound=sound)])[0]
        return dict(zip(NAMES, result.arrays["pooled"][0].tolist(), strict=True))

    low, high = told(speech(3, 16000, 120)), told(speech(3, 16000, 240))
    # 12 log2(120 / 100) = 3.16, and the pitch falls by a tenth: its median is 0.9 below
    assert low["pitch_median"] == pytest.approx(3.16 - 0.9, abs=0.4)
    assert high["pitch_median"] - low["pitch_median"] == pytest.approx(12, abs=0.3)
    assert low["pitch_slope"] == pytest.approx(-1.82 / 3, abs=0.15)
    assert low["syllable_rate"] == pytest.approx(4, abs=0.4) and low["duration"] == 3
    louder = told(2 * speech(3, 16000, 120))
    assert louder["loudness_mean"] - low["loudness_mean"] == pytest.approx(6.02, abs=0.1)
    gap = told(np.concatenate([speech(1, 16000), np.zeros(8000, np.float32), speech(1, 16000)]))
    assert gap["pause_longest"] == pytest.approx(0.55, abs=0.1) and gap["pause_rate"] == pytest.approx(0.4)


def test_prosody_of_noise_has_no_voice() -> None:
    noise = np.random.default_rng(0).normal(size=16000).astype(np.float32) * 0.1
    result = build("audio/prosody").encode([Sample(sound=noise)])[0]
    told = dict(zip(NAMES, result.arrays["pooled"][0].tolist(), strict=True))
    assert told["voiced_share"] < 0.05
    log_f0, voiced = result.arrays["frames"][:, 0], result.arrays["frames"][:, 1]
    assert ((log_f0 == 0) == (voiced == 0)).all()


# --- visual/face-hog


def test_face_hog_is_that_of_scikit_image_on_the_crop() -> None:
    result = build("visual/face-hog", margin=0.0).encode([clip(1)])[0]
    crop = data.astronaut()[60:190, 170:280]  # type: ignore[no-untyped-call]
    shape = (96, 96)
    grey = resize(rgb2gray(crop), shape, order=1, mode="edge", anti_aliasing=True)  # type: ignore[no-untyped-call]
    expected = hog(
        grey, orientations=8, pixels_per_cell=(16, 16), cells_per_block=(1, 1), block_norm="L2-Hys"
    )
    np.testing.assert_allclose(result.arrays["frames"][0], expected, atol=1e-6)
    np.testing.assert_allclose(
        result.arrays["pooled"][0], np.concatenate([expected, 0 * expected]), atol=1e-6
    )
    np.testing.assert_array_equal(result.arrays["boxes"], [FACE])


def test_face_hog_takes_the_face_that_is_asked_for() -> None:
    sample = clip(2, faces_at((10, 10, 60, 60), FACE))
    boxes = {
        face: build("visual/face-hog", face=face).encode([sample])[0].arrays["boxes"][0].tolist()
        for face in ("largest", "most_probable")
    }
    assert boxes == {"largest": list(FACE), "most_probable": [10, 10, 60, 60]}


def test_face_hog_leaves_out_pictures_without_a_face() -> None:
    with_face, without = clip(2).frames, clip(3, faces_at()).frames
    result = build("visual/face-hog").encode([Sample(frames=(*without, *with_face))])[0]
    assert result.frames == 2 and len(result.arrays["boxes"]) == 2
    np.testing.assert_array_equal(
        result.arrays["pooled"], build("visual/face-hog").encode([clip(2)])[0].arrays["pooled"]
    )


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (Sample(), Reason.NO_VIDEO),
        (clip(3, faces_at()), Reason.NO_FACE),
        (clip(1, faces_at((600.0, 600.0, 700.0, 700.0))), Reason.NO_FACE),
        (clip(1, faces_at((5.0, 5.0, 6.0, 6.0))), Reason.NO_FACE),
    ],
)
def test_clip_without_a_usable_face_is_missing(sample: Sample, reason: Reason) -> None:
    result = build("visual/face-hog").encode([sample])[0]
    assert isinstance(result, Missing) and result.reason == reason


def test_crop_has_its_margin_and_stays_inside_the_picture() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    inside = crop_face(image, np.array([20, 20, 60, 40], np.float32), 0.1)
    corner = crop_face(image, np.array([-30, 80, 50, 130], np.float32), 0.5)
    assert inside is not None and inside.shape == (24, 48, 3)
    assert corner is not None and corner.shape == (45, 90, 3)


def test_face_hog_params_that_hold_no_block_are_refused() -> None:
    with pytest.raises(ValidationError, match="is smaller than a block"):
        configs()["visual/face-hog"](size=16, cell=16, block=2)
