"""A worker: a process that computes features on one device. It reads media ahead, detects faces and runs encoders.

A worker tells the engine each step before it begins, so that the engine knows at which step a worker died.
"""

import contextlib
import os
import queue
import threading
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import threadpool_limits

from ercache.cache import Status
from ercache.errors import ErcacheError
from ercache.params.schema import FacePolicy
from ercache.processes import end_with_parent, keep_stdout_clean, share_one_heap
from ercache.reasons import Missing, Reason
from extract.encoders.base import Encoded, Encoder, Neighbour, Sample
from extract.engine.batching import make_batches
from extract.engine.environment import autocast, environment_of, exact_arithmetic, out_of_memory
from extract.engine.grouping import RowGroups
from extract.engine.job import Activity, JobResult, KnownUnitsQuery, RowFailure, WorkerJob, WorkerSetup
from extract.engine.plan import Feature, InputSource
from extract.engine.read_ahead import ArrivingClips, ReadAhead
from extract.engine.reading import RowInputs, assign_clip
from extract.engine.records import Record, finite, pack_record
from extract.engine.trace import Trace
from extract.media.types import Frame

if TYPE_CHECKING:
    from extract.faces.mtcnn import FaceFinder

T = TypeVar("T")


def run_worker(connection: Connection, setup: WorkerSetup) -> None:
    """Main function of a worker process: run jobs as they arrive, until the engine closes the connection.

    Args:
        connection: the worker's end of a pipe to the engine.
        setup: settings that all jobs have in common.
    """
    end_with_parent()
    share_one_heap()
    keep_stdout_clean()
    # If torch is imported later, perhaps in the middle of a shard, it must use the requested number of threads.
    os.environ["OMP_NUM_THREADS"] = str(setup.engine.threads)
    try:
        worker = Worker(connection, setup)
        with threadpool_limits(setup.engine.threads):
            worker.work()
    except ErcacheError as error:
        connection.send(error)
    except Exception:
        connection.send(RuntimeError(f"in a worker process of the engine:\n{traceback.format_exc()}"))
    connection.close()


class Worker:
    def __init__(self, connection: Connection, setup: WorkerSetup) -> None:
        self.setup, self.engine = setup, setup.engine
        self.trace = Trace(*setup.trace) if setup.trace else Trace()
        self.environment = environment_of(setup.device, setup.engine)
        self._environments: dict[tuple[str, ...], dict[str, Any]] = {}
        self._connection = connection
        self._jobs: queue.SimpleQueue[tuple[WorkerJob, ArrivingClips] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Mapping[str, bytes]] = queue.SimpleQueue()
        self._reading = ReadAhead(setup, self.trace)
        self._encoders: dict[str, Encoder] = {}
        self._face_tables: dict[Any, Any] = {}

    def work(self) -> None:
        """Run jobs in the order of arrival and send their results, while threads read the media of waiting jobs."""
        threading.Thread(target=self._receive, daemon=True).start()
        while (taken := self._jobs.get()) is not None:
            self._connection.send(self._run(*taken))

    def _receive(self) -> None:
        with contextlib.suppress(EOFError, OSError):  # the engine has finished or died
            while (message := self._connection.recv()) is not None:
                if isinstance(message, WorkerJob):
                    self._jobs.put((message, self._reading.begin(message)))
                else:
                    self._answers.put(message)
        self._jobs.put(None)

    def _announce(self, stage: str, job: WorkerJob, feature: str = "", rows: Sequence[int] = ()) -> None:
        self._connection.send(Activity(stage, job.number, feature, tuple(rows)))

    def _look_up(self, units: Sequence[str]) -> Mapping[str, bytes]:
        if not units:
            return {}
        self._connection.send(KnownUnitsQuery(tuple(units)))
        return self._answers.get()

    def _run(self, job: WorkerJob, arrivals: ArrivingClips) -> JobResult:
        wanted = {name: self.setup.features[name] for name, rows in job.rows.items() if rows}
        for feature in wanted.values():
            self._build(job, feature)
        done = JobResult(job.number, [], {}, 0.0, [], frozenset())
        run_singly: set[str] = set()
        groups = RowGroups({name: job.rows[name] for name in wanted}, self.engine.memory * 1e6)
        inputs: dict[int, RowInputs] = defaultdict(RowInputs)
        seconds: dict[int, float] = defaultdict(float)
        of_modality: dict[str, list[str]] = defaultdict(list)
        for name, feature in wanted.items():
            of_modality[feature.spec.modality].append(name)
        for row, modality in self._arrivals(job, arrivals, list(of_modality), inputs):
            seconds[row] = max(seconds[row], inputs[row].seconds)
            sizes = {name: inputs[row].nbytes(wanted[name]) for name in of_modality[modality]}
            for name, rows in groups.add(row, sizes):
                self._encode_group(job, wanted[name], rows, inputs, done, run_singly)
            for n, held in inputs.items():
                if not groups.is_needed(n, of_modality[modality]):
                    held.release(modality)
        return replace(done, seconds=sum(seconds.values()), run_singly=frozenset(run_singly))

    def _arrivals(
        self, job: WorkerJob, arrivals: ArrivingClips, modalities: Sequence[str], inputs: dict[int, RowInputs]
    ) -> Iterator[tuple[int, str]]:
        """Fill `inputs` with the media of a job, and report when those of an input are complete.

        Pictures and sound are reported separately. So if they are in two files, the caller can encode the pictures and
        free their memory before the sound has been read.

        Args:
            job: the job.
            arrivals: the clips of the job, which threads are reading.
            modalities: modalities of the features to compute.
            inputs: index of an input in the job's shard -> its media; changed in place.

        Yields:
            (index of an input, modality) when all media of this modality that the input needs have been read.
        """
        left = Counter((use.row, m) for file in arrivals.files for use in file.uses for m in use.modalities)
        rows = sorted({n for numbers in job.rows.values() for n in numbers})
        yield from ((n, modality) for n in rows for modality in modalities if not left[n, modality])
        self._announce_reading(job, left)
        for arrived in self._reading.clips(arrivals):
            self._announce_reading(job, left)
            if arrived is not None:
                use, clip = arrived
                assign_clip(use, clip, inputs)
                for modality in use.modalities:
                    left[use.row, modality] -= 1
                    if not left[use.row, modality]:
                        yield use.row, modality

    def _announce_reading(self, job: WorkerJob, left: Counter[tuple[int, str]]) -> None:
        self._announce("read", job, rows=sorted({row for (row, _), uses in left.items() if uses}))

    def _encode_group(
        self,
        job: WorkerJob,
        feature: Feature,
        rows: Sequence[int],
        inputs: Mapping[int, RowInputs],
        done: JobResult,
        run_singly: set[str],
    ) -> None:
        samples = self._samples(job, feature, rows, inputs, done.faces)
        results = self._encode(job, feature, samples, run_singly)
        for n in rows:
            record = self._record(feature, results[n], inputs[n].note_of(feature))
            if record.reason is not None:
                done.faults.append(RowFailure(feature.name, n, record.reason, record.detail))
            final = record.reason is None or record.reason.status is not Status.UNAVAILABLE
            done.records.append((feature.name, n, pack_record(record), final))

    def _build(self, job: WorkerJob, feature: Feature) -> None:
        if feature.name not in self._encoders:
            self._announce("build", job, feature.name)
            self._encoders[feature.name] = feature.build(self.setup.device)
            exact_arithmetic(self.engine.threads)

    def _samples(
        self,
        job: WorkerJob,
        feature: Feature,
        rows: Sequence[int],
        inputs: Mapping[int, RowInputs],
        new_faces: dict[str, bytes],
    ) -> dict[int, Sample | Missing]:
        """Prepare some inputs of a job for an encoder, with detected faces if it needs them.

        Args:
            job: the job.
            feature: the feature that the encoder computes.
            rows: indices of the inputs in the job's shard.
            inputs: index -> media that were read.
            new_faces: store key of a picture -> detections as bytes; new detections are added.

        Returns:
            Index -> sample for the encoder, or the reason why there is none.
        """
        samples: dict[int, Sample | Missing] = {}
        for n in rows:
            fault = (
                job.unreadable_rows.get(n)
                or job.failed_rows.get((feature.name, n))
                or inputs[n].fault_of(feature)
            )
            samples[n] = fault or build_sample(feature, job.shard[n], inputs[n])
        if feature.input.faces:
            good = {n: s for n, s in samples.items() if isinstance(s, Sample)}
            for n, frames in self._with_faces(job, feature, list(good), inputs, new_faces).items():
                samples[n] = frames if isinstance(frames, Missing) else replace(good[n], frames=frames)
        return samples

    def _with_faces(
        self,
        job: WorkerJob,
        feature: Feature,
        rows: Sequence[int],
        inputs: Mapping[int, RowInputs],
        new: dict[str, bytes],
    ) -> dict[int, tuple[Frame, ...] | Missing]:
        from extract.engine.face_tables import FaceTables

        policy = feature.faces
        assert policy is not None
        if policy not in self._face_tables:
            self._face_tables[policy] = FaceTables(
                policy, lambda: self._finder(policy), self.environment, self._look_up
            )
        tables = self._face_tables[policy]

        def find(some: Sequence[int]) -> dict[int, tuple[Frame, ...] | Missing]:
            return dict(tables.add(feature, job.shard, some, inputs, new))

        found: dict[int, tuple[Frame, ...] | Missing] = {}
        for group in [[n] for n in rows] if job.faces_clip_by_clip else [list(rows)]:
            self._announce("faces", job, feature.name, group)
            with self.trace.span("faces", feature.name):
                found |= together_or_singly(find, group)
        return found

    def _finder(self, policy: FacePolicy) -> "FaceFinder":
        from extract.faces.mtcnn import FaceFinder

        finder = FaceFinder(policy, self.setup.device)
        exact_arithmetic(self.engine.threads)  # the import of FaceFinder may have imported torch
        return finder

    def _encode(
        self, job: WorkerJob, feature: Feature, samples: Mapping[int, Sample | Missing], run_singly: set[str]
    ) -> dict[int, Encoded | Missing]:
        encoder = self._encoders[feature.name]
        results: dict[int, Encoded | Missing] = {n: s for n, s in samples.items() if isinstance(s, Missing)}
        ready = [(n, s) for n, s in samples.items() if isinstance(s, Sample)]
        lengths = [encoder.length(sample) for _, sample in ready]
        rule = "one" if feature.name in job.run_singly else feature.spec.batch
        if rule != feature.spec.batch:
            run_singly.add(feature.name)
        for group in make_batches(lengths, rule, self.engine.batch):
            batch = dict(ready[i] for i in group)
            self._announce("encode", job, feature.name, list(batch))
            with self.trace.span("encode", feature.name):
                results |= self._forward(feature, batch, run_singly)
        return results

    def _forward(
        self, feature: Feature, batch: Mapping[int, Sample], run_singly: set[str]
    ) -> dict[int, Encoded | Missing]:
        encoder = self._encoders[feature.name]

        def encode(rows: Sequence[int]) -> dict[int, Encoded | Missing]:
            with autocast(self.setup.device, self.engine.precision):
                return dict(zip(rows, encoder.encode([batch[n] for n in rows]), strict=True))

        return together_or_singly(encode, list(batch), lambda: run_singly.add(feature.name))

    def _environment_for(self, libraries: tuple[str, ...]) -> dict[str, Any]:
        """Return the versions of libraries, the device and the precision with which an encoder computes.

        They are looked up only once for each set of libraries, because this is slow.

        Args:
            libraries: libraries that the encoder uses, besides those whose versions are always recorded.
        """
        if not libraries:
            return self.environment
        if libraries not in self._environments:
            self._environments[libraries] = environment_of(self.setup.device, self.engine, libraries)
        return self._environments[libraries]

    def _record(self, feature: Feature, result: Encoded | Missing, note: str) -> Record:
        environment = self._environment_for(feature.spec.libraries)
        if isinstance(result, Missing):
            return Record({}, reason=result.reason, detail=result.detail, environment=environment)
        record = Record(result.arrays, result.frames, environment=environment, note=note)
        if finite(record):
            return record
        # Encoders reject sound that is not finite or far too loud, so the arithmetic failed, not the data.
        words = f"the encoder made values that are not finite, in {self.engine.precision}"
        return Record({}, reason=Reason.FAULT, detail=words, environment=environment)


def together_or_singly(
    work: Callable[[Sequence[int]], dict[int, T | Missing]],
    rows: Sequence[int],
    on_split: Callable[[], None] = lambda: None,
) -> dict[int, T | Missing]:
    """Process some inputs together. If that fails, process each input alone, so that a bad input costs only itself.

    Args:
        work: function that processes the inputs with the given indices and returns index -> result.
        rows: indices of the inputs.
        on_split: function that is called once before the inputs are processed one by one.

    Returns:
        Index -> result, or the reason why there is none.

    Raises:
        ErcacheError: the failure is not the fault of an input, for example when weights are absent.
    """
    try:
        return work(rows)
    except ErcacheError:  # for example absent weights: no row is to blame
        raise
    except Exception as error:
        if len(rows) == 1:
            reason = Reason.OUT_OF_MEMORY if isinstance(error, out_of_memory()) else Reason.FAULT
            return {rows[0]: Missing(reason, f"{type(error).__name__}: {error}")}
    on_split()
    return {n: result for row in rows for n, result in together_or_singly(work, [row]).items()}


def build_sample(feature: Feature, source: InputSource, inputs: RowInputs) -> Sample:
    """Return what an encoder gets of one utterance: text, sound, pictures and neighbours; faces are added later.

    Args:
        feature: the feature, which says what its encoder needs.
        source: the utterance's text, speaker and neighbours in the dialogue.
        inputs: the media of the utterance and its neighbours that were read.
    """
    encoder_input = feature.input

    def build_neighbour(place: int, neighbour: InputSource) -> Neighbour:
        sounds = inputs.neighbours[place].sounds if place in inputs.neighbours else {}
        sound = sounds.get(encoder_input.rate) if encoder_input.rate else None
        return Neighbour(neighbour.text if encoder_input.text else None, sound, neighbour.speaker)

    return Sample(
        text=source.text if encoder_input.text else None,
        sound=inputs.sounds[encoder_input.rate] if encoder_input.rate else None,
        frames=inputs.pictures[encoder_input.pictures] if encoder_input.pictures else (),
        video=source.video if encoder_input.video else None,
        speaker=source.speaker,
        next_speaker=source.next_speaker,
        before=tuple(build_neighbour(n - len(source.before), other) for n, other in enumerate(source.before)),
        after=tuple(build_neighbour(n + 1, other) for n, other in enumerate(source.after)),
    )
