"""Measures a lower bound (the floor) of the extraction time: decoding alone, then face detection and networks alone."""

import functools
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.jobs import BenchJob
from ercache.manifest import read_manifest
from ercache.params.schema import FacePolicy, Limits
from ercache.processes import process_pool
from extract.encoders.base import Sample
from extract.media import read_spans

if TYPE_CHECKING:
    from extract.encoders.base import Encoder
    from extract.engine.face_tables import FaceTables
    from extract.engine.plan import Feature, Shard
    from extract.engine.reading import FileRequest, RowInputs


@dataclass
class Work:
    """The work of an extraction, divided into shards (groups of utterances) as the extraction engine divides it.

    Attributes:
        job: which features to extract from which corpus, and how.
        features: name of the feature -> feature.
        shards: for each shard two values: its utterances, and a dict from the name of a feature to the indices of the
            utterances for which it must be encoded.
    """

    job: BenchJob
    features: "dict[str, Feature]"
    shards: "list[tuple[Shard, dict[str, tuple[int, ...]]]]"

    def files(self, number: int) -> "list[FileRequest]":
        """Return the media files to decode for the shard (group of utterances) with the index `number`."""
        from extract.engine.reading import file_requests

        return file_requests(*self.shards[number], self.features)


def plan_work(job: BenchJob) -> Work:
    """Divide the utterances of a job into shards (groups), as the extraction engine does; text shards come last."""
    from extract.engine.plan import group_features, make_plan

    manifest, features = read_manifest(job.manifest), job.features()
    plans = [
        make_plan(manifest, manifest.utterances, group, job.engine) for group in group_features(features)
    ]
    shards = [shard for plan in plans for shard in zip(plan.shards, plan.rows, strict=True)]
    return Work(job, {f.name: f for f in features}, shards)


def decode_only(root: Path, file: "FileRequest", limits: Limits) -> int:
    """Decode the needed clips of a media file and discard frames and audio; return the number of clips."""
    return len(read_spans(root / file.path, file.spans, limits))


@dataclass
class Lane:
    """What a worker process loads into memory before the time of networks is measured.

    Attributes:
        work: the shards (groups of utterances).
        inputs: for each shard, index of the utterance in the shard -> decoded media.
        encoders: name of the feature -> encoder with loaded networks.
        tables: face policy -> table of detected faces.
    """

    work: Work
    inputs: "list[dict[int, RowInputs]]"
    encoders: "dict[str, Encoder]"
    tables: "dict[FacePolicy, FaceTables]"


_lane: Lane | None = None  # of a worker process


def prepare(job: BenchJob, device: str) -> None:
    """Prepare this worker process: decode all inputs, load the networks, and run each network once as warm-up."""
    from threadpoolctl import threadpool_limits

    from extract.engine.environment import exact_arithmetic
    from extract.engine.face_tables import FaceTables
    from extract.faces.mtcnn import FaceFinder

    global _lane
    threadpool_limits(job.engine.threads)
    work = plan_work(job)
    encoders = {name: f.build(device) for name, f in work.features.items()}
    tables = {
        f.faces: FaceTables(f.faces, functools.partial(FaceFinder, f.faces, device), {}, lambda _: {})
        for f in work.features.values()
        if f.faces
    }
    exact_arithmetic(job.engine.threads)
    _lane = Lane(work, [read_inputs(work, n) for n in range(len(work.shards))], encoders, tables)
    for n in range(len(work.shards)):
        forward_shard(n, most=1)


def read_inputs(work: Work, number: int) -> "dict[int, RowInputs]":
    """Decode the media of all utterances of one shard (group of utterances).

    Args:
        work: all shards.
        number: index of the shard.

    Returns:
        Index of the utterance in the shard -> decoded frames and audio.
    """
    from extract.engine.reading import RowInputs, assign_clip
    from extract.media.scanned import read_scanned

    inputs = {n: RowInputs() for n in range(len(work.shards[number][0]))}
    if work.job.root:
        for file in work.files(number):
            for span, clip in read_scanned(file.request(work.job.root, work.job.engine.limits)):
                assign_clip(file.uses[span], clip, inputs)
    return inputs


def forward_shard(number: int, most: int | None = None) -> dict[str, float]:
    """Detect faces in the decoded frames of a shard (group of utterances), encode all features, and measure the time.

    Args:
        number: index of the shard.
        most: greatest number of utterances to encode for each feature (for a warm-up); None for all utterances.

    Returns:
        Name of the feature -> seconds of encoding; `faces` -> seconds of face detection.
    """
    assert _lane is not None
    seconds: dict[str, float] = {}
    shard, rows = _lane.work.shards[number]
    inputs = _lane.inputs[number]
    known: dict[str, bytes] = {}
    for name, feature in _lane.work.features.items():
        good = [n for n in rows.get(name, ()) if feature.spec.modality not in inputs[n].faults][:most]
        began = time.perf_counter()
        samples = samples_of(feature, shard, good, inputs, _lane.tables, known)
        detected = time.perf_counter()
        encode_all(feature, _lane.encoders[name], samples, _lane.work.job)
        seconds[name] = time.perf_counter() - detected
        if feature.faces:
            seconds["faces"] = seconds.get("faces", 0.0) + detected - began
    return seconds


def samples_of(
    feature: "Feature",
    shard: "Shard",
    rows: Sequence[int],
    inputs: "dict[int, RowInputs]",
    tables: "dict[FacePolicy, FaceTables]",
    known: dict[str, bytes],
) -> list[Sample]:
    """Build the inputs of a feature's encoder for some utterances; detect faces if the feature needs them.

    Args:
        feature: the feature to encode.
        shard: the group of utterances.
        rows: indices of the wanted utterances in the shard.
        inputs: index in the shard -> decoded frames and audio.
        tables: face policy -> finder of the faces in pictures (`FaceTables`).
        known: key of a picture -> its detected faces, as bytes; this function adds new detections to the dict.
    """
    from extract.engine.worker import build_sample

    if not feature.faces:
        return [build_sample(feature, shard[n], inputs[n]) for n in rows]
    found = tables[feature.faces].add(feature, shard, rows, inputs, known)
    return [replace(build_sample(feature, shard[n], inputs[n]), frames=found[n]) for n in rows]


def encode_all(feature: "Feature", encoder: "Encoder", samples: Sequence[Sample], job: BenchJob) -> None:
    """Encode input samples in the same batches as the extraction engine, and discard the feature vectors."""
    from extract.engine.batching import make_batches
    from extract.engine.environment import autocast

    lengths = [encoder.length(sample) for sample in samples]
    for group in make_batches(lengths, feature.spec.batch, job.engine.batch):
        with autocast(job.device, job.engine.precision):
            encoder.encode([samples[n] for n in group])


def run_floor(job: BenchJob) -> dict[str, Any]:
    """Measure a lower bound (the floor) of the extraction time, in as many processes as ercache would use.

    Each free process takes the next file (or group of utterances).

    Returns:
        `decode`: seconds of decoding alone. `forwards`: seconds of face detection and networks alone. `seconds`: name
        of the feature -> seconds of its networks, and `faces` -> seconds of face detection, summed over processes.
    """
    from extract.engine.worker_pool import devices_of

    work = plan_work(job)
    devices = devices_of(job.device, job.engine.lanes)
    files = [file for n in range(len(work.shards)) for file in work.files(n)]
    readers = len(devices) * job.engine.workers
    with process_pool(readers) as pool:
        read = functools.partial(decode_only, job.root, limits=job.engine.limits)
        list(pool.map(read, files[:1] * 2 * readers))  # warm-up: processes start and import
        began = time.perf_counter()
        list(pool.map(read, files))
        decoding = time.perf_counter() - began
    with ExitStack() as stack:
        pools = [stack.enter_context(process_pool(1)) for _ in devices]
        for ready in [pool.submit(prepare, job, d) for pool, d in zip(pools, devices, strict=True)]:
            ready.result()
        numbers = iter(range(len(work.shards)))

        def drain(pool: ProcessPoolExecutor) -> list[dict[str, float]]:
            return [pool.submit(forward_shard, number).result() for number in numbers]

        began = time.perf_counter()
        with ThreadPoolExecutor(len(pools)) as threads:
            parts = [part for of_pool in threads.map(drain, pools) for part in of_pool]
        forwarding = time.perf_counter() - began
    seconds: Counter[str] = Counter()
    for part in parts:
        seconds.update(part)
    return {"decode": decoding, "forwards": forwarding, "seconds": dict(seconds)}
