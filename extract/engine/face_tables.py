"""Detection tables of a shard: found once for all encoders, taken from the store where they are known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ercache.digests import digest_of
from ercache.params.schema import FacePolicy
from extract.engine.plan import Feature, Shard, faces_recipe
from extract.engine.reading import Inputs
from extract.engine.records import Record, pack_record, unpack_record
from extract.faces.mtcnn import FaceFinder
from extract.faces.tracking import between
from extract.media import VERSION
from extract.media.types import Faces, Frame, Pictures

Ask = Callable[[Sequence[str]], Mapping[str, bytes]]
Row = tuple[int, Frame, str]  # row of the shard, picture, unit key of its detections


@dataclass
class Tables:
    """Finds the faces of pictures, or looks them up.

    Attributes:
        build: makes the finder, once something must be found.
        ask: gives the payloads of those units that are known.
    """

    policy: FacePolicy
    build: Callable[[], FaceFinder]
    made: Mapping[str, Any]
    ask: Ask
    _finder: FaceFinder | None = None

    def add(
        self,
        feature: Feature,
        shard: Shard,
        rows: Sequence[int],
        inputs: Mapping[int, Inputs],
        new: dict[str, bytes],
    ) -> dict[int, tuple[Frame, ...]]:
        """The pictures of a feature with their faces, for each row.

        Args:
            new: detections of this shard by unit, packed; those found now are added.
        """
        kind = feature.input.pictures
        assert kind is not None
        grid = Pictures(every=self.policy.every, side=kind.side) if self.policy.every else None
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
        kind: Pictures,
        new: dict[str, bytes],
    ) -> dict[int, tuple[Frame, ...]]:
        """Pictures of one kind with their faces; all are found anew when one is unknown, for equal bytes."""
        wanted = [(n, f, self._unit(shard, n, f, kind)) for n in rows for f in frames[n]]
        packed = {unit: new[unit] for _, _, unit in wanted if unit in new}
        packed |= self.ask([unit for _, _, unit in wanted if unit not in packed])
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

    def _unit(self, shard: Shard, row: int, frame: Frame, kind: Pictures) -> str:
        """Key of one picture's detections: they do not depend on the grid of the tracking policy."""
        record = shard[row].records["visual"]
        clip = {"media": record["media"], "crop": record["crop"], "side": kind.side, "reader": VERSION}
        recipe = faces_recipe(self.policy.model_copy(update={"every": None}))
        return digest_of({"clip": clip, "time": frame.time, **recipe})

    def _packed(self, faces: Faces) -> bytes:
        arrays = {"boxes": faces.boxes, "probabilities": faces.probabilities, "points": faces.points}
        return pack_record(Record(arrays, len(faces.boxes), made=dict(self.made)))


def _tracked(anchors: Sequence[Frame], frames: Sequence[Frame]) -> list[Frame]:
    """Pictures with the faces that follow from the detections around them; None where they must be found."""
    times = np.array([a.time for a in anchors])
    faces = [a.faces for a in anchors if a.faces is not None]
    found = between(times, faces, np.array([f.time for f in frames]))
    return [replace(frame, faces=f) for frame, f in zip(frames, found, strict=True)]
