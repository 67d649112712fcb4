"""One extraction of a corpus, from manifest to cache files, with an account of every utterance."""

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
from extract.engine.job import Setup
from extract.engine.pack import Result, Results, collect, pack
from extract.engine.plan import Feature, groups, make_plan
from extract.engine.records import Record
from extract.engine.run import Runner
from extract.engine.store import Store
from extract.engine.trace import Trace
from extract.media.scanned import Read, read_scanned

WORDS = 300  # characters of a tool's words in a line for people; the csv has all
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Failure:
    """An utterance without a feature, with the tool's own words where there are any."""

    utterance: str
    feature: str
    status: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Note:
    """An utterance with a feature that rests on less, or on other media, than was asked for."""

    utterance: str
    feature: str
    note: str


@dataclass
class Extraction:
    """What an extraction did.

    Attributes:
        files: cache files written.
        done, reused: units computed in this run, and units that had their result already.
        failed: every utterance and feature that is not ok.
        notes: every utterance and feature that is ok and has a note.
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
    notes: list[Note] = field(default_factory=list)
    over: list[str] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    split: set[str] = field(default_factory=set)
    utterances: int = 0
    seconds: float = 0.0
    media_seconds: float = 0.0

    @property
    def unavailable(self) -> list[Failure]:
        """Of what failed, what the next run tries again."""
        return [f for f in self.failed if f.status == Status.UNAVAILABLE]


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
    tell: Tell = lambda _: None,
    read: Read = read_scanned,
) -> Extraction:
    """Make the cache files of some features of a corpus; resumable at any instant.

    Args:
        store: folder of the store.
        out: folder of the caches; with `limit`, a folder for partial ones.
        root: of the media; needed unless all features are of text.
        limit: only the first utterances of the manifest.
        fail_over: percentage of `unavailable` utterances above which a file is not written.
        tell: told at once, in a line, when all utterances of a file or most of the corpus fail alike.
        read: what reads a file, in a process of its own.

    Raises:
        CorpusError: a modality is asked for that the corpus does not have.
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
            stack.enter_context(_Work(manifest, utterances, group, engine, opened, out, tracer))
            for group in groups(features)
        ]
        setup = Setup({f.name: f for f in features}, root, engine, device, tracer.place, read)
        runner = Runner(setup, opened, tell)
        runner.run([work.plan for work in works], [work.results.__contains__ for work in works], progress)
        result.media_seconds, result.split = runner.media_seconds, runner.split
        for work in works:
            work.account(runner, result)
            work.pack(runner, fail_over, result)
    for folder in dict.fromkeys(path.parent for path in result.files):
        write_coverage(folder)
    tracer.close()
    result.seconds = time.monotonic() - began
    return result


def write_failures(result: Extraction, path: Path) -> None:
    """All utterances without a feature, or with a note, as csv, with the tool's own words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["utterance", "feature", "status", "reason", "detail"])
        writer.writerows([f.utterance, f.feature, f.status, f.reason, f.detail] for f in result.failed)
        writer.writerows([n.utterance, n.feature, Status.OK.value, "note", n.note] for n in result.notes)


def in_words(failed: Sequence[Failure]) -> str:
    """How many failed for which reason, and the tool's words for the first, in one line."""
    count = Counter(f.reason for f in failed)
    reasons = ", ".join(f"{n} {reason}" for reason, n in count.most_common())
    first = failed[0]
    words = " ".join(first.detail.split())[:WORDS] or Reason(first.reason).meaning
    return f"{reasons}; the first: {first.utterance}, {first.feature}: {words}"


def raise_if_over(result: Extraction, fail_over: float) -> None:
    """Say which files were not written.

    Raises:
        WorkError: there are any.
    """
    if result.over:
        raise WorkError(
            f"{count_noun(len(result.over), 'cache file')} not written, as over {fail_over:g} % would be unavailable",
            details=result.over,
            hint="the failures.csv in data/logs has the reasons; run again, finished units are kept",
        )


class _Work:
    """The work of features that share their sources, and so the decoding and the faces. Use as a context manager."""

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
        self.results = Results([path for _, _, path, _ in self.files], store)

    def __enter__(self) -> "_Work":
        return self

    def __exit__(self, *_: object) -> None:
        self.results.close()

    def account(self, runner: Runner, result: Extraction) -> None:
        """Count what was computed and what was there already."""
        units = set(self.plan.unit.values())
        result.utterances += len({u for (_, u), unit in self.plan.unit.items() if unit in runner.computed})
        result.done += len(units & runner.computed)
        result.reused += len(units - runner.computed)
        result.passed_over += self.results.passed_over

    def pack(self, runner: Runner, fail_over: float, result: Extraction) -> None:
        """Write the cache file of every feature and part of which not too much failed."""

        def find(unit: str) -> Result | Record | None:
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
        find: Callable[[str], Result | Record | None],
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
        result.notes += [Note(u, feature.name, r.note) for u, r in records.items() if r.note]
        again = [f for f in failed if f.status == Status.UNAVAILABLE]
        if 100 * len(again) > fail_over * len(ids):
            told = f"{len(again)} of {len(ids)} utterances unavailable ({in_words(again)})"
            result.over.append(f"{path}: {told}")
            return
        partial = len(ids) < len(self.manifest.of_part(part))
        pack(path, self.manifest, part, feature, self.plan, records, partial, self.results)
        result.files.append(path)


def _check_modalities(
    manifest: Manifest, utterances: Sequence[Utterance], modalities: Sequence[str], root: Path | None
) -> None:
    has = modalities_of(utterances)
    lacking = [m for m in modalities if m not in has]
    if lacking:
        raise CorpusError(
            f"{manifest.corpus}: no utterance has {' or '.join(lacking)} ({Reason.NOT_IN_CORPUS.meaning})",
            hint="scan the corpus again with its media, or ask for other features",
        )
    if root is None and set(modalities) - {"text"}:
        raise CorpusError(f"{manifest.corpus}: media features need the root of the corpus")
