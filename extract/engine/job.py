"""Messages between the engine and its worker processes, which read media and run encoders.

The engine sends jobs. A worker sends back what it is about to do, queries for stored results, and its own results.
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
        trace: path and start time of the trace (a file with the begin and end time of each step); None for no trace.
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
    """Work for one worker: a shard (a list of inputs, usually utterances) and the features to compute from it.

    A row is the index of an input in the shard.

    Attributes:
        number: number of the job.
        shard: the inputs.
        rows: feature -> rows to encode.
        isolated: whether the job is repeated after a crash, and therefore runs in a worker without other jobs.
        unreadable_rows: row -> failure, for rows at which a worker died while it read media or detected faces.
        faces_clip_by_clip: whether to detect faces in one clip at a time, because a worker died when it detected faces
            in all clips together.
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
    """What a worker is about to do. If it crashes then, this shows the cause.

    Attributes:
        stage: `start`, `build` (create an encoder), `read` (media), `faces` (detect faces) or `encode`.
        job: number of the job; None before the first job.
        feature: name of the feature; empty if the step serves several features.
        rows: indices, in the job's shard, of the inputs that the worker is about to process.
    """

    stage: str
    job: int | None = None
    feature: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class RowFailure:
    """Why a feature of an input could not be computed.

    Attributes:
        feature: name of the feature.
        row: index of the input in the job's shard.
        reason: the reason, for example `no_face`.
        detail: error message of the library or tool; may be empty.
    """

    feature: str
    row: int
    reason: Reason
    detail: str


@dataclass(frozen=True)
class JobResult:
    """What a worker computed for a job. A row is the index of an input in the job's shard.

    Attributes:
        job: number of the job.
        records: one tuple for each feature of an input: (feature, row, arrays or reason as bytes, final). `final` is
            False if the feature failed and the next run must try again.
        faces: store key of a picture -> new face detections in this picture, as bytes.
        seconds: length of the media that were read, seconds.
        faults: one item for each feature of an input that could not be computed, with the reason.
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
    """A worker's question to the engine: which results with these keys does the store hold?

    The engine answers with a dict from key to stored result (bytes), without the keys that the store lacks.
    """

    units: tuple[str, ...]
