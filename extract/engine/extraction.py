"""One extraction of a corpus, from manifest to cache files, with an account of every utterance."""

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from threadpoolctl import threadpool_limits

from ercache.cache import Status
from ercache.errors import CorpusError, WorkError
from ercache.manifest import Manifest, Utterance
from ercache.params import EngineParams
from ercache.reasons import Reason
from extract.engine.pack import Results, collect, pack
from extract.engine.plan import Feature, Plan, make_plan
from extract.engine.records import Record
from extract.engine.run import Runner
from extract.engine.store import Store
from extract.engine.trace import Trace

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Failure:
    """An utterance without a feature, with the tool's own words where there are any."""

    utterance: str
    feature: str
    status: str
    reason: str
    detail: str = ""


@dataclass
class Extraction:
    """What an extraction did.

    Attributes:
        files: cache files written.
        done, reused: units computed in this run, and units that had their result already.
        failed: every utterance and feature that is not ok.
        over: files that were not written, because too many utterances were unavailable.
        passed_over: previous cache files that were damaged and not used.
        split: features whose batches were run one by one, because the memory ran out.
        utterances: distinct inputs for which something was computed in this run.
        seconds: wall clock.
        media_seconds: length of the media decoded in this run.
    """

    files: list[Path] = field(default_factory=list)
    done: int = 0
    reused: int = 0
    failed: list[Failure] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    split: set[str] = field(default_factory=set)
    utterances: int = 0
    seconds: float = 0.0
    media_seconds: float = 0.0


def cache_path(out: Path, corpus: str, modality: str, feature: str, part: str) -> Path:
    """Where a cache file lies."""
    return out / corpus / modality / f"{feature}.{part}.h5"


def extract_corpus(
    manifest: Manifest,
    features: Sequence[Feature],
    engine: EngineParams,
    *,
    store: Path,
    out: Path,
    root: Path | None = None,
    device: str = "cpu",
    limit: int | None = None,
    fail_over: float = 5.0,
    trace: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Extraction:
    """Make the cache files of some features of a corpus; resumable at any instant.

    Args:
        store: folder of the store.
        out: folder of the caches; with `limit`, a folder for partial ones.
        root: of the media; needed unless all features are of text.
        limit: only the first utterances of the manifest.
        fail_over: percentage of `unavailable` utterances above which a file is not written.

    Raises:
        CorpusError: a modality is asked for that the corpus does not have.
    """
    utterances = manifest.utterances[:limit]
    modalities = list(dict.fromkeys(f.spec.modality for f in features))
    _check_modalities(manifest, utterances, modalities, root)
    import torch

    torch.set_num_threads(engine.threads)
    began = time.monotonic()
    result = Extraction()
    tracer = Trace(trace)
    with (
        threadpool_limits(engine.threads),
        Store(store, lambda begins: tracer.mark("store", begins)) as opened,
    ):
        for modality in modalities:
            group = [f for f in features if f.spec.modality == modality]
            work = _Modality(manifest, utterances, group, engine, opened, out, tracer)
            work.extract(root if modality != "text" else None, device, fail_over, result, progress)
    tracer.close()
    result.seconds = time.monotonic() - began
    return result


def write_failures(failures: Sequence[Failure], path: Path) -> None:
    """All utterances without a feature as csv, with the tool's own words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["utterance", "feature", "status", "reason", "detail"])
        writer.writerows([f.utterance, f.feature, f.status, f.reason, f.detail] for f in failures)


def raise_if_over(result: Extraction, fail_over: float) -> None:
    """Say which files were not written.

    Raises:
        WorkError: there are any.
    """
    if result.over:
        raise WorkError(
            f"{len(result.over)} cache files were not written: over {fail_over:g} % of their utterances failed",
            details=result.over,
            hint="the failures.csv in data/logs has the reasons; run again, finished units are kept",
        )


@dataclass
class _Modality:
    """The work of one modality: its features share decoding and, where they are visual, faces."""

    manifest: Manifest
    utterances: Sequence[Utterance]
    features: Sequence[Feature]
    engine: EngineParams
    store: Store
    out: Path
    trace: Trace

    def extract(
        self, root: Path | None, device: str, fail_over: float, result: Extraction, progress: Progress
    ) -> None:
        plan = make_plan(self.manifest, self.utterances, self.features, self.engine)
        by_part = {part: [u.id for u in self.utterances if u.part == part] for part in self.manifest.parts}
        files = {
            (f.name, part): cache_path(self.out, self.manifest.corpus, f.spec.modality, f.name, part)
            for f in self.features
            for part, ids in by_part.items()
            if ids
        }
        results = Results(list(files.values()), self.store)
        runner = Runner(
            self.features, self.store, results.__contains__, root, self.engine, device, self.trace
        )
        modality = self.features[0].spec.modality
        runner.run(plan, lambda n, total: progress(modality, n, total))
        result.media_seconds += runner.media_seconds
        result.utterances += len({u for (_, u), unit in plan.unit.items() if unit in runner.computed})
        units = set(plan.unit.values())
        result.done += len(units & runner.computed)
        result.reused += len(units - runner.computed)
        result.passed_over += results.passed_over
        result.split |= set(runner.split)

        def find(unit: str) -> Record | None:
            return results.get(unit) or runner.failed.get(unit)

        for feature in self.features:
            for part, ids in by_part.items():
                if ids:
                    with self.trace.span("pack", feature.name):
                        self._pack(plan, feature, part, ids, find, fail_over, result, files)
        results.close()

    def _pack(
        self,
        plan: Plan,
        feature: Feature,
        part: str,
        ids: Sequence[str],
        find: Callable[[str], Record | None],
        fail_over: float,
        result: Extraction,
        files: dict[tuple[str, str], Path],
    ) -> None:
        records = collect(plan, feature, ids, find)
        bad = {u: r.reason for u, r in records.items() if r.reason is not None}
        result.failed += [
            Failure(u, feature.name, reason.status.value, reason.value, records[u].detail)
            for u, reason in bad.items()
        ]
        unavailable = sum(reason.status == Status.UNAVAILABLE for reason in bad.values())
        path = files[feature.name, part]
        if 100 * unavailable > fail_over * len(ids):
            result.over.append(f"{path}: {unavailable} of {len(ids)} utterances unavailable")
            return
        partial = len(ids) < len(self.manifest.of_part(part))
        pack(path, self.manifest, part, feature, plan, records, partial)
        result.files.append(path)


def _check_modalities(
    manifest: Manifest, utterances: Sequence[Utterance], modalities: Sequence[str], root: Path | None
) -> None:
    has = {
        "text": any(u.text for u in utterances),
        "audio": any(u.audio for u in utterances),
        "visual": any(u.video for u in utterances),
    }
    lacking = [m for m in modalities if not has[m]]
    if lacking:
        raise CorpusError(
            f"{manifest.corpus}: no utterance has {' or '.join(lacking)} ({Reason.NOT_IN_CORPUS.meaning})",
            hint="scan the corpus again with its media, or ask for other features",
        )
    if root is None and set(modalities) - {"text"}:
        raise CorpusError(f"{manifest.corpus}: media features need the root of the corpus")
