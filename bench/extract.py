"""Extraction: the naive way, ours, and a lower bound (the floor), in one run on the same files.

- naive: bench/naive.py in its own process, start-up included.
- ours: the engine with a cold store in its own process, start-up included.
- floor: only decoding (in as many processes as ours has files open at once), plus only detection and forwards (in as
  many processes as ours has worker processes, with the same threads, face policy and batches). Inputs are decoded and
  networks loaded before. Start-up, digests, store and packing are not part of it.
- memory: ours again, on these files and on many copies of them. Watching costs time, so these runs give no seconds. RSS
  is summed over the processes and counts shared pages more than once; PSS does not.

Each part runs as `python -m bench.extract ROLE JOB`, so that no measurement inherits modules or memory.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable
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
    policy: FacePolicy | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure one set of encoders.

    Args:
        folder: scratch folder; empty.
        clips: number of clips: real ones if they are here (at most half), and clips of demo corpora. The set `sound`
            takes wav files instead.
        encoder_set: the set of encoders.
        scale: compare the memory with that for so many copies of every clip; 0: no comparison.
        engine: params of our engine.
        policy: our face policy; the naive way has facenet-pytorch's defaults.
        device: as torch names it.

    Returns:
        Figures for docs/benchmarks.json. `share_of_floor` counts start-up in ours but not in the floor, so it is low
        for a short run. `share_of_floor_after_start` divides the floor by our time for each clip beyond the first ones
        of every worker. It is None, like the projection, if there are too few clips to measure it. Seconds of stages
        are sums over worker processes; in `ours` they are the time during which any worker was in that stage.

    Raises:
        WorkError: a child process failed; with the end of its output.
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
        policy=policy or FacePolicy(),
        device=device,
    )
    naive, ours, floor = (run_child(role, job, role) for role in ("naive", "ours", "floor"))
    for account in (naive, ours):
        account["missing"] = reasons(account["missing"])
    start = run_start(job, manifest)
    count, under = len(manifest.utterances), floor["decode"] + floor["forwards"]
    # For a few clips the noise is larger than their time.
    per_clip = (ours["wall"] - start) / (count - job.engine.lanes) if count > job.engine.lanes else 0.0
    figures = {
        "encoder_set": encoder_set,
        "clips": count,
        "goals": GOALS.get(encoder_set),
        "real_clips": sum(u.id.startswith(("cremad", "ravdess")) for u in manifest.utterances),
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
    return {
        name: rounded(figure) for name, figure in figures.items() if figure is not None or name != "goals"
    }


def run_start(job: BenchJob, manifest: Manifest) -> float:
    """Seconds of ours with one clip for each worker process, which is little more than the start-up."""
    few = job.folder / "start.jsonl"
    write_manifest(replace(manifest, utterances=manifest.utterances[: job.engine.lanes]), few)
    engine = job.engine.model_copy(update={"shard": 1})
    wall: float = run_child("ours", job.model_copy(update={"manifest": few, "engine": engine}), "start")[
        "wall"
    ]
    return wall


def measure_memory(job: BenchJob, manifest: Manifest, scale: int) -> dict[str, Any]:
    """Peak memory of ours with these clips, and its ratio to that with `scale` copies of them."""
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
    """The naive script on the clips of the manifest."""
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


def reasons(missing: Iterable[str]) -> dict[str, int]:
    """Count the reasons in lines of the form `feature clip: reason detail`."""
    return dict(sorted(Counter(line.partition(": ")[2].split()[0] for line in missing).items()))


def stage_seconds(rows: Iterable[str]) -> dict[str, float]:
    """Stage -> seconds during which at least one of its spans was open. Stages overlap, so do not add them up.

    Args:
        rows: rows of a trace in JSON: seconds, stage, event (begin, end), what.
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
    """Run a role in a child process, and write its answer."""
    job = BenchJob.model_validate_json(path.read_bytes())
    (job.folder / "answer.json").write_text(json.dumps(ROLES[role](job)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
