"""Detection tables of a shard: found once, looked up where they are known, followed where the policy says so."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from ercache.params.schema import FacePolicy, Strict
from extract.encoders.base import EncoderSpec, Input
from extract.engine.face_tables import FaceTables
from extract.engine.plan import Feature, InputSource
from extract.engine.reading import RowInputs
from extract.engine.records import unpack_record
from extract.media.types import Faces, Frame, PictureRequest

RECORD = {"media": "a" * 64, "crop": None}
SHARD = (InputSource({"visual": RECORD}, "u0"),)


class Looks:
    """A feature of five pictures with their faces; it is planned only."""

    class Params(Strict):
        pass

    spec: ClassVar = EncoderSpec("visual/looks", "visual", "faces", "one", 1, "MIT")

    @staticmethod
    def input(params: Any) -> Input:
        return Input(pictures=PictureRequest(5), faces=True)


class Moving:
    """Stands in for the finder: the picture's first byte is where the face is, twenty pixels wide."""

    looked_at: ClassVar[list[list[int]]] = []

    def find(self, images: Sequence[Any]) -> list[Faces]:
        places = [int(image[0, 0, 0]) for image in images]
        Moving.looked_at.append(places)
        return [
            Faces(np.array([[x, 0, x + 20, 20]], "f4"), np.ones(1, "f4"), np.full((1, 5, 2), x, "f4"))
            for x in places
        ]


@pytest.fixture(autouse=True)
def _nothing_looked_at() -> None:
    Moving.looked_at.clear()


def frame(seconds: float) -> Frame:
    """A picture whose face moves ten pixels a second."""
    return Frame(seconds, np.full((4, 4, 3), round(10 * seconds), np.uint8))


def feature(policy: FacePolicy) -> Feature:
    return Feature("looks", Looks, Looks.Params(), None, policy)  # type: ignore[arg-type]


def add(
    policy: FacePolicy, known: dict[str, bytes], inputs: RowInputs
) -> tuple[tuple[Frame, ...], dict[str, bytes]]:
    new: dict[str, bytes] = {}
    made = FaceTables(policy, Moving, {}, lambda units: {u: known[u] for u in units if u in known})
    return made.add(feature(policy), SHARD, [0], {0: inputs}, new)[0], new


def places(frames: Sequence[Frame]) -> list[float]:
    return [float(f.faces.boxes[0, 0]) for f in frames if f.faces is not None]


def test_known_detections_are_looked_up() -> None:
    inputs = RowInputs({PictureRequest(5): (frame(1), frame(2))})
    frames, new = add(FacePolicy(), {}, inputs)
    assert Moving.looked_at == [[10, 20]] and len(new) == 2
    again, none = add(FacePolicy(), new, inputs)
    assert Moving.looked_at == [[10, 20]] and none == {}
    assert places(frames) == places(again) == [10, 20]
    assert unpack_record(next(iter(new.values()))).frames == 1, "a row of the table counts its faces"


def test_one_unknown_picture_has_all_found_anew_and_stores_itself_alone() -> None:
    _, new = add(FacePolicy(), {}, RowInputs({PictureRequest(5): (frame(1), frame(2))}))
    first = dict([next(iter(new.items()))])
    _, rest = add(FacePolicy(), first, RowInputs({PictureRequest(5): (frame(1), frame(2))}))
    assert Moving.looked_at == [[10, 20], [10, 20]]
    assert rest.keys() == new.keys() - first.keys()


def test_faces_are_followed_between_the_instants_of_the_grid() -> None:
    policy = FacePolicy(every=0.4)
    dense = tuple(frame(t / 10) for t in range(1, 8))
    grid = (frame(0.2), frame(0.6))
    frames, new = add(policy, {}, RowInputs({PictureRequest(5): dense, PictureRequest(every=0.4): grid}))
    assert Moving.looked_at == [[2, 6], [1, 7]], "the grid, and what lies outside of it"
    np.testing.assert_allclose(places(frames), [1, 2, 3, 4, 5, 6, 7], atol=1e-5)
    assert len(new) == 4, "what is followed is not stored"


def test_detections_do_not_depend_on_the_grid() -> None:
    _, plain = add(FacePolicy(), {}, RowInputs({PictureRequest(5): (frame(0.2),)}))
    policy = FacePolicy(every=0.4)
    _, tracked = add(
        policy, {}, RowInputs({PictureRequest(5): (frame(0.2),), PictureRequest(every=0.4): (frame(0.2),)})
    )
    assert plain == tracked


def test_another_crop_or_policy_is_another_detection() -> None:
    inputs = RowInputs({PictureRequest(5): (frame(1),)})
    _, one = add(FacePolicy(), {}, inputs)
    _, other = add(FacePolicy(min_face_size=60), {}, inputs)
    half = (replace(SHARD[0], records={"visual": {**RECORD, "crop": (0.0, 0.0, 0.5, 1.0)}}),)
    new: dict[str, bytes] = {}
    FaceTables(FacePolicy(), Moving, {}, lambda _: {}).add(feature(FacePolicy()), half, [0], {0: inputs}, new)
    assert len({*one, *other, *new}) == 3
