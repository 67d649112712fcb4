"""Messages between the engine and its workers: jobs to the workers; activities, queries and results back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ercache.params.schema import EngineParams
from ercache.reasons import Missing, Reason
from extract.engine.plan import Feature, Shard
from extract.media.scanned import ReadFunction, read_scanned


@dataclass(frozen=True)
class WorkerSetup:
    """What all jobs of a worker have in common.

    Attributes:
        features: feature name -> feature.
        root: folder of the corpus' media; None when only texts are read.
        engine: engine parameters of params.yaml.
        device: torch device of the worker.
        trace: path and start time of the trace file, if there is one.
        read: function that reads a file; it runs in a separate process.
    """

    features: Mapping[str, Feature]
    root: Path | None
    engine: EngineParams
    device: str
    trace: tuple[Path, float] | None = None
    read: ReadFunction = read_scanned


@dataclass(frozen=True)
class WorkerJob:
    """A shard and what to compute from it.

    Attributes:
        number: number of the job.
        shard: the shard.
        rows: feature -> rows of the shard to encode.
        isolated: the job runs again after a crash, in a worker without other jobs.
        unreadable_rows: row -> failure, for rows whose media or faces ended a worker.
        faces_clip_by_clip: detect faces one clip at a time, because detecting them together ended a worker.
        run_singly: features whose samples are encoded one at a time, because a batch ended a worker.
        failed_rows: (feature, row) -> failure, for rows that ended a worker when encoded alone.
    """

    number: int
    shard: Shard
    rows: Mapping[str, tuple[int, ...]]
    isolated: bool = False
    unreadable_rows: Mapping[int, Missing] = field(default_factory=dict)
    faces_clip_by_clip: bool = False
    run_singly: frozenset[str] = frozenset()
    failed_rows: Mapping[tuple[str, int], Missing] = field(default_factory=dict)


@dataclass(frozen=True)
class Activity:
    """What a worker is about to do: `start`, `build` an encoder, `read`, find `faces` or `encode` rows of a job."""

    stage: str
    job: int | None = None
    feature: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class RowFailure:
    """Why a row has no arrays for a feature, with the tool's own message."""

    feature: str
    row: int
    reason: Reason
    detail: str


@dataclass(frozen=True)
class JobResult:
    """The result of a job.

    Attributes:
        job: number of the job.
        records: (feature, row, packed record, whether it is final).
        faces: unit key -> packed detections of one picture.
        seconds: length of the media that were read, seconds.
        faults: rows that have a reason instead of arrays.
        run_singly: features whose samples were encoded one at a time.
    """

    job: int
    records: list[tuple[str, int, bytes, bool]]
    faces: dict[str, bytes]
    seconds: float
    faults: list[RowFailure]
    run_singly: frozenset[str]


@dataclass(frozen=True)
class KnownUnitsQuery:
    """A worker's query: which of these units have a payload in the store?"""

    units: tuple[str, ...]
