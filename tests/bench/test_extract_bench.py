"""The benchmark of extraction: networks of the stated size, a fair reference, and a run that comes to figures."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import threadpoolctl
import torch

import bench.extract
import bench.floor
import bench.sets
from bench.clips import REAL, SOUNDS, multiplied, set_apart
from bench.extract import ROLES, measure, reasons, stage_seconds
from bench.jobs import BenchJob, rounded, watch
from bench.naive import NaiveClip, extract, extract_sounds, read_pictures, read_sound
from bench.sets import features
from ercache.digests import digest_of_file
from ercache.manifest import Manifest, MediaRef, Utterance, read_manifest
from ercache.params.schema import EngineParams, FacePolicy, Limits
from extract.encoders.base import Sample
from extract.engine import environment
from extract.engine.plan import Feature
from extract.media import Span, read_spans
from extract.media.types import PictureRequest

LIMITS = Limits(seconds=20)


def test_what_is_in_no_wheel_is_random_and_says_so() -> None:
    policy = FacePolicy(min_face_size=60)
    light, paper = features("light", policy), features("paper", policy)
    assert not [f.name for f in light if f.weights and f.weights.get("random")]
    assert all(f.recipe["weights"]["random"] and f.recipe["weights"]["seed"] == 0 for f in paper)
    assert {f.name for f in (*light, *paper) if f.faces == policy} == {
        "face_hog",
        "face_crops",
        "resnet18_faces",
    }


@pytest.mark.full
def test_networks_of_the_paper_set_have_their_published_size() -> None:
    millions = {
        "roberta_large": 355.4,
        "wav2vec2_large": 315.4,
        "passt": 85.4,
        "mel_resnet18": 11.33,
        "resnet18_faces": 11.18,
        "resnet18_scenes": 11.18,
    }
    found = {f.name: parameters(f.build("cpu")) / 1e6 for f in features("paper", FacePolicy())}
    assert found == pytest.approx(millions, rel=0.01)


def parameters(encoder: object) -> int:
    networks = [v for v in vars(encoder).values() if isinstance(v, torch.nn.Module)]
    return sum(weight.numel() for network in networks for weight in network.parameters())


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
    kind = PictureRequest(6)
    (ours,) = read_spans(path, [Span(MediaRef(path.name), (kind,), (16_000,))], LIMITS)
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
        NaiveClip("good", "Well, no.", clip, clip),
        NaiveClip("broken", "Oh!", tmp_path / "broken.mp4", tmp_path / "broken.mp4"),
        NaiveClip("absent", "", None, None),
    ]
    of = {f.name: f for f in features("light", FacePolicy())}
    wanted = [of[name] for name in ("minilm", "mfcc", "face_hog")]
    account = extract(clips, wanted, tmp_path / "out", LIMITS)
    files = {str(p.relative_to(tmp_path / "out").with_suffix("")) for p in tmp_path.rglob("*.pkl")}
    assert files == {"minilm/good", "minilm/broken", "mfcc/good"} and account.written == 3
    assert sorted(line.split(":")[0] for line in account.missing) == [
        "face_hog absent", "face_hog broken", "face_hog good", "mfcc absent", "mfcc broken", "minilm absent",
    ]  # fmt: skip
    assert set(account.seconds) == {"load", "decode", "faces", "encode", "write"} and account.threads >= 1
    (text,) = wanted[0].kind(wanted[0].params).encode([Sample(text="Well, no.")])
    kept = np.load(tmp_path / "out/minilm/good.pkl", allow_pickle=True)
    assert np.array_equal(kept["pooled"], text.arrays["pooled"])


def test_the_naive_loop_over_sound_files_gives_our_values(clip: Path, tmp_path: Path) -> None:
    wav = tmp_path / "sound.wav"
    read_sound(clip, 16_000, wav)
    wanted = features("sound", FacePolicy())
    clips = [
        NaiveClip("good", None, None, wav),
        NaiveClip("absent", None, None, None),
        NaiveClip("no sound", None, None, clip),
    ]
    account = extract_sounds(clips, wanted, tmp_path / "out")
    assert account.written == len(wanted) == 2 and len(account.missing) == 2
    for feature in wanted:
        rate = feature.input.rate or 0
        (ours,) = read_spans(wav, [Span(MediaRef(wav.name), rates=(rate,))], LIMITS)
        (encoded,) = feature.build("cpu").encode([Sample(sound=ours.sounds[rate])])
        naive = np.load(tmp_path / f"out/{feature.name}/good.pkl", allow_pickle=True)
        assert all(np.allclose(naive[name], values, atol=1e-2) for name, values in encoded.arrays.items())


def test_copies_of_a_sound_file_differ_and_sound_the_same(clip: Path, tmp_path: Path) -> None:
    wav = tmp_path / "0.wav"
    before = read_sound(clip, 16_000, wav)
    set_apart(wav, 7)
    assert wav.read_bytes().endswith((7).to_bytes(4, "little"))
    (after,) = read_spans(wav, [Span(MediaRef(wav.name), rates=(16_000,))], LIMITS)
    assert np.allclose(after.sounds[16_000], before, atol=1e-6)


def test_copies_differ_in_their_bytes_and_in_nothing_that_is_seen(clip: Path, tmp_path: Path) -> None:
    root = tmp_path / "media"
    root.mkdir()
    shutil.copy(clip, root / "a.mp4")
    for path in sorted(REAL.glob("*.flv"))[:1]:
        shutil.copy(path, root / "b.flv")
    kind = PictureRequest(3)
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
        (before,) = read_spans(source, [Span(MediaRef(source.name), (kind,), (8_000,))], LIMITS)
        (after,) = read_spans(tmp_path / "copies" / ref.path, [Span(ref, (kind,), (8_000,))], LIMITS)
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


def test_what_is_missing_is_counted_by_its_reason() -> None:
    lines = [
        "mfcc a: silent ",
        "face_hog a: no_face none in 6 frames",
        "mfcc b: silent ",
        "mfcc c: unreadable x: y",
    ]
    assert reasons(lines) == {"no_face": 1, "silent": 2, "unreadable": 1}


def test_two_clips_in_one_lane_come_to_figures(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corpus(root: Path, clips: int) -> Manifest:
        root.mkdir()
        files = [Path(shutil.copy(clip, root / f"{n}.mp4")) for n in range(clips)]
        refs = [MediaRef(file.name, sha256=digest_of_file(file)) for file in files]
        rows = [Utterance(r.path, "d", n, "Ann", f"Oh {n}!", r, r, {}, "all") for n, r in enumerate(refs)]
        return Manifest("bench", "1", {}, {}, tuple(rows))

    def here(role: str, job: BenchJob, name: str, watched: bool = False) -> dict[str, Any]:
        (job.folder / name).mkdir()
        return {"wall": 1.0, **ROLES[role](job.model_copy(update={"folder": job.folder / name}))}

    def two(encoder_set: str, policy: FacePolicy) -> list[Feature]:
        return [f for f in features("light", policy) if f.name in ("mfcc", "face_hog")]

    monkeypatch.setattr(bench.extract, "make_corpus", corpus)
    monkeypatch.setattr(bench.extract, "run_child", here)
    monkeypatch.setattr(bench.extract, "run_start", lambda job, manifest: 0.5)
    monkeypatch.setattr(bench.floor, "process_pool", ThreadPoolExecutor)
    monkeypatch.setattr(bench.sets, "features", two)
    monkeypatch.setattr(environment, "exact_arithmetic", lambda threads: None)  # it is of the whole process
    monkeypatch.setattr(threadpoolctl, "threadpool_limits", lambda threads: None)
    figures = measure(tmp_path, clips=2, scale=0, engine=EngineParams(lanes=1))
    assert figures["clips"] == 2 == figures["ours"]["units"] and figures["real_clips"] == 0
    assert figures["speedup_over_naive"] == 1 and figures["share_of_floor_after_start"] == rounded(
        figures["share_of_floor"] * 1 / 2 / 0.5
    )
    check_figures(figures, "mfcc", "face_hog")


def check_figures(figures: dict[str, Any], *names: str) -> None:
    """What every small benchmark tells."""
    assert all(figures[n] > 0 for n in ("speedup_over_naive", "share_of_floor", "utterances_per_second"))
    assert set(figures["ours"]["seconds"]) >= {"decode", "faces", "encode", "store", "pack"}
    assert set(figures["floor"]["seconds"]) == {"faces", *names}
    assert json.loads(json.dumps(figures)) == figures


@pytest.mark.full
def test_a_small_benchmark_comes_to_figures(tmp_path: Path) -> None:
    figures = measure(tmp_path, clips=4, encoder_set="light", scale=0)
    assert figures["clips"] == 4 and figures["real_clips"] == (2 if REAL.is_dir() else 0)
    assert figures["share_of_floor"] < 1  # start-up alone takes longer than four clips
    assert figures["naive"]["written"] == 20 == figures["ours"]["units"] + repeated(tmp_path)
    check_figures(figures, "minilm", "mfcc", "prosody", "face_hog", "face_crops")


@pytest.mark.full
@pytest.mark.skipif(not SOUNDS.is_dir(), reason="needs ../shared/media/ravdess (480 real sound files)")
def test_a_small_benchmark_of_sounds_comes_to_figures(tmp_path: Path) -> None:
    figures = measure(tmp_path, clips=4, encoder_set="sound", scale=0)
    assert figures["clips"] == figures["real_clips"] == 4 and figures["goals"]["speedup_over_naive"] == 1.5
    assert figures["naive"]["written"] == 8 == figures["ours"]["units"]


@pytest.mark.full
def test_the_memory_of_two_corpora_is_compared(tmp_path: Path) -> None:
    figures = measure(tmp_path, clips=4, encoder_set="light", scale=2)
    assert figures["peak_rss_mb"] >= figures["peak_pss_mb"] > 100
    assert 0.5 < figures["pss_growth_2x"] < 2 and 0.5 < figures["rss_growth_2x"] < 2


def repeated(folder: Path) -> int:
    """Texts that were said before: ours encodes them once."""
    texts = [u.text for u in read_manifest(folder / "bench.jsonl").utterances]
    return len(texts) - len(set(texts))
