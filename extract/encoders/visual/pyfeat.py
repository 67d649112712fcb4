"""A registry entry for the action units of py-feat, which ercache does not compute; it tells the user why.

Source: docs/encoders.md#action-units.
"""

from typing import ClassVar, NoReturn

from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.errors import WeightsError
from ercache.params.schema import Strict
from ercache.weights import Weights
from extract.encoders.base import EncoderSpec, Input
from extract.media.types import PictureRequest

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26, 28, 43)
WHY = (
    "its models are skops archives, and its loader trusts every type in them; run py-feat itself and import its table "
    "with `ercache cache import`"
)


class PyfeatParams(Strict):
    """Parameters of `visual/pyfeat-au`: there are none."""


class PyfeatKind:
    """The entry of `visual/pyfeat-au` in the encoder registry. It builds no encoder; it says why, and what to do."""

    spec: ClassVar[EncoderSpec] = EncoderSpec(
        key="visual/pyfeat-au",
        modality="visual",
        summary="20 action units of py-feat",
        batch="equal",
        version=1,
        licence="MIT (code)",
        weights="pyfeat-au",
        paper="Cheong et al. 2023, arXiv 2104.03509",
        unavailable=WHY,
    )
    Params: ClassVar[type[BaseModel]] = PyfeatParams

    def input(self, params: PyfeatParams, /) -> Input:
        """Return the input that the encoder would need if it could run: pictures of the clip, and the faces in them."""
        return Input(pictures=PictureRequest(8), faces=True)

    def arrays(self, params: PyfeatParams, /) -> tuple[ArraySpec, ...]:
        """Declare the array that the encoder would give if it could run: `pooled` [1, 20] for 20 action units."""
        return (ArraySpec("pooled", "vector", ("utterance", "action_unit"), (len(UNITS),)),)

    def __call__(self, params: PyfeatParams, device: str = "cpu", weights: Weights | None = None) -> NoReturn:
        """Refuse to build the encoder, because loading the models of py-feat is not safe.

        Raises:
            WeightsError: always; its hint says why, and what to do instead.
        """
        raise WeightsError("visual/pyfeat-au: ercache does not run py-feat", hint=self.spec.unavailable)


ENTRY = PyfeatKind()
