"""Benchmark of feature extraction: ercache, a naive script, and a lower bound (the floor), on the same files.

- naive: the script bench/naive.py, start-up included.
- ours: ercache's extraction with an empty store, start-up included.
- floor: the time of decoding alone, plus the time of face detection and networks alone, each in as many processes as
  ercache uses for this work. Start-up, loading of networks, digests, store and packing of results do not count.
- memory: ercache again, on these files and on many copies of them; the memory is sampled. Sampling costs time, so these
  runs give no seconds. RSS, summed over the processes, counts shared memory several times; PSS counts it once.

Each measurement runs in its own process (`python -m bench.extract ROLE JOB`), with nothing loaded before.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from bench.clips import make_corpus, make_sounds, multiplied
from bench.floor import run_floor
from bench.jobs import BenchJob, rounded, run_child
from bench.sets import SetName
from ercache.manifest import Manifest, MediaRef, read_manifest, write_manifest
from ercache.params.schema import EngineParams, FacePolicy

MELD: Final = 13_708  # clips
GOALS: Final = {
    "sound": {"speedup_over_naive": 1.5, "share_of_floor": 0.9}
}  # on two cores with nothing else to do
WATCHED: Final = 240  # clips of the memory comparison: enough, since memory stops growing after a minute


def measure(
    folder: Path,
    clips: int = 60,
    encoder_set: SetName = "light",
    *,
    scale: int = 10,
    engine: EngineParams | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure the extraction of one set of features with ercache, the naive script and the floor.

    Args:
        folder: empty scratch folder.
        clips: number of clips: real clips if there are any (at most half), and clips of demo corpora. The set `sound`
            takes wav files instead.
        encoder_set: name of the set of features, a key of `bench.sets.SETS`.
        scale: also measure the memory with this number of copies of every clip; 0 to measure no memory.
        engine: params of ercache's extraction engine.
        device: name of a torch device, such as `cpu` or `cuda:0`.

    Returns:
        Figures for docs/benchmarks.json. `share_of_floor` is the floor's time divided by ercache's time; it is low for
        short runs, since only ercache's time includes the start-up. `share_of_floor_after_start` leaves out the
        start-up and the first clip of every worker. `projected_meld_hours` is the estimated time for all of MELD. These
        two are None if there are too few clips. `seconds` has the time of each stage (decode, faces, ...): for the
        naive script and the floor summed over processes, for ercache the time in which any process was in the stage.

    Raises:
        WorkError: a child process failed; the message shows the end of its output.
    """
    make = make_sounds if encoder_set == "sound" else make_corpus
    manifest = make(folder / "media", clips)
    write_manifest(manifest, folder / "bench.jsonl")
    job = BenchJob(
        folder=folder,
        root=folder / "media",
        manifest=folder / "bench.jsonl",
        encoder_set=encoder_set,
        engine=engine or EngineParams(),
        policy=FacePolicy(),
        device=device,
    )
    naive, ours, floor = (run_child(role, job, role) for role in ("naive", "ours", "floor"))
    for account in (naive, ours):
        account["missing"] = reasons(account["missing"])
    base = replace(manifest, utterances=manifest.utterances[:WATCHED])
    figures = {
        "encoder_set": encoder_set,
        **({"goals": GOALS[encoder_set]} if encoder_set in GOALS else {}),
        "real_clips": sum(u.id.startswith(("cremad", "ravdess")) for u in manifest.utterances),
        **compared(naive, ours, floor, run_start(job, manifest), len(manifest.utterances), job.engine.lanes),
        "naive": naive,
        "ours": ours,
        "floor": floor,
        "engine": job.engine.model_dump(mode="json"),
        "policy": job.policy.model_dump(mode="json"),
        "device": device,
        **(measure_memory(job, base, scale) if scale else {}),
    }
    return {name: rounded(figure) for name, figure in figures.items()}


def compared(
    naive: Mapping[str, Any],
    ours: Mapping[str, Any],
    floor: Mapping[str, Any],
    start: float,
    clips: int,
    lanes: int,
) -> dict[str, float | None]:
    """Compare the seconds of ercache with those of the naive script and the floor.

    Args:
        naive, ours, floor: what the three child processes measured.
        start: seconds of ercache's start-up.
        clips: number of clips.
        lanes: number of ercache's worker processes; the first clip of each counts to the start-up.

    Returns:
        The ratios and rates that `measure` describes.
    """
    least = floor["decode"] + floor["forwards"]
    # For a few clips the noise is larger than their time.
    per_clip = (ours["wall"] - start) / (clips - lanes) if clips > lanes else 0.0
    return {
        "clips": clips,
        "speedup_over_naive": naive["wall"] / ours["wall"],
        "share_of_floor": least / ours["wall"],
        "share_of_floor_after_start": least / clips / per_clip if per_clip > 0 else None,
        "start_seconds": start,
        "utterances_per_second": clips / ours["wall"],
        "projected_meld_hours": (start + MELD * per_clip) / 3600 if per_clip > 0 else None,
    }


def run_start(job: BenchJob, manifest: Manifest) -> float:
    """Measure the start-up of ercache's extraction in seconds, with only one clip for each worker process."""
    few = job.folder / "start.jsonl"
    write_manifest(replace(manifest, utterances=manifest.utterances[: job.engine.lanes]), few)
    engine = job.engine.model_copy(update={"shard": 1})
    wall: float = run_child("ours", job.model_copy(update={"manifest": few, "engine": engine}), "start")[
        "wall"
    ]
    return wall


def measure_memory(job: BenchJob, manifest: Manifest, scale: int) -> dict[str, Any]:
    """Measure the peak memory of ercache's extraction, and how much it grows with several copies of every clip.

    Args:
        job: which features to extract, and how.
        manifest: manifest of the clips.
        scale: number of copies of every clip.

    Returns:
        Four figures: peak RSS and peak PSS in megabytes when the clips alone are extracted; and for each of the two,
        the peak with all copies divided by this peak.
    """
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


def run_naive(job: BenchJob) -> dict[str, Any]:
    """Extract the features of the job with the naive script (bench/naive.py).

    Returns:
        The fields of `bench.naive.Account`: number of threads, written files, seconds of each stage, missing results.
    """
    from bench.naive import NaiveClip, extract, extract_sounds

    def at(ref: MediaRef | None) -> Path | None:
        return job.root / ref.path if ref else None

    clips = [
        NaiveClip(u.id, u.text, at(u.video), at(u.audio)) for u in read_manifest(job.manifest).utterances
    ]
    if job.encoder_set == "sound":
        return asdict(extract_sounds(clips, job.features(), job.folder / "results"))
    return asdict(extract(clips, job.features(), job.folder / "results", job.engine.limits))


def run_ours(job: BenchJob) -> dict[str, Any]:
    """Extract the features of the job with ercache, with an empty store.

    Returns:
        `engine_seconds`, the seconds of the run; `seconds` of each stage, from the engine's trace; `units`, the number
        of results (one feature of one utterance each); `missing`, a line with the reason for each missing result.
    """
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


def reasons(missing: Iterable[str]) -> dict[str, int]:
    """Count why results are missing: reason -> number of lines with this reason.

    Args:
        missing: lines of the form `feature clip: reason detail`.
    """
    return dict(sorted(Counter(line.partition(": ")[2].split()[0] for line in missing).items()))


def stage_seconds(rows: Iterable[str]) -> dict[str, float]:
    """Compute how long each stage of an extraction (decode, faces, ...) was active in at least one process.

    Stages overlap in time, so their sum is longer than the run.

    Args:
        rows: lines of the trace that the engine wrote. Each is JSON: a stage begins or ends (`event`) at a time
            (`seconds`).

    Returns:
        Stage -> seconds.
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


ROLES: Final = {"naive": run_naive, "ours": run_ours, "floor": run_floor}


def main(role: str, path: Path) -> None:
    """Run one measurement in this child process, and write its figures to answer.json in the job's folder.

    Args:
        role: what to measure: `naive` (the naive script), `ours` (ercache), or `floor` (the lower bound: decoding,
            face detection and networks alone).
        path: JSON file with the job.
    """
    job = BenchJob.model_validate_json(path.read_bytes())
    (job.folder / "answer.json").write_text(json.dumps(ROLES[role](job)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
