"""Facial action units by OpenFace 2: the user runs OpenFace on the videos, and this file reads its tables.

OpenFace writes one csv table per video, with one row per picture. The columns that are used here are `timestamp`,
`success` (whether a face was found), 17 intensities such as `AU01_r` (0 to 5), and 18 presences such as `AU01_c`.

Source: docs/encoders.md#action-units.
"""

import csv
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationInfo, field_validator

from ercache.cache import ArraySpec
from ercache.digests import digest_of_file
from ercache.errors import WeightsError
from ercache.manifest import MediaRef
from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from ercache.weights import Weights
from extract.encoders.base import Encoded, EncoderKind, EncoderSpec, Input, Sample

_RATED: Final = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
_PRESENT: Final = tuple(sorted((*_RATED, 28)))
COLUMNS: Final = (*(f"AU{n:02}_r" for n in _RATED), *(f"AU{n:02}_c" for n in _PRESENT))


class OpenfaceParams(Strict):
    """Parameters of `visual/openface-au`.

    Attributes:
        folder: folder of OpenFace's tables, with the same subfolders as the videos: the table of `train/clip.mp4` is
            `train/clip.csv`. A feature does not record this path, because it differs between machines.
        digest: hash of all tables in the folder. It is computed automatically, and shows when tables have changed.
    """

    folder: Path | None = Field(None, exclude=True)
    digest: str = Field("", validate_default=True)

    @field_validator("digest")
    @classmethod
    def _of_folder(cls, given: str, info: ValidationInfo) -> str:
        folder = info.data.get("folder")
        if folder is None:
            return given
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder")
        return folder_digest(folder)


class OpenfaceAu:
    """Reads the action units of each utterance from OpenFace's table of the video.

    Pictures in which OpenFace found no face (success 0) are left out; `pooled` is the mean over all other pictures.
    OpenFace calibrates intensities for each video file, so the same picture in another file has other values.

    Raises:
        WeightsError: params.yaml gives no folder of tables.
    """

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/openface-au",
        modality="visual",
        summary="17 intensities and 18 presences of action units, from OpenFace's tables",
        batch="one",
        version=1,
        licence="OpenFace: academic, non-commercial",
        paper="Baltrusaitis et al. 2018 (FG)",
    )
    Params: ClassVar[type[BaseModel]] = OpenfaceParams

    def __init__(self, params: OpenfaceParams, device: str = "cpu", weights: Weights | None = None) -> None:
        if params.folder is None:
            raise WeightsError(
                "visual/openface-au reads tables that OpenFace has written, but the feature gives no folder of tables",
                hint="run OpenFace's FeatureExtraction on the videos, and set `folder` in params.yaml to its output",
            )
        self._folder = params.folder

    @staticmethod
    def input(params: OpenfaceParams) -> Input:
        """Declare which input the encoder needs: only the path of the video file, which leads to its table."""
        return Input(video=True)

    @staticmethod
    def arrays(params: OpenfaceParams) -> tuple[ArraySpec, ...]:
        """Declare three arrays of an utterance with T pictures that show a face.

        `frames` [T, 35] holds 17 intensities and 18 presences of action units per picture, named in `COLUMNS`;
        `pooled` [1, 35] holds their means, and `times` [T, 1] the time of each picture in the video file, seconds.
        """
        axes = ("frame", "intensities_presences")
        return (
            ArraySpec("pooled", "vector", ("utterance", axes[1]), (len(COLUMNS),)),
            ArraySpec("frames", "sequence", axes, (len(COLUMNS),)),
            ArraySpec(
                "times", "sequence", ("frame", "time"), (1,), units="seconds from the start of the file"
            ),
        )

    def length(self, sample: Sample) -> int:
        """Return 0 as length. Lengths only serve to group clips into batches, and no network runs here."""
        return 0

    def encode(self, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        """Read the action units of each clip from OpenFace's table; return its arrays, or why there are none."""
        return [self._one(sample.video) for sample in samples]

    def _one(self, video: MediaRef | None) -> Encoded | Missing:
        if video is None:
            return Missing(Reason.NO_VIDEO)
        path = (self._folder / video.path).with_suffix(".csv")
        if not path.is_file():
            return Missing(Reason.ABSENT, f"there is no table {path.relative_to(self._folder)}")
        try:
            rows = read_table(path)
        except (ValueError, csv.Error) as error:
            return Missing(Reason.UNREADABLE, f"{path.relative_to(self._folder)}: {error}")
        except OSError as error:  # a fault of the disk, not of the table
            return Missing(Reason.FAULT, f"{path.relative_to(self._folder)}: {error.strerror}")
        start, end = video.start or 0.0, math.inf if video.end is None else video.end
        inside = rows[(rows[:, 0] >= start - 1e-6) & (rows[:, 0] < end - 1e-6)]
        detected = inside[inside[:, 1] == 1]
        if not len(detected):
            return Missing(
                Reason.NO_FACE if len(inside) else Reason.NO_VIDEO,
                f"no face in any of {len(inside)} rows of the table",
            )
        values = np.ascontiguousarray(detected[:, 2:], np.float32)
        arrays = {"pooled": values.mean(axis=0, keepdims=True), "frames": values}
        return Encoded({**arrays, "times": detected[:, :1].astype(np.float32)}, len(detected))


def read_table(path: Path) -> NDArray[np.float64]:
    """Read a table of OpenFace with T rows; return time, success and 35 values of action units per row, [T, 37].

    Raises:
        ValueError: a column is absent, or a value is not a number.
    """
    wanted = ("timestamp", "success", *COLUMNS)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        # OpenFace writes a blank after each comma, so every name but the first begins with one
        reader = csv.DictReader(stream, skipinitialspace=True)
        lacking = [name for name in wanted if name not in (reader.fieldnames or ())]
        if lacking:
            raise ValueError(f"no column {', '.join(lacking[:3])}; this is not a table of OpenFace 2")
        rows = [[_number(row[name], name, n) for name in wanted] for n, row in enumerate(reader, 2)]
    return np.array(rows, np.float64).reshape(len(rows), len(wanted))


def folder_digest(folder: Path) -> str:
    """Return a hash of the names and contents of all csv files in a folder and its subfolders."""
    state = hashlib.sha256()
    for path in sorted(folder.rglob("*.csv")):
        state.update(f"{path.relative_to(folder).as_posix()}\n{digest_of_file(path)}\n".encode())
    return state.hexdigest()


def _number(text: str | None, name: str, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise ValueError(f"line {line}: {name} is {text!r}, not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"line {line}: {name} is {text!r}, not a finite number")
    return value


ENTRY: Final[EncoderKind] = OpenfaceAu
