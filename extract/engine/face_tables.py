"""Add detected faces to the pictures of utterances.

Detections of earlier runs are read from the store. New ones are made once and shared by all encoders.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ercache.digests import digest_of
from ercache.params.schema import FacePolicy
from extract.engine.plan import Feature, Shard, faces_recipe
from extract.engine.reading import RowInputs
from extract.engine.records import Record, pack_record, unpack_record
from extract.faces.mtcnn import FaceFinder
from extract.faces.tracking import interpolate_faces
from extract.media import VERSION
from extract.media.types import Faces, Frame, PictureRequest

LookUp = Callable[[Sequence[str]], Mapping[str, bytes]]


@dataclass
class FaceTables:
    """Adds faces to pictures. Where the store holds no detections of a picture, the face detector runs.

    Attributes:
        policy: the face policy of params.yaml (how faces are detected, and how often).
        build: function that creates the face detector; called when the first detection is needed.
        environment: library versions, device and precision, recorded with new detections.
        look_up: function that takes store keys, one per picture, and returns key -> detections as bytes. Keys that the
            store does not hold are left out.
    """

    policy: FacePolicy
    build: Callable[[], FaceFinder]
    environment: Mapping[str, Any]
    look_up: LookUp
    _finder: FaceFinder | None = None

    def add(
        self,
        feature: Feature,
        shard: Shard,
        rows: Sequence[int],
        inputs: Mapping[int, RowInputs],
        new: dict[str, bytes],
    ) -> dict[int, tuple[Frame, ...]]:
        """Add faces to the pictures of some utterances; return the pictures with their faces.

        Args:
            feature: the feature for which the pictures were taken.
            shard: list of inputs (utterances) that are processed together.
            rows: indices, in `shard`, of the inputs whose pictures get faces.
            inputs: index in `shard` -> the media that were read for this input.
            new: store key of a picture -> its detections as bytes. Detections that the store does not hold yet are
                added to this dict.

        Returns:
            Index in `shard` -> pictures of this input, with faces.
        """
        kind = feature.input.pictures
        assert kind is not None
        grid = PictureRequest(every=self.policy.every, side=kind.side) if self.policy.every else None
        if grid is None:
            return self._detect(shard, rows, {n: inputs[n].pictures[kind] for n in rows}, kind, new)
        anchors = self._detect(shard, rows, {n: inputs[n].pictures[grid] for n in rows}, grid, new)
        tracked = {n: _tracked(anchors[n], inputs[n].pictures[kind]) for n in rows}
        lost = {n: tuple(f for f in tracked[n] if f.faces is None) for n in rows}
        found = self._detect(shard, rows, lost, kind, new)
        rest = {n: {f.time: f for f in found[n]} for n in rows}
        return {n: tuple(rest[n].get(f.time, f) for f in tracked[n]) for n in rows}

    def _detect(
        self,
        shard: Shard,
        rows: Sequence[int],
        frames: Mapping[int, tuple[Frame, ...]],
        kind: PictureRequest,
        new: dict[str, bytes],
    ) -> dict[int, tuple[Frame, ...]]:
        """Return the pictures of each input with the faces detected in them.

        If the store and `new` hold the detections of all pictures, the detector does not run. If one is lacking, it
        runs on all pictures, because the last digits of a result depend on the other pictures in the call.

        Args:
            shard: inputs (utterances) that are processed together.
            rows: indices in `shard` of the inputs.
            frames: index in `shard` -> pictures of this input.
            kind: the request with which the pictures were taken; its size is part of the store key.
            new: store key of a picture -> its detections as bytes; new detections are added to this dict.

        Returns:
            Index in `shard` -> pictures with faces.
        """
        wanted = [(n, f, self._unit(shard, n, f, kind)) for n in rows for f in frames[n]]
        packed = {unit: new[unit] for _, _, unit in wanted if unit in new}
        packed |= self.look_up([unit for _, _, unit in wanted if unit not in packed])
        if all(unit in packed for _, _, unit in wanted):
            faces = [Faces(**unpack_record(packed[unit]).arrays) for _, _, unit in wanted]
        else:
            faces = self._find([f for _, f, _ in wanted])
            for (_, _, unit), found in zip(wanted, faces, strict=True):
                if unit not in packed:
                    new[unit] = self._packed(found)
        result: dict[int, list[Frame]] = {n: [] for n in rows}
        for (n, frame, _), found in zip(wanted, faces, strict=True):
            result[n].append(replace(frame, faces=found))
        return {n: tuple(of_row) for n, of_row in result.items()}

    def _find(self, frames: Sequence[Frame]) -> list[Faces]:
        if self._finder is None:
            self._finder = self.build()
        return self._finder.find([f.image for f in frames])

    def _unit(self, shard: Shard, row: int, frame: Frame, kind: PictureRequest) -> str:
        """Return the store key of the detections in one picture.

        Face policies that differ only in `every` (seconds between detections) have the same keys, so they share the
        detections.

        Args:
            shard: inputs (utterances) that are processed together.
            row: index in `shard` of the input.
            frame: the picture, one of this input.
            kind: the request with which the picture was taken.
        """
        record = shard[row].records["visual"]
        clip = {"media": record["media"], "crop": record["crop"], "side": kind.side, "reader": VERSION}
        recipe = faces_recipe(self.policy.model_copy(update={"every": None}))
        return digest_of({"clip": clip, "time": frame.time, **recipe})

    def _packed(self, faces: Faces) -> bytes:
        arrays = {"boxes": faces.boxes, "probabilities": faces.probabilities, "points": faces.points}
        return pack_record(Record(arrays, len(faces.boxes), environment=dict(self.environment)))


def _tracked(anchors: Sequence[Frame], frames: Sequence[Frame]) -> list[Frame]:
    """Return pictures with faces that are interpolated between other pictures of the clip.

    Args:
        anchors: pictures of the clip in which faces were detected, in order of time.
        frames: pictures of the clip that get interpolated faces.

    Returns:
        The pictures `frames` with faces; a picture whose faces cannot be interpolated has None instead.
    """
    times = np.array([a.time for a in anchors])
    faces = [a.faces for a in anchors if a.faces is not None]
    found = interpolate_faces(times, faces, np.array([f.time for f in frames]))
    return [replace(frame, faces=f) for frame, f in zip(frames, found, strict=True)]
