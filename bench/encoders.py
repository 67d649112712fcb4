"""Benchmark of each encoder's speed on one CPU core (or a GPU), and the share of the time inside its networks.

Media are decoded and faces found before the time is measured. Every network has its full size; its weights are random
if the checkpoint is missing. The figure `of_forward` is the share of the time inside the networks. In the remaining
time, the encoder prepares inputs (tokens, spectrograms, crops) and processes outputs.
"""

import functools
import gc
import importlib.util
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from app.features import features_of
from bench.clips import make_corpus
from bench.floor import Work, read_inputs, samples_of
from bench.jobs import BenchJob, rounded
from ercache.manifest import Manifest, write_manifest
from ercache.params.schema import EngineParams, FacePolicy, FeatureParams, Params
from ercache.reasons import Missing
from extract.encoders import ENCODERS
from extract.encoders.base import Encoded, Encoder, Sample
from extract.engine.batching import make_batches
from extract.engine.plan import Feature, make_plan

CLIPS: Final = 12
SECONDS: Final = 6.0  # after this time no further forward starts
SEED: Final = 0
POLICY: Final = FacePolicy(overlap=0.7, min_probability=0.9)
ABSENT: Final = ("visual/openface-au",)  # not measured: it reads tables that another program writes


def measure(folder: Path, keys: tuple[str, ...] = (), clips: int = CLIPS, device: str = "") -> dict[str, Any]:
    """Measure the speed of encoders.

    Args:
        folder: scratch folder.
        keys: keys of the encoders; if empty, all encoders that can run on this machine.
        clips: number of clips to encode.
        device: name of a torch device; if empty, a GPU if there is one, else the CPU.

    Returns:
        Key of the encoder -> `{"cpu" or "gpu": {"utterances_per_second", "kilobytes_per_utterance", "of_forward"}}`.
    """
    manifest = make_corpus(folder / "media", clips)
    write_manifest(manifest, folder / "bench.jsonl")
    device = device or ("cuda:0" if torch.cuda.is_available() else "cpu")
    where = "cpu" if device == "cpu" else "gpu"
    found = {}
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for key in keys or tuple(runnable()):
            found[key] = {where: measure_one(key, folder, manifest, device)}
    finally:
        torch.set_num_threads(before)
    return found


def runnable() -> Iterator[str]:
    """Yield the keys of the encoders that can run on this machine, in alphabetical order."""
    for key, kind in sorted(ENCODERS.items()):
        lacks = key == "audio/egemaps" and importlib.util.find_spec("opensmile") is None
        if not kind.spec.unavailable and key not in ABSENT and not lacks:
            yield key


def measure_one(key: str, folder: Path, manifest: Manifest, device: str) -> dict[str, float]:
    """Measure the speed of one encoder with default params, and the size of its values.

    Args:
        key: key of the encoder.
        folder: folder with the media of the clips.
        manifest: manifest of the clips.
        device: name of a torch device, such as `cpu` or `cuda:0`.

    Returns:
        `utterances_per_second`; `kilobytes_per_utterance`, the size of the values of an utterance; `of_forward`, the
        share of the time inside networks, if the encoder has networks.
    """
    entry = FeatureParams.model_validate({"encoder": key})
    (feature,) = features_of(Params(features={"it": entry}, faces=POLICY), ["it"], SEED)
    samples = samples_for(feature, folder, manifest, device)
    encoder = feature.build(device)
    torch.set_num_threads(1)
    groups = list(
        make_batches([encoder.length(s) for s in samples], feature.spec.batch, EngineParams().batch)
    )
    sizes = [_kilobytes(encoded) for encoded in encoder.encode(samples[:1])]
    inside = Inside(encoder, device)
    done, began = 0, time.perf_counter()
    for group in groups:
        sizes += [_kilobytes(encoded) for encoded in encoder.encode([samples[n] for n in group])]
        done += len(group)
        if time.perf_counter() - began > SECONDS:
            break
    _settle(device)
    seconds = time.perf_counter() - began
    del encoder
    gc.collect()
    speed: Mapping[str, float] = {
        "utterances_per_second": done / seconds,
        "kilobytes_per_utterance": sum(sizes) / len(sizes),
    }
    if inside.seconds:
        speed = {**speed, "of_forward": inside.seconds / seconds}
    found: dict[str, float] = rounded(dict(speed))
    return found


def _kilobytes(encoded: Encoded | Missing) -> float:
    """Return the size of the values that an encoder made of one utterance, kilobytes; 0 if it made none."""
    return 0.0 if isinstance(encoded, Missing) else sum(a.nbytes for a in encoded.arrays.values()) / 1000


def samples_for(feature: Feature, folder: Path, manifest: Manifest, device: str) -> list[Sample]:
    """Decode the inputs of a feature's encoder for every clip (text, audio, or frames with faces).

    Clips that cannot be read or lack the modality are left out.
    """
    from extract.engine.face_tables import FaceTables
    from extract.faces.mtcnn import FaceFinder

    engine = EngineParams()
    job = BenchJob(
        folder=folder,
        root=folder / "media",
        manifest=folder / "bench.jsonl",
        encoder_set="light",
        engine=engine,
        policy=POLICY,
        device=device,
    )
    plan = make_plan(manifest, manifest.utterances, [feature], engine)
    work = Work(job, {feature.name: feature}, list(zip(plan.shards, plan.rows, strict=True)))
    tables = {POLICY: FaceTables(POLICY, functools.partial(FaceFinder, POLICY, device), {}, lambda _: {})}
    found: list[Sample] = []
    for number, (shard, rows) in enumerate(work.shards):
        inputs = read_inputs(work, number)
        good = [n for n in rows.get(feature.name, ()) if feature.spec.modality not in inputs[n].faults]
        found += [s for s in samples_of(feature, shard, good, inputs, tables, {}) if not _empty(s)]
    return found


def _empty(sample: Sample) -> bool:
    return not (isinstance(sample.frames, tuple) or sample.text or sample.sound is not None)


class Inside:
    """Stopwatch for the forward passes of an encoder's neural networks: runs only while a network computes.

    Attributes:
        seconds: time inside the networks so far, summed over all forward passes.
    """

    def __init__(self, encoder: Encoder, device: str) -> None:
        self.seconds = 0.0
        self._device, self._depth, self._began = device, 0, 0.0
        for network in networks_of(encoder):
            network.register_forward_pre_hook(lambda *_: self._enter())
            network.register_forward_hook(lambda *_: self._leave())

    def _enter(self) -> None:
        if self._depth == 0:
            _settle(self._device)
            self._began = time.perf_counter()
        self._depth += 1

    def _leave(self) -> None:
        self._depth -= 1
        if self._depth == 0:
            _settle(self._device)
            self.seconds += time.perf_counter() - self._began


def networks_of(thing: Any, depth: int = 3) -> Iterator[nn.Module]:
    """Find the torch modules that an object holds: in its attributes, lists and dicts, down to `depth` levels."""
    if isinstance(thing, nn.Module):
        yield thing
    elif depth and isinstance(thing, Mapping):
        for value in thing.values():
            yield from networks_of(value, depth - 1)
    elif depth and isinstance(thing, list | tuple):
        for value in thing:
            yield from networks_of(value, depth - 1)
    elif depth and hasattr(thing, "__dict__") and not isinstance(thing, type):
        for value in vars(thing).values():
            yield from networks_of(value, depth - 1)


def _settle(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)
