"""py-feat's action units. They cannot be computed here; this file explains to the user why.

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
    """`visual/pyfeat-au` has no parameters."""


class PyfeatKind:
    """The registry entry of `visual/pyfeat-au`. It cannot build an encoder, but it states the reason."""

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
        """Raise an error, because this encoder cannot run.

        Raises:
            WeightsError: always; its hint says why.
        """
        raise WeightsError("visual/pyfeat-au cannot run here", hint=self.spec.unavailable)


ENTRY = PyfeatKind()
