"""Extraction: the naive way, ours, and the floor under any way, in one run on the same files.

- naive: bench/naive.py, a process of its own, start-up and all.
- ours: the engine with a cold store, likewise.
- floor: decoding alone (as many processes as ours has files open at once) plus detection and forwards alone (as many
  processes as ours has lanes, inputs decoded and networks loaded beforehand; the same threads, policy and forwards).
  Start-up, digests, store and packing count nowhere in it.
- memory: ours again on these files and on many copies of them, watched from outside; watching costs time, so those
  runs give no seconds. RSS is summed over the processes and counts shared pages more than once, PSS does not.

What is measured runs as `python -m bench.extract ROLE JOB`, so that no measurement inherits modules or memory.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import psutil

from ercache.digests import digest_of_file
from ercache.errors import WorkError
from ercache.manifest import Manifest, MediaRef, Utterance, read_manifest, write_manifest
from ercache.params import EngineParams, FacePolicy, Limits, Strict
from extract.encoders.base import Sample
from extract.media import read_stretches
from extract.processes import process_pool

if TYPE_CHECKING:
    from extract.encoders.base import Encoder
    from extract.engine.faces import Tables
    from extract.engine.plan import Feature, Shard
    from extract.engine.reading import FileJob, Inputs

PROJECT: Final = Path(__file__).parents[1]
REAL: Final = (
    PROJECT.parent / "shared" / "media" / "cremad"
)  # clips beside the project, where they are at hand
MELD: Final = 13_708  # clips
TINY: Final = 25  # clips of a tiny demo corpus
WATCHED: Final = 120  # clips that the memory is compared for: after half a minute it has stopped growing
PAUSE: Final = 0.1  # seconds between two looks at the memory


class Job(Strict):
    """What a child process is to do; `folder` is for what it writes, and fresh for every child."""

    folder: Path
    root: Path
    manifest: Path
    encoder_set: Literal["light", "paper"]
    engine: EngineParams
    policy: FacePolicy
    device: str

    def features(self) -> "list[Feature]":
        """The features of the set."""
        from bench.sets import features

        return features(self.encoder_set, self.policy)


def measure(
    folder: Path,
    clips: int = 60,
    encoder_set: Literal["light", "paper"] = "light",
    *,
    scale: int = 10,
    engine: EngineParams | None = None,
    policy: FacePolicy | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure one set of encoders.

    Args:
        folder: scratch; empty.
        clips: real ones where they are at hand (at most half), and those of demo corpora.
        scale: the memory is compared with that of so many copies of every clip; 0 leaves it out.
        policy: of our face detection; the naive one has facenet-pytorch's defaults.

    Returns:
        figures for docs/benchmarks.json. `share_of_floor` has start-up in ours and not in the floor, which no short
        run survives; `share_of_floor_after_start` is the floor over what ours takes for each clip beyond those
        that every lane begins with, and like the projection None where that drowns in noise. Seconds of stages are
        sums over lanes, but those of ours: there the time during which any lane was in that stage.

    Raises:
        WorkError: a child process failed; with its last words.
    """
    manifest = make_corpus(folder / "media", clips)
    write_manifest(manifest, folder / "bench.jsonl")
    job = Job(
        folder=folder,
        root=folder / "media",
        manifest=folder / "bench.jsonl",
        encoder_set=encoder_set,
        engine=engine or EngineParams(),
        policy=policy or FacePolicy(),
        device=device,
    )
    naive, ours, floor = (run_child(role, job, role) for role in ("naive", "ours", "floor"))
    start = run_start(job, manifest)
    count, under = len(manifest.utterances), floor["decode"] + floor["forwards"]
    # Of a few clips the noise takes longer than they do.
    per_clip = (ours["wall"] - start) / (count - job.engine.lanes) if count > job.engine.lanes else 0.0
    figures = {
        "encoder_set": encoder_set,
        "clips": count,
        "real_clips": sum(u.id.startswith("cremad") for u in manifest.utterances),
        "speedup_over_naive": naive["wall"] / ours["wall"],
        "share_of_floor": under / ours["wall"],
        "share_of_floor_after_start": under / count / per_clip if per_clip > 0 else None,
        "start_seconds": start,
        "utterances_per_second": count / ours["wall"],
        "projected_meld_hours": (start + MELD * per_clip) / 3600 if per_clip > 0 else None,
        "naive": naive,
        "ours": ours,
        "floor": floor,
        "engine": job.engine.model_dump(mode="json"),
        "policy": job.policy.model_dump(mode="json"),
        "device": device,
    }
    base = replace(manifest, utterances=manifest.utterances[:WATCHED])
    figures |= measure_memory(job, base, scale) if scale else {}
    return {name: rounded(figure) for name, figure in figures.items()}


def run_start(job: Job, manifest: Manifest) -> float:
    """Seconds of ours with one clip for each lane: little more than its start-up."""
    few = job.folder / "start.jsonl"
    write_manifest(replace(manifest, utterances=manifest.utterances[: job.engine.lanes]), few)
    engine = job.engine.model_copy(update={"shard": 1})
    wall: float = run_child("ours", job.model_copy(update={"manifest": few, "engine": engine}), "start")[
        "wall"
    ]
    return wall


def measure_memory(job: Job, manifest: Manifest, scale: int) -> dict[str, Any]:
    """Peak memory of ours with these clips and with `scale` copies of them, and the ratio."""
    root = job.folder / "copies"
    few, many = job.folder / "base.jsonl", job.folder / "copies.jsonl"
    write_manifest(manifest, few)
    write_manifest(multiplied(manifest, job.root, root, scale), many)
    base = run_child("ours", job.model_copy(update={"manifest": few}), "memory_base", watched=True)
    more = run_child("ours", job.model_copy(update={"root": root, "manifest": many}), "memory", watched=True)
    return {
        f"rss_growth_{scale}x": more["peak_rss_mb"] / base["peak_rss_mb"],
        f"pss_growth_{scale}x": more["peak_pss_mb"] / base["peak_pss_mb"],
        "peak_rss_mb": base["peak_rss_mb"],
        "peak_pss_mb": base["peak_pss_mb"],
    }


def make_corpus(root: Path, clips: int) -> Manifest:
    """Real clips and demo corpora, scanned by the real scans and joined under one root."""
    from extract.corpora import CORPORA
    from extract.demo import generate

    utterances: list[Utterance] = []

    def add(key: str, name: str, most: int) -> None:
        entry = CORPORA[key]
        found = entry.scan(root / name, entry.Switches(), None).utterances
        utterances.extend(_moved(u, name, "") for u in found[:most])

    if REAL.is_dir():
        shutil.copytree(REAL, root / "cremad")
        add("cremad", "cremad", clips // 2)
    for seed in range(-(-(clips - len(utterances)) // TINY)):
        generate(root / f"demo{seed}", seed, "tiny")
        add("demo", f"demo{seed}", clips - len(utterances))
    return Manifest("bench", "1", {}, {}, tuple(utterances))


def _moved(u: Utterance, folder: str, more: str) -> Utterance:
    """An utterance whose media lie in a subfolder of the root; all are of one part, without labels."""

    def ref(old: MediaRef | None) -> MediaRef | None:
        return old and replace(old, path=f"{folder}/{old.path}")

    text = u.text and u.text + more
    name, dialogue = f"{folder}-{u.id}", f"{folder}-{u.dialogue}"
    video, audio = ref(u.video), ref(u.audio)
    return replace(u, id=name, dialogue=dialogue, text=text, video=video, audio=audio, labels={}, part="all")


def multiplied(manifest: Manifest, source: Path, root: Path, times: int) -> Manifest:
    """Copies of all files and utterances, each with a digest of its own.

    Args:
        root: of the copies; made here.
    """
    utterances: list[Utterance] = []
    for n in range(times):
        name = f"copy{n}"
        shutil.copytree(source, root / name)
        digests: dict[str, str] = {}
        copies = [_moved(u, name, f" {n}") for u in manifest.utterances]
        for path in {ref.path for u in copies for ref in (u.video, u.audio) if ref and ref.sha256}:
            set_apart(root / path, n)
            digests[path] = digest_of_file(root / path)
        for u in copies:
            video, audio = (ref and replace(ref, sha256=digests.get(ref.path)) for ref in (u.video, u.audio))
            utterances.append(replace(u, video=video, audio=audio))
    return replace(manifest, utterances=tuple(utterances))


def set_apart(path: Path, number: int) -> None:
    """Change a file where no decoder looks: in the first back pointer of an flv, else in a box at the end."""
    with path.open("r+b") as stream:
        if path.suffix == ".flv":
            stream.seek(9)
            stream.write((number + 1).to_bytes(4, "big"))
        else:
            stream.seek(0, os.SEEK_END)
            stream.write((12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))


def run_child(role: str, job: Job, name: str, watched: bool = False) -> dict[str, Any]:
    """Run a role in a process of its own; its answer with its `wall` clock, start-up included.

    Raises:
        WorkError: it failed.
    """
    folder = job.folder / name
    folder.mkdir()
    (folder / "job.json").write_text(
        job.model_copy(update={"folder": folder}).model_dump_json(), encoding="utf-8"
    )
    with (folder / "words.txt").open("w+b") as words:
        began = time.perf_counter()
        command = [sys.executable, "-m", "bench.extract", role, str(folder / "job.json")]
        with subprocess.Popen(command, cwd=PROJECT, stdout=words, stderr=words) as process:
            peaks = watch(process) if watched else {}
            code = process.wait()
        wall = time.perf_counter() - began
    if code != 0:
        told = (folder / "words.txt").read_text(encoding="utf-8", errors="replace")
        raise WorkError(f"bench.extract {role} ended with {code}", details=told.splitlines()[-20:])
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_bytes())
    return {"wall": wall, **answer, **peaks}


def watch(process: "subprocess.Popen[bytes]") -> dict[str, float]:
    """Largest sums over a process and its children while it runs, megabytes."""
    peaks: Counter[str] = Counter()
    parent = psutil.Process(process.pid)
    while process.poll() is None:
        sums: Counter[str] = Counter()
        for member in _family(parent):
            try:
                facts = member.memory_full_info()
            except psutil.Error:
                continue  # it ended between two lines
            sums.update(peak_rss_mb=facts.rss, peak_pss_mb=facts.pss)
        peaks |= sums
        time.sleep(PAUSE)
    return {name: total / 1e6 for name, total in peaks.items()}


def _family(parent: Any) -> list[Any]:
    try:
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []  # the parent ended between two lines


def run_naive(job: Job) -> dict[str, Any]:
    """The naive script on the clips of the manifest."""
    from bench.naive import Clip, extract

    def at(ref: MediaRef | None) -> Path | None:
        return job.root / ref.path if ref else None

    clips = [Clip(u.id, u.text, at(u.video), at(u.audio)) for u in read_manifest(job.manifest).utterances]
    return asdict(extract(clips, job.features(), job.folder / "results", job.engine.limits))


def run_ours(job: Job) -> dict[str, Any]:
    """The engine with a cold store, traced."""
    from extract.engine import extract_corpus

    trace = job.folder / "trace.jsonl"
    result = extract_corpus(
        read_manifest(job.manifest),
        job.features(),
        job.engine,
        store=job.folder / "store",
        out=job.folder / "caches",
        root=job.root,
        device=job.device,
        fail_over=100,
        trace=trace,
    )
    return {
        "engine_seconds": result.seconds,
        "seconds": stage_seconds(trace.read_text(encoding="utf-8").splitlines()),
        "units": result.done,
        "missing": [f"{f.feature} {f.utterance}: {f.reason} {f.detail}" for f in result.failed],
    }


def stage_seconds(rows: Iterable[str]) -> dict[str, float]:
    """Stage -> seconds during which at least one of its spans was open; stages overlap, so their sum means nothing.

    Args:
        rows: of a trace, as JSON: seconds, stage, event (begin, end), what.
    """
    open_spans: Counter[str] = Counter()
    since: dict[str, float] = {}
    total: Counter[str] = Counter()
    for row in sorted(map(json.loads, rows), key=lambda r: float(r["seconds"])):
        stage = row["stage"]
        if row["event"] == "begin":
            if not open_spans[stage]:
                since[stage] = row["seconds"]
            open_spans[stage] += 1
        else:
            open_spans[stage] -= 1
            if not open_spans[stage]:
                total[stage] += row["seconds"] - since[stage]
    return dict(total)


@dataclass
class Work:
    """What the engine would do, planned as it plans it.

    Attributes:
        features: by name.
        shards: with the rows of each feature that are encoded there.
    """

    job: Job
    features: "dict[str, Feature]"
    shards: "list[tuple[Shard, dict[str, tuple[int, ...]]]]"

    def files(self, number: int) -> "list[FileJob]":
        """Files of a shard that hold what its features want."""
        from extract.engine.reading import file_jobs

        return file_jobs(*self.shards[number], self.features)


def plan_work(job: Job) -> Work:
    """All shards, those of texts last."""
    from extract.engine.plan import groups, make_plan

    manifest, features = read_manifest(job.manifest), job.features()
    plans = [make_plan(manifest, manifest.utterances, group, job.engine) for group in groups(features)]
    shards = [shard for plan in plans for shard in zip(plan.shards, plan.rows, strict=True)]
    return Work(job, {f.name: f for f in features}, shards)


def decode_only(root: Path, file: "FileJob", limits: Limits) -> int:
    """Decode a file and throw away what it held."""
    return len(read_stretches(root / file.path, file.stretches, limits))


@dataclass
class Lane:
    """A process that detects and encodes inputs which it holds already."""

    work: Work
    inputs: "list[dict[int, Inputs]]"
    encoders: "dict[str, Encoder]"
    tables: "dict[FacePolicy, Tables]"


_lane: Lane | None = None  # of a worker process


def prepare(job: Job, device: str) -> None:
    """Decode all inputs, load the networks, and let each of them run once."""
    from threadpoolctl import threadpool_limits

    from extract.engine.faces import Tables
    from extract.engine.lane import exact_arithmetic
    from extract.faces import FaceFinder

    global _lane
    threadpool_limits(job.engine.threads)
    work = plan_work(job)
    encoders = {name: f.build(device) for name, f in work.features.items()}
    tables = {
        f.faces: Tables(f.faces, functools.partial(FaceFinder, f.faces, device), {}, lambda _: {})
        for f in work.features.values()
        if f.faces
    }
    exact_arithmetic(job.engine.threads)
    _lane = Lane(work, [read_inputs(work, n) for n in range(len(work.shards))], encoders, tables)
    for n in range(len(work.shards)):
        forward_shard(n, most=1)


def read_inputs(work: Work, number: int) -> "dict[int, Inputs]":
    """What the rows of a shard have to be encoded from."""
    from extract.engine.reading import Inputs, read_file, share

    inputs = {n: Inputs() for n in range(len(work.shards[number][0]))}
    if work.job.root:
        for file in work.files(number):
            share(file, read_file(work.job.root, file, work.job.engine.limits), inputs)
    return inputs


def forward_shard(number: int, most: int | None = None) -> dict[str, float]:
    """Detect and encode what was prepared of a shard; stage -> seconds.

    Args:
        most: rows of each feature, to warm up.
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
    inputs: "dict[int, Inputs]",
    tables: "dict[FacePolicy, Tables]",
    known: dict[str, bytes],
) -> list[Sample]:
    """What the encoder gets, faces found."""
    wants = feature.input
    if wants.text:
        return [Sample(text=shard[n].text) for n in rows]
    if wants.rate:
        return [Sample(sound=inputs[n].sounds[wants.rate]) for n in rows]
    if feature.faces:
        found = tables[feature.faces].add(feature, shard, rows, inputs, known)
        return [Sample(frames=found[n]) for n in rows]
    return [Sample(frames=inputs[n].pictures[wants.pictures]) for n in rows if wants.pictures]


def encode_all(feature: "Feature", encoder: "Encoder", samples: Sequence[Sample], job: Job) -> None:
    """The forwards of a feature's samples, as the engine forms them."""
    from extract.engine.forwards import forwards
    from extract.engine.lane import autocast

    lengths = [encoder.length(sample) for sample in samples]
    for group in forwards(lengths, feature.spec.batch, job.engine.batch):
        with autocast(job.device, job.engine.precision):
            encoder.encode([samples[n] for n in group])


def run_floor(job: Job) -> dict[str, Any]:
    """Decoding alone, then detection and forwards alone; whoever is free takes the next file or shard, as in ours."""
    from extract.engine.lanes import devices_of

    work = plan_work(job)
    devices = devices_of(job.device, job.engine.lanes)
    files = [file for n in range(len(work.shards)) for file in work.files(n)]
    readers = len(devices) * job.engine.workers
    with process_pool(readers) as pool:
        read = functools.partial(decode_only, job.root, limits=job.engine.limits)
        list(pool.map(read, files[:1] * 2 * readers))  # the processes have begun and imported
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


def rounded(value: Any) -> Any:
    """Numbers with four significant digits, at any depth."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return value


ROLES: Final = {"naive": run_naive, "ours": run_ours, "floor": run_floor}


def main(role: str, path: Path) -> None:
    """Do the part of a child process."""
    job = Job.model_validate_json(path.read_bytes())
    (job.folder / "answer.json").write_text(json.dumps(ROLES[role](job)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
