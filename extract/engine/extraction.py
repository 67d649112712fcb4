"""Extract the features of a corpus, from manifest to cache files. Every utterance without a feature gets a reason."""

import contextlib
import csv
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ercache.cache import Status
from ercache.errors import CorpusError, WorkError
from ercache.manifest import Manifest, Utterance, modalities_of
from ercache.params.schema import EngineParams
from ercache.reasons import Reason
from ercache.wording import count_noun
from extract.engine.alarm import Tell
from extract.engine.coverage import write_coverage
from extract.engine.job import WorkerSetup
from extract.engine.pack import FinishedUnits, UnitResult, collect, pack
from extract.engine.plan import Feature, group_features, make_plan
from extract.engine.records import Record
from extract.engine.run import Runner, StageProgress
from extract.engine.store import Store
from extract.engine.trace import Trace
from extract.media.scanned import ReadFunction, read_scanned

MAX_DETAIL_CHARACTERS = 300  # length of a tool's message in console output; the csv file has all of it


@dataclass(frozen=True)
class Failure:
    """An utterance for which a feature could not be computed.

    Attributes:
        utterance: id of the utterance.
        feature: name of the feature.
        status: `missing` if the failure is final, `unavailable` if the next run tries again.
        reason: why it failed, for example `no_face`.
        detail: error message of the library or tool, if there is one.
    """

    utterance: str
    feature: str
    status: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class FeatureNote:
    """An utterance whose feature was computed from less than requested, for example from fewer frames."""

    utterance: str
    feature: str
    note: str


@dataclass
class Extraction:
    """The result of an extraction.

    Attributes:
        files: cache files that are up to date after this run.
        done: number of results (one feature of one input) that this run computed.
        reused: number of results that were already in a cache file or in the store.
        failed: one item for each feature of an utterance that could not be computed.
        notes: one item for each feature of an utterance that was computed from less than requested.
        withheld: one message for each cache file that was not written, because too many utterances failed for a reason
            that may be temporary.
        damaged_files: cache files of earlier runs that were damaged and therefore not used.
        run_singly: features whose batches were run one utterance at a time, because the memory ran out or a worker
            died; the bytes of these features may differ from those of another run.
        utterances: number of distinct inputs for which this run computed something.
        seconds: wall clock time of the run.
        media_seconds: length of the media decoded in this run, seconds.
    """

    files: list[Path] = field(default_factory=list)
    done: int = 0
    reused: int = 0
    failed: list[Failure] = field(default_factory=list)
    notes: list[FeatureNote] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    damaged_files: list[Path] = field(default_factory=list)
    run_singly: set[str] = field(default_factory=set)
    utterances: int = 0
    seconds: float = 0.0
    media_seconds: float = 0.0

    @property
    def unavailable(self) -> list[Failure]:
        """The failures that may be temporary, for example of a disk: the next run tries these utterances again."""
        return [f for f in self.failed if f.status == Status.UNAVAILABLE]


def cache_path(out: Path, corpus: str, modality: str, feature: str, part: str) -> Path:
    """Return the path of the cache file that holds a feature of one split part of a corpus.

    Args:
        out: folder of the caches.
        corpus, modality, feature: names of the corpus, the modality and the feature.
        part: name of the split part (train, dev, test).
    """
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
    progress: StageProgress = lambda *_: None,
    tell: Tell = lambda _: None,
    read: ReadFunction = read_scanned,
) -> Extraction:
    """Write the cache files of some features of a corpus. The run can be stopped at any time and resumed later.

    Args:
        manifest: manifest of the corpus.
        features: the features to extract.
        engine: engine parameters of params.yaml.
        store: folder of the store, which keeps finished results between runs.
        out: folder of the caches. With `limit`, give another folder, because the caches are incomplete.
        root: folder of the media; required unless all features are text features.
        device: torch device.
        limit: extract only this many utterances, from the start of the manifest; None for all utterances.
        fail_over: a cache file is not written if more than this percentage of its utterances failed for a reason that
            may be temporary (status `unavailable`).
        trace: file into which the begin and end time of each step is written; None writes no file.
        progress: function that is called with (label, finished inputs, total inputs).
        tell: function that gets a warning as soon as all utterances of a file, or most of the corpus, fail for the same
            reason.
        read: function that reads a media file; it runs in a separate process.

    Returns:
        The files written, the failures, and counts for the report to the user.

    Raises:
        CorpusError: no utterance of the corpus has a requested modality, or the folder of the media is not given.
    """
    utterances = manifest.utterances[:limit]
    _check_modalities(manifest, utterances, list(dict.fromkeys(f.spec.modality for f in features)), root)
    began = time.monotonic()
    result = Extraction()
    tracer = Trace(trace)
    with (
        Store(store, lambda begins: tracer.mark("store", begins)) as opened,
        contextlib.ExitStack() as stack,
    ):
        works = [
            stack.enter_context(_GroupWork(manifest, utterances, group, engine, opened, out, tracer))
            for group in group_features(features)
        ]
        setup = WorkerSetup({f.name: f for f in features}, root, engine, device, tracer.place, read)
        runner = Runner(setup, opened, tell)
        runner.run([work.plan for work in works], [work.results.__contains__ for work in works], progress)
        result.media_seconds, result.run_singly = runner.media_seconds, runner.run_singly
        for work in works:
            work.count_units(runner, result)
            work.pack(runner, fail_over, result)
    for folder in dict.fromkeys(path.parent for path in result.files):
        write_coverage(folder)
    tracer.close()
    result.seconds = time.monotonic() - began
    return result


def write_failures(result: Extraction, path: Path) -> None:
    """Write the failures of an extraction to a csv file, one row for each feature of an utterance.

    A row gives the reason and the error message. Features that were computed from less than requested, for example from
    fewer frames, get a row as well, which says what was lacking.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["utterance", "feature", "status", "reason", "detail"])
        writer.writerows([f.utterance, f.feature, f.status, f.reason, f.detail] for f in result.failed)
        writer.writerows([n.utterance, n.feature, Status.OK.value, "note", n.note] for n in result.notes)


def summarise_failures(failed: Sequence[Failure]) -> str:
    """Return one line about some failures: how many have each reason, and the error message of the first failure."""
    count = Counter(f.reason for f in failed)
    reasons = ", ".join(f"{n} {reason}" for reason, n in count.most_common())
    first = failed[0]
    words = " ".join(first.detail.split())[:MAX_DETAIL_CHARACTERS] or Reason(first.reason).meaning
    return f"{reasons}; the first: {first.utterance}, {first.feature}: {words}"


def raise_if_withheld(result: Extraction, fail_over: float) -> None:
    """Raise an error if an extraction left out cache files because too many utterances failed temporarily.

    Raises:
        WorkError: at least one cache file was not written; the error lists all of them.
    """
    if result.withheld:
        raise WorkError(
            f"{count_noun(len(result.withheld), 'cache file')} not written: more than {fail_over:g} % of the utterances"
            " failed for a reason that may be temporary (`unavailable`)",
            details=result.withheld,
            hint="see the reasons in failures.csv in data/logs, then run again: finished results are kept",
        )


class _GroupWork:
    """Extracts features whose encoders get the same inputs: plans the work first, and writes the caches at the end.

    Because the inputs are the same, the media are decoded once, and faces are detected once. Use it as a context
    manager.
    """

    def __init__(
        self,
        manifest: Manifest,
        utterances: Sequence[Utterance],
        features: Sequence[Feature],
        engine: EngineParams,
        store: Store,
        out: Path,
        trace: Trace,
    ) -> None:
        self.manifest, self.features, self.trace = manifest, features, trace
        self.plan = make_plan(manifest, utterances, features, engine)
        by_part = {part: [u.id for u in utterances if u.part == part] for part in manifest.parts}
        self.files = [
            (f, part, cache_path(out, manifest.corpus, f.spec.modality, f.name, part), ids)
            for f in features
            for part, ids in by_part.items()
            if ids
        ]
        self.results = FinishedUnits([path for _, _, path, _ in self.files], store)

    def __enter__(self) -> "_GroupWork":
        return self

    def __exit__(self, *_: object) -> None:
        self.results.close()

    def count_units(self, runner: Runner, result: Extraction) -> None:
        """Add to `result` how many features of an utterance this run computed, and how many were already there.

        Args:
            runner: knows what was computed in this run.
            result: the result of the extraction, changed in place.
        """
        units = set(self.plan.unit.values())
        result.utterances += len({u for (_, u), unit in self.plan.unit.items() if unit in runner.computed})
        result.done += len(units & runner.computed)
        result.reused += len(units - runner.computed)
        result.damaged_files += self.results.damaged_files

    def pack(self, runner: Runner, fail_over: float, result: Extraction) -> None:
        """Write the cache file of each feature and split part (train, dev, test), and record all failures in `result`.

        Args:
            runner: knows the failures of this run.
            fail_over: a cache file is not written if more than this percentage of its utterances failed for a reason
                that may be temporary.
            result: the result of the extraction, changed in place.
        """

        def find(unit: str) -> UnitResult | Record | None:
            return self.results.get(unit) or runner.failed.get(unit)

        for feature, part, path, ids in self.files:
            with self.trace.span("pack", feature.name):
                self._pack(feature, part, path, ids, find, fail_over, result)

    def _pack(
        self,
        feature: Feature,
        part: str,
        path: Path,
        ids: Sequence[str],
        find: Callable[[str], UnitResult | Record | None],
        fail_over: float,
        result: Extraction,
    ) -> None:
        records = collect(self.plan, feature, ids, find)
        failed = [
            Failure(u, feature.name, r.reason.status.value, r.reason.value, r.detail)
            for u, r in records.items()
            if r.reason is not None
        ]
        result.failed += failed
        result.notes += [FeatureNote(u, feature.name, r.note) for u, r in records.items() if r.note]
        retried = [f for f in failed if f.status == Status.UNAVAILABLE]
        if 100 * len(retried) > fail_over * len(ids):
            problem = f"{len(retried)} of {len(ids)} utterances unavailable ({summarise_failures(retried)})"
            result.withheld.append(f"{path}: {problem}")
            return
        partial = len(ids) < len(self.manifest.of_part(part))
        pack(path, self.manifest, part, feature, self.plan, records, partial, self.results)
        result.files.append(path)


def _check_modalities(
    manifest: Manifest, utterances: Sequence[Utterance], modalities: Sequence[str], root: Path | None
) -> None:
    has = modalities_of(utterances)
    missing = [m for m in modalities if m not in has]
    if missing:
        raise CorpusError(
            f"{manifest.corpus}: no utterance has {' or '.join(missing)}, which the chosen features need",
            hint="scan the corpus again with its media, or choose other features",
        )
    if root is None and set(modalities) - {"text"}:
        raise CorpusError(
            f"{manifest.corpus}: audio and visual features need the media files; give their folder with --root"
        )
