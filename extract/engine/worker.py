"""A lane: a process with one device that reads shards ahead, finds faces and encodes.

It tells what it is about to do before it does it, so that an accident can be blamed on what caused it.
"""

import contextlib
import os
import platform
import queue
import sys
import threading
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, TypeVar

from threadpoolctl import threadpool_limits

from ercache.cache import Status
from ercache.errors import ErcacheError
from ercache.params.schema import EngineParams, FacePolicy
from ercache.processes import end_with_parent, keep_stdout_clean, share_one_heap
from ercache.reasons import Missing, Reason
from extract.encoders.base import Encoded, Encoder, Sample, Turn
from extract.engine.batching import forwards
from extract.engine.grouping import Groups
from extract.engine.job import Doing, Done, Fault, Job, Known, Setup
from extract.engine.plan import Feature, Source
from extract.engine.read_ahead import Arrivals, ReadAhead
from extract.engine.reading import Inputs, share
from extract.engine.records import Record, finite, pack_record
from extract.engine.trace import Trace
from extract.media.types import Frame

if TYPE_CHECKING:
    from extract.faces.mtcnn import FaceFinder

LIBRARIES = (
    "torch",
    "numpy",
    "librosa",
    "scikit-image",
    "transformers",
    "tokenizers",
    "simplemma",
    "facenet-pytorch",
    "av",
    "soxr",
)


T = TypeVar("T")


def made_by(device: str, engine: EngineParams) -> dict[str, Any]:
    """What made a record: libraries, device class, precision, threads."""
    return {
        "versions": {name: version(name) for name in LIBRARIES},
        "python": ".".join(platform.python_version_tuple()[:2]),
        "device": device.split(":")[0],
        "precision": engine.precision,
        "threads": engine.threads,
    }


def serve(connection: Connection, setup: Setup) -> None:
    """Work on the jobs that arrive until the other end closes."""
    end_with_parent()
    share_one_heap()
    keep_stdout_clean()
    # Whoever imports torch late, perhaps in the middle of a shard, must find the threads that were asked for.
    os.environ["OMP_NUM_THREADS"] = str(setup.engine.threads)
    try:
        lane = _Lane(connection, setup)
        with threadpool_limits(setup.engine.threads):
            lane.work()
    except ErcacheError as error:
        connection.send(error)
    except Exception:
        connection.send(RuntimeError(f"in a lane of the engine:\n{traceback.format_exc()}"))
    connection.close()


class _Lane:
    def __init__(self, connection: Connection, setup: Setup) -> None:
        self.setup, self.engine = setup, setup.engine
        self.trace = Trace(*setup.trace) if setup.trace else Trace()
        self.made = made_by(setup.device, setup.engine)
        self._connection = connection
        self._jobs: queue.SimpleQueue[tuple[Job, Arrivals] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Mapping[str, bytes]] = queue.SimpleQueue()
        self._reading = ReadAhead(setup, self.trace)
        self._encoders: dict[str, Encoder] = {}
        self._tables: dict[Any, Any] = {}

    def work(self) -> None:
        """Take jobs as they come; the files of those that wait are read meanwhile."""
        threading.Thread(target=self._receive, daemon=True).start()
        while (taken := self._jobs.get()) is not None:
            self._connection.send(self._run(*taken))

    def _receive(self) -> None:
        with contextlib.suppress(EOFError, OSError):  # the engine is done, or gone
            while (message := self._connection.recv()) is not None:
                if isinstance(message, Job):
                    self._jobs.put((message, self._reading.begin(message)))
                else:
                    self._answers.put(message)
        self._jobs.put(None)

    def _tell(self, stage: str, job: Job, feature: str = "", rows: Sequence[int] = ()) -> None:
        self._connection.send(Doing(stage, job.number, feature, tuple(rows)))

    def _ask(self, units: Sequence[str]) -> Mapping[str, bytes]:
        if not units:
            return {}
        self._connection.send(Known(tuple(units)))
        return self._answers.get()

    def _run(self, job: Job, arrivals: Arrivals) -> Done:
        wanted = {name: self.setup.features[name] for name, rows in job.rows.items() if rows}
        for feature in wanted.values():
            self._build(job, feature)
        done = Done(job.number, [], {}, 0.0, [], frozenset())
        split: set[str] = set()
        groups = Groups({name: job.rows[name] for name in wanted}, self.engine.memory * 1e6)
        inputs: dict[int, Inputs] = defaultdict(Inputs)
        seconds: dict[int, float] = defaultdict(float)
        of_modality: dict[str, list[str]] = defaultdict(list)
        for name, feature in wanted.items():
            of_modality[feature.spec.modality].append(name)
        for row, modality in self._arrivals(job, arrivals, list(of_modality), inputs):
            seconds[row] = max(seconds[row], inputs[row].seconds)
            sizes = {name: inputs[row].nbytes(wanted[name]) for name in of_modality[modality]}
            for name, rows in groups.arrive(row, sizes):
                self._encode_group(job, wanted[name], rows, inputs, done, split)
            for n, held in inputs.items():
                if not groups.needs(n, of_modality[modality]):
                    held.forget(modality)
        return replace(done, seconds=sum(seconds.values()), split=frozenset(split))

    def _arrivals(
        self, job: Job, arrivals: Arrivals, modalities: Sequence[str], inputs: dict[int, Inputs]
    ) -> Iterator[tuple[int, str]]:
        """Each row that is wanted and each modality, once all of it is read into the inputs.

        A recording's pictures need not wait in memory for its sound, where that is a file of its own.
        """
        left = Counter((use.row, m) for file in arrivals.files for use in file.uses for m in use.modalities)
        rows = sorted({n for numbers in job.rows.values() for n in numbers})
        yield from ((n, modality) for n in rows for modality in modalities if not left[n, modality])
        self._tell_reading(job, left)
        for arrived in self._reading.take(arrivals):
            self._tell_reading(job, left)
            if arrived is not None:
                use, clip = arrived
                share(use, clip, inputs)
                for modality in use.modalities:
                    left[use.row, modality] -= 1
                    if not left[use.row, modality]:
                        yield use.row, modality

    def _tell_reading(self, job: Job, left: Counter[tuple[int, str]]) -> None:
        self._tell("read", job, rows=sorted({row for (row, _), uses in left.items() if uses}))

    def _encode_group(
        self,
        job: Job,
        feature: Feature,
        rows: Sequence[int],
        inputs: Mapping[int, Inputs],
        done: Done,
        split: set[str],
    ) -> None:
        samples = self._samples(job, feature, rows, inputs, done.faces)
        results = self._encode(job, feature, samples, split)
        for n in rows:
            record = self._record(results[n], inputs[n].note_of(feature))
            if record.reason is not None:
                done.faults.append(Fault(feature.name, n, record.reason, record.detail))
            final = record.reason is None or record.reason.status is not Status.UNAVAILABLE
            done.records.append((feature.name, n, pack_record(record), final))

    def _build(self, job: Job, feature: Feature) -> None:
        if feature.name not in self._encoders:
            self._tell("build", job, feature.name)
            self._encoders[feature.name] = feature.build(self.setup.device)
            exact_arithmetic(self.engine.threads)

    def _samples(
        self,
        job: Job,
        feature: Feature,
        rows: Sequence[int],
        inputs: Mapping[int, Inputs],
        new_faces: dict[str, bytes],
    ) -> dict[int, Sample | Missing]:
        """What the encoder gets for each row, or why there is nothing for it."""
        modality = feature.spec.modality
        samples: dict[int, Sample | Missing] = {}
        for n in rows:
            fault = (
                job.unreadable.get(n) or job.hopeless.get((feature.name, n)) or inputs[n].faults.get(modality)
            )
            samples[n] = fault or sample_of(feature, job.shard[n], inputs[n])
        if feature.input.faces:
            good = {n: s for n, s in samples.items() if isinstance(s, Sample)}
            for n, frames in self._with_faces(job, feature, list(good), inputs, new_faces).items():
                samples[n] = frames if isinstance(frames, Missing) else replace(good[n], frames=frames)
        return samples

    def _with_faces(
        self,
        job: Job,
        feature: Feature,
        rows: Sequence[int],
        inputs: Mapping[int, Inputs],
        new: dict[str, bytes],
    ) -> dict[int, tuple[Frame, ...] | Missing]:
        from extract.engine.face_tables import Tables

        policy = feature.faces
        assert policy is not None
        if policy not in self._tables:
            self._tables[policy] = Tables(policy, lambda: self._finder(policy), self.made, self._ask)
        tables = self._tables[policy]

        def find(some: Sequence[int]) -> dict[int, tuple[Frame, ...] | Missing]:
            return dict(tables.add(feature, job.shard, some, inputs, new))

        found: dict[int, tuple[Frame, ...] | Missing] = {}
        for group in [[n] for n in rows] if job.clip_by_clip else [list(rows)]:
            self._tell("faces", job, feature.name, group)
            with self.trace.span("faces", feature.name):
                found |= one_by_one_if_need_be(find, group)
        return found

    def _finder(self, policy: FacePolicy) -> "FaceFinder":
        from extract.faces.mtcnn import FaceFinder

        finder = FaceFinder(policy, self.setup.device)
        exact_arithmetic(self.engine.threads)  # only now is torch there to be told
        return finder

    def _encode(
        self, job: Job, feature: Feature, samples: Mapping[int, Sample | Missing], split: set[str]
    ) -> dict[int, Encoded | Missing]:
        encoder = self._encoders[feature.name]
        results: dict[int, Encoded | Missing] = {n: s for n, s in samples.items() if isinstance(s, Missing)}
        ready = [(n, s) for n, s in samples.items() if isinstance(s, Sample)]
        lengths = [encoder.length(sample) for _, sample in ready]
        rule = "one" if feature.name in job.apart else feature.spec.batch
        if rule != feature.spec.batch:
            split.add(feature.name)
        for group in forwards(lengths, rule, self.engine.batch):
            together = dict(ready[i] for i in group)
            self._tell("encode", job, feature.name, list(together))
            with self.trace.span("encode", feature.name):
                results |= self._forward(feature, together, split)
        return results

    def _forward(
        self, feature: Feature, together: Mapping[int, Sample], split: set[str]
    ) -> dict[int, Encoded | Missing]:
        encoder = self._encoders[feature.name]

        def encode(rows: Sequence[int]) -> dict[int, Encoded | Missing]:
            with autocast(self.setup.device, self.engine.precision):
                return dict(zip(rows, encoder.encode([together[n] for n in rows]), strict=True))

        return one_by_one_if_need_be(encode, list(together), lambda: split.add(feature.name))

    def _record(self, result: Encoded | Missing, note: str) -> Record:
        if isinstance(result, Missing):
            return Record({}, reason=result.reason, detail=result.detail, made=self.made)
        record = Record(result.arrays, result.frames, made=self.made, note=note)
        if finite(record):
            return record
        # Encoders refuse sounds that are not finite or absurdly loud, so the arithmetic is at fault, not the data.
        words = f"the encoder made values that are not finite, in {self.engine.precision}"
        return Record({}, reason=Reason.FAULT, detail=words, made=self.made)


def one_by_one_if_need_be(
    work: Callable[[Sequence[int]], dict[int, T | Missing]],
    rows: Sequence[int],
    apart: Callable[[], None] = lambda: None,
) -> dict[int, T | Missing]:
    """Work on some rows at once; where that fails, on each alone, so that one bad row costs itself only.

    Args:
        apart: called when rows are worked on alone.
    """
    try:
        return work(rows)
    except ErcacheError:  # weights that are not there: no row is to blame
        raise
    except Exception as error:
        if len(rows) == 1:
            reason = Reason.OUT_OF_MEMORY if isinstance(error, out_of_memory()) else Reason.FAULT
            return {rows[0]: Missing(reason, f"{type(error).__name__}: {error}")}
    apart()
    return {n: result for row in rows for n, result in one_by_one_if_need_be(work, [row]).items()}


def exact_arithmetic(threads: int) -> None:
    """Full float32 and equal results for equal input, as far as torch is used at all."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def autocast(device: str, precision: str) -> Any:
    """A context in which networks compute in a precision; nothing for float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    import torch

    return torch.autocast(device.split(":")[0], dtype=getattr(torch, precision))


def out_of_memory() -> tuple[type[BaseException], ...]:
    """What is raised when the memory of this process or of its device is used up."""
    torch = sys.modules.get("torch")
    return (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)


def sample_of(feature: Feature, source: Source, inputs: Inputs) -> Sample:
    """What an encoder gets of an utterance, but for its faces."""
    wants = feature.input

    def turn(place: int, neighbour: Source) -> Turn:
        sounds = inputs.neighbours[place].sounds if place in inputs.neighbours else {}
        sound = sounds.get(wants.rate) if wants.rate else None
        return Turn(neighbour.text if wants.text else None, sound, neighbour.speaker)

    return Sample(
        text=source.text if wants.text else None,
        sound=inputs.sounds[wants.rate] if wants.rate else None,
        frames=inputs.pictures[wants.pictures] if wants.pictures else (),
        video=source.video if wants.video else None,
        speaker=source.speaker,
        next_speaker=source.next_speaker,
        before=tuple(turn(n - len(source.before), other) for n, other in enumerate(source.before)),
        after=tuple(turn(n + 1, other) for n, other in enumerate(source.after)),
    )
