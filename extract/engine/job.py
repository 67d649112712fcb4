"""Messages between the engine and its workers.

The engine sends jobs. A worker sends activities (what it is about to do), queries and results.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ercache.params.schema import EngineParams
from ercache.reasons import Missing, Reason
from extract.engine.plan import Feature, Shard
from extract.media.scanned import ReadFunction, read_scanned


@dataclass(frozen=True)
class WorkerSetup:
    """Settings that are the same for all jobs of a worker process.

    Attributes:
        features: feature name -> feature.
        root: folder of the corpus' media; None when only texts are read.
        engine: engine parameters of params.yaml.
        device: torch device of the worker.
        trace: path and start time of the trace file; None for no trace.
        read: function that reads a media file; it runs in a separate process.
    """

    features: Mapping[str, Feature]
    root: Path | None
    engine: EngineParams
    device: str
    trace: tuple[Path, float] | None = None
    read: ReadFunction = read_scanned


@dataclass(frozen=True)
class WorkerJob:
    """A shard (list of inputs) and the features to compute from it. A row is the index of an input in the shard.

    Attributes:
        number: number of the job.
        shard: the inputs.
        rows: feature -> rows to encode.
        isolated: the job runs again after a crash, in a worker without other jobs.
        unreadable_rows: row -> failure, for rows at which a worker died while it read media or detected faces.
        faces_clip_by_clip: detect faces one clip at a time, because a worker died when it detected faces in all clips
            together.
        run_singly: features to encode one input at a time, because a worker died in a batch.
        failed_rows: (feature, row) -> failure, for rows at which a worker died even though it encoded the row alone.
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
    """What a worker is about to do, so that a crash can be traced to its cause.

    The stage is `start`, `build` (an encoder), `read` (media), `faces` (detect them) or `encode`.
    """

    stage: str
    job: int | None = None
    feature: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class RowFailure:
    """Why a feature of an input could not be computed, with the error message of the library or tool."""

    feature: str
    row: int
    reason: Reason
    detail: str


@dataclass(frozen=True)
class JobResult:
    """The result of a job. A row is the index of an input in the job's shard.

    Attributes:
        job: number of the job.
        records: one tuple per result: (feature, row, result as bytes, final). `final` is False if the next run must try
            again.
        faces: store key of a picture -> new face detections in this picture, as bytes.
        seconds: length of the media that were read, seconds.
        faults: one item for each feature of a row that could not be computed, with the reason.
        run_singly: features that were encoded one input at a time.
    """

    job: int
    records: list[tuple[str, int, bytes, bool]]
    faces: dict[str, bytes]
    seconds: float
    faults: list[RowFailure]
    run_singly: frozenset[str]


@dataclass(frozen=True)
class KnownUnitsQuery:
    """A worker's request for the stored results with these keys. The engine answers with those that the store holds."""

    units: tuple[str, ...]
