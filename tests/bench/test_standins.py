"""The benchmark of extraction: stand-ins of the stated size, a fair reference, and a run that comes to figures."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from bench import standins
from bench.extract import REAL, measure, multiplied, rounded, stage_seconds, watch
from bench.naive import Clip, extract, read_pictures, read_sound
from bench.standins import RANDOM, SETS, STANDINS, features, random_network, token_ids, windows
from ercache.manifest import Manifest, MediaRef, Utterance, read_manifest
from ercache.params import FacePolicy, Limits
from ercache.reasons import Missing, Reason
from extract.encoders.base import Encoded, Faces, FloatArray, Frame, Pictures, Sample
from extract.media import Stretch, read_stretches

LIMITS = Limits(seconds=20)
POOLER = 1024 * 1024 + 1024
BOX = np.array([[20, 30, 120, 160]], np.float32)
FACE = Faces(BOX, np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))


def noise(samples: int) -> FloatArray:
    return np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)


def picture(seed: int, faces: Faces | None = FACE) -> Frame:
    return Frame(
        float(seed), np.random.default_rng(seed).integers(0, 256, (180, 240, 3), dtype=np.uint8), faces
    )


def pair(key: str) -> list[Sample]:
    """Two utterances that may share a forward, as different as the batch rule allows."""
    wants = features([key])[0].input
    if wants.text:
        return [Sample(text="Well, I did not think that you would come back!"), Sample(text="no")]
    if wants.pictures:
        return [Sample(frames=(picture(0), picture(1))), Sample(frames=(picture(2),))]
    second = 8_000 if STANDINS[key].spec.batch == "equal" else 5_000
    return [Sample(sound=noise(8_000)), Sample(sound=noise(second)[::-1].copy())]


@pytest.mark.parametrize(
    ("build", "millions"),
    [
        (standins.wav2vec2, 315.4),
        (standins.passt, 86.2),
        (standins.resnet18, 11.7),
        (standins.headless, 11.7 - 0.513),
        (standins.projected, 11.7 - 0.513 + 0.154),
    ],
)
def test_networks_have_the_size_of_the_real_ones(
    build: Callable[[], torch.nn.Module], millions: float
) -> None:
    assert parameters(build) == pytest.approx(1e6 * millions, abs=6e4)


def test_roberta_large_lacks_its_untrained_pooler_alone() -> None:
    assert parameters(standins.roberta) + POOLER == pytest.approx(355.4e6, abs=6e4)


def parameters(build: Callable[[], torch.nn.Module]) -> int:
    with torch.device("meta"):
        return sum(weight.numel() for weight in build().parameters())


@pytest.mark.parametrize("key", STANDINS)
def test_standins_give_what_they_declare_whatever_shares_the_forward(key: str) -> None:
    kind = STANDINS[key]
    encoder = kind(kind.Params())
    samples = pair(key)
    together = encoder.encode(samples)
    for sample, result in zip(samples, together, strict=True):
        (alone,) = encoder.encode([sample])
        for declared in kind.arrays(kind.Params()):
            values = result.arrays[declared.name]
            assert values.dtype == np.float32 and values.shape[1:] == declared.shape
            assert values.shape[0] == (1 if declared.kind == "vector" else result.frames)
            scale = max(1.0, float(np.abs(values).max()))
            assert np.abs(values - alone.arrays[declared.name]).max() <= kind.spec.tolerance * scale
    assert np.abs(together[0].arrays["pooled"] - together[1].arrays["pooled"]).max() > 1e-4


def test_random_weights_are_the_same_each_time_and_cost_nobody_a_random_number() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    networks = [random_network(standins.headless, "cpu") for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before) and not networks[0].training
    states = [network.state_dict() for network in networks]
    assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))
    assert all(torch.isfinite(a.float()).all() for a in states[0].values())


def test_clips_without_a_face_or_with_silence_have_a_reason_and_harm_no_other() -> None:
    faces = standins.Faces(standins.PictureParams())
    good = Sample(frames=(picture(0),))
    found = faces.encode([Sample(frames=(picture(1, None),)), good])
    assert isinstance(found[0], Missing) and found[0].reason is Reason.NO_FACE
    (alone,) = faces.encode([good])
    assert isinstance(found[1], Encoded) and isinstance(alone, Encoded)
    assert np.array_equal(found[1].arrays["pooled"], alone.arrays["pooled"])
    mel = standins.MelResnet18(standins.NoSwitches())
    silent, short, heard = mel.encode(
        [Sample(sound=s) for s in (np.zeros(800, "f4"), noise(399), noise(400))]
    )
    assert isinstance(silent, Missing) and silent.reason is Reason.SILENT
    assert isinstance(short, Missing) and short.reason is Reason.TOO_SHORT
    assert isinstance(heard, Encoded)


def test_provenance_says_that_weights_are_random() -> None:
    policy = FacePolicy(min_face_size=60)
    of = {f.name: f for f in features([*SETS["light"], *SETS["paper"]], policy)}
    assert {n for n, f in of.items() if f.weights == RANDOM} == {n for n in of if n.startswith("random-")}
    assert (
        RANDOM == {"random": True, "seed": 0, "id": "stand-in"}
        and of["random-wav2vec2"].recipe["weights"] == RANDOM
    )
    assert {n for n, f in of.items() if f.faces == policy} == {"face-hog", "random-resnet18-faces"}
    assert of["random-resnet18-scenes"].input.pictures == Pictures(8, side=256)


def test_texts_are_cut_at_512_tokens() -> None:
    assert token_ids("") == [0, 2]
    assert len(token_ids("Oh, no!")) == 6 and token_ids("no no")[1] == token_ids("no no")[2]
    ids = token_ids("word " * 600)
    assert len(ids) == 512 and min(ids[1:-1]) > 3 and max(ids) < 50_265


@pytest.mark.parametrize(
    ("length", "starts"), [(7, [0]), (10, [0]), (11, [0, 1]), (20, [0, 10]), (25, [0, 7, 15])]
)
def test_windows_cover_a_sound_and_have_one_size(length: int, starts: list[int]) -> None:
    found = windows(length, 10)
    assert [w.start for w in found] == starts and found[-1].stop == length
    assert {w.stop - w.start for w in found} == {min(length, 10)}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of pictures whose neighbours differ greatly in grey, and a sweep."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    grey = "nullsrc=size=160x120:rate=25:duration=2,geq=lum='mod(N*37,240)':cb=128:cr=128"
    sources = [grey, "aevalsrc=sin(440*2*PI*t*t)/2:s=44100:d=2"]
    given = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *given, "-c:v", "libx264", "-bf", "2"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", "-c:a", "aac", str(path)], check=True)
    return path


def check_same(path: Path, wav: Path) -> None:
    """The naive reader and the engine's see and hear the same."""
    kind = Pictures(6)
    (ours,) = read_stretches(path, [Stretch(MediaRef(path.name), (kind,), (16_000,))], LIMITS)
    naive = read_pictures(path, kind, LIMITS)
    assert [f.time for f in naive] == [f.time for f in ours.pictures[kind]] and len(naive) == 6
    for a, b in zip(naive, ours.pictures[kind], strict=True):
        assert a.image.shape == b.image.shape
        assert np.abs(a.image.astype(int) - b.image.astype(int)).mean() < 3
    sound, heard = read_sound(path, 16_000, wav), ours.sounds[16_000]
    assert abs(len(sound) - len(heard)) < 1_600
    size = min(len(sound), len(heard))
    assert np.corrcoef(sound[:size], heard[:size])[0, 1] > 0.99


def test_the_naive_reader_sees_and_hears_what_ours_does(clip: Path, tmp_path: Path) -> None:
    check_same(clip, tmp_path / "sound.wav")


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")
def test_the_naive_reader_sees_and_hears_real_clips_as_ours_does(tmp_path: Path) -> None:
    check_same(min(REAL.glob("*.flv")), tmp_path / "sound.wav")


def test_the_naive_way_gives_our_values_and_passes_over_what_it_cannot_read(
    clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_bytes(clip.read_bytes()[:100])
    clips = [
        Clip("good", "Well, no.", clip, clip),
        Clip("broken", "Oh!", tmp_path / "broken.mp4", tmp_path / "broken.mp4"),
        Clip("absent", "", None, None),
    ]
    wanted = features(["text/minilm", "audio/mfcc", "visual/face-hog"])
    account = extract(clips, wanted, tmp_path / "out", LIMITS)
    files = {str(p.relative_to(tmp_path / "out").with_suffix("")) for p in tmp_path.rglob("*.pkl")}
    assert files == {"minilm/good", "minilm/broken", "mfcc/good"} and account.written == 3
    assert sorted(line.split(":")[0] for line in account.missing) == [
        "face-hog absent", "face-hog broken", "face-hog good", "mfcc absent", "mfcc broken", "minilm absent",
    ]  # fmt: skip
    assert set(account.seconds) == {"load", "decode", "faces", "encode", "write"} and account.threads >= 1
    (text,) = wanted[0].kind(wanted[0].params).encode([Sample(text="Well, no.")])
    kept = np.load(tmp_path / "out/minilm/good.pkl", allow_pickle=True)
    assert np.array_equal(kept["pooled"], text.arrays["pooled"])


def test_copies_differ_in_their_bytes_and_in_nothing_that_is_seen(clip: Path, tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    shutil.copy(clip, root / "a.mp4")
    for path in sorted(REAL.glob("*.flv"))[:1]:
        shutil.copy(path, root / "b.flv")
    kind = Pictures(3)
    rows = tuple(
        Utterance(p.stem, "d", n, "Ann", "Oh!", MediaRef(p.name, sha256="0" * 64), None, {}, "all")
        for n, p in enumerate(sorted(root.iterdir()))
    )
    copies = multiplied(Manifest("bench", "1", {}, {}, rows), root, tmp_path / "copies", 3)
    refs = [u.video for u in copies.utterances if u.video]
    assert len({ref.sha256 for ref in refs}) == len({u.id for u in copies.utterances}) == 3 * len(rows)
    assert len({u.text for u in copies.utterances}) == 3
    for ref in refs:
        source = root / Path(ref.path).name
        (before,) = read_stretches(source, [Stretch(MediaRef(source.name), (kind,), (8_000,))], LIMITS)
        (after,) = read_stretches(tmp_path / "copies" / ref.path, [Stretch(ref, (kind,), (8_000,))], LIMITS)
        seen = zip(before.pictures[kind], after.pictures[kind], strict=True)
        assert all(np.array_equal(a.image, b.image) for a, b in seen)
        assert np.array_equal(before.sounds[8_000], after.sounds[8_000])


def test_a_stage_counts_as_long_as_any_of_its_spans_is_open() -> None:
    rows = [
        (0.0, "decode", "begin"), (1.0, "decode", "begin"), (1.5, "encode", "begin"), (3.0, "decode", "end"),
        (4.0, "decode", "end"), (2.0, "encode", "end"), (6.0, "decode", "begin"), (6.5, "decode", "end"),
    ]  # fmt: skip
    lines = [json.dumps({"seconds": t, "stage": s, "event": e, "what": ""}) for t, s, e in rows]
    assert stage_seconds(lines) == {"decode": 4.5, "encode": 0.5}


def test_figures_have_four_digits() -> None:
    assert rounded({"a": 1.23456, "b": {"c": 12345.6, "d": 7, "e": "x"}}) == {
        "a": 1.235,
        "b": {"c": 12350.0, "d": 7, "e": "x"},
    }


def test_the_memory_of_all_processes_is_added_up() -> None:
    grow = "x = bytearray(150_000_000); time.sleep(2)"
    child = f"subprocess.Popen([sys.executable, '-c', 'import time; {grow}'])"
    both = f"import subprocess, sys, time; c = {child}; {grow}; c.wait()"
    with subprocess.Popen([sys.executable, "-c", both]) as process:
        peaks = watch(process)
    assert 300 < peaks["peak_pss_mb"] <= peaks["peak_rss_mb"] < 400


def test_a_small_benchmark_comes_to_figures(tmp_path: Path) -> None:
    figures = measure(tmp_path, clips=4, encoder_set="light", scale=0)
    assert figures["clips"] == 4 and figures["real_clips"] == (2 if REAL.is_dir() else 0)
    assert all(figures[n] > 0 for n in ("speedup_over_naive", "share_of_floor", "utterances_per_second"))
    assert figures["share_of_floor"] < 1  # start-up alone takes longer than four clips
    assert figures["naive"]["written"] == 16 == figures["ours"]["units"] + repeated(tmp_path)
    assert set(figures["ours"]["seconds"]) >= {"decode", "faces", "encode", "store", "pack"}
    assert set(figures["floor"]["seconds"]) == {"faces", "minilm", "mfcc", "prosody", "face-hog"}
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.full
def test_the_memory_of_two_corpora_is_compared(tmp_path: Path) -> None:
    figures = measure(tmp_path, clips=4, encoder_set="light", scale=2)
    assert figures["peak_rss_mb"] >= figures["peak_pss_mb"] > 100
    assert 0.5 < figures["pss_growth_2x"] < 2 and 0.5 < figures["rss_growth_2x"] < 2


def repeated(folder: Path) -> int:
    """Texts that were said before: ours encodes them once."""
    texts = [u.text for u in read_manifest(folder / "bench.jsonl").utterances]
    return len(texts) - len(set(texts))
