"""What a feature gets of a clip does not depend on what other features ask for."""

from typing import Any, ClassVar

import numpy as np

from ercache.params.schema import Strict
from ercache.reasons import Missing, Reason
from extract.encoders.base import EncoderSpec, Input
from extract.engine.plan import Feature
from extract.engine.reading import RowInputs, SpanUse, assign_clip
from extract.media import Clip
from extract.media.types import Frame, PictureRequest

MANY, ONE = PictureRequest(600), PictureRequest(1)


class Looks:
    """A feature that looks at pictures; it is planned only."""

    class Params(Strict):
        count: int

    spec: ClassVar = EncoderSpec("visual/looks", "visual", "pictures", "one", 1, "MIT")

    @staticmethod
    def input(params: Any) -> Input:
        return Input(pictures=PictureRequest(params.count))


def looking_at(kind: PictureRequest) -> Feature:
    return Feature("looks", Looks, Looks.Params(count=kind.count), None, None)  # type: ignore[arg-type]


def test_pictures_of_one_kind_that_are_lost_are_missed_only_by_who_asked_for_them() -> None:
    frame = Frame(0.0, np.zeros((2, 2, 3), np.uint8))
    lost = Missing(Reason.UNREADABLE, "no picture could be decoded")
    inputs = RowInputs()
    assign_clip(
        SpanUse(0, 0, frozenset({"visual"})), Clip({MANY: (frame,)}, undecoded={ONE: lost}), {0: inputs}
    )
    assert inputs.fault_of(looking_at(MANY)) is None and inputs.pictures == {MANY: (frame,)}
    assert inputs.fault_of(looking_at(ONE)) is lost
