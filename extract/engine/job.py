"""What passes between the engine and its lanes: jobs one way, what a lane is doing and what came of it the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ercache.params.schema import EngineParams
from ercache.reasons import Missing, Reason
from extract.engine.plan import Feature, Shard
from extract.media.scanned import Read, read_scanned


@dataclass(frozen=True)
class Setup:
    """What all jobs of a lane have in common.

    Attributes:
        root: of the corpus' media; None when only texts are read.
        trace: file and start of the trace, if there is one.
        read: what reads a file, in a process of its own.
    """

    features: Mapping[str, Feature]
    root: Path | None
    engine: EngineParams
    device: str
    trace: tuple[Path, float] | None = None
    read: Read = read_scanned


@dataclass(frozen=True)
class Job:
    """A shard and what is wanted of it.

    Attributes:
        rows: feature -> rows of the shard to encode.
        careful: run again after an accident, in a worker of its own.
        unreadable: rows whose media nobody can hold in memory, or whose faces nobody can find.
        clip_by_clip: whether faces are found clip by clip, because finding them together ended a lane.
        apart: features whose forwards are run one by one, because a forward ended a lane.
        hopeless: (feature, row) that ended a lane alone.
    """

    number: int
    shard: Shard
    rows: Mapping[str, tuple[int, ...]]
    careful: bool = False
    unreadable: Mapping[int, Missing] = field(default_factory=dict)
    clip_by_clip: bool = False
    apart: frozenset[str] = frozenset()
    hopeless: Mapping[tuple[str, int], Missing] = field(default_factory=dict)


@dataclass(frozen=True)
class Doing:
    """What a lane begins: `start`, `build` an encoder, `read`, find `faces` or `encode` rows of a job."""

    stage: str
    job: int | None = None
    feature: str = ""
    rows: tuple[int, ...] = ()


@dataclass(frozen=True)
class Fault:
    """A row of a feature that has a reason instead of arrays, and the tool's own words."""

    feature: str
    row: int
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Done:
    """A finished job.

    Attributes:
        records: (feature, row, packed record, whether it is final).
        faces: unit -> packed detections of one picture.
        seconds: of media read.
        faults: what has a reason instead of arrays.
        split: features whose forwards were run one by one.
    """

    job: int
    records: list[tuple[str, int, bytes, bool]]
    faces: dict[str, bytes]
    seconds: float
    faults: list[Fault]
    split: frozenset[str]


@dataclass(frozen=True)
class Known:
    """A question: which of these units have a payload already."""

    units: tuple[str, ...]
