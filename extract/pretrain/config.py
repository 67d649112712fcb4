"""The switches of a training of an extractor, as `pretrain:` in params.yaml has them."""

from typing import Final, Literal

from pydantic import BaseModel, Field

from ercache.params import Strict
from extract.encoders.m2fnet_images import SIZES

AUDIO: Final = "audio/mel-resnet18"
VISUAL: Final = "visual/m2fnet-dual"

Size = Literal["paper", "small", "tiny"]
Margin = Literal["similarity", "printed", "printed_stopgrad", "fixed"]
Form = Literal["vicreg", "printed"]


class MetricLoss(Strict):
    """The loss and every reading of it.

    Attributes:
        margin: `similarity` puts S = 1 - D into the exponents of Eq. 11 and pulls the right way (R11); `printed` is
            Eq. 11 with D; `printed_stopgrad` keeps its value and detaches the margin; `fixed` is a plain hinge of 0.2.
        weights: of the triplet, covariance and variance terms.
        var_form, cov_form: as in VICReg, or as Eqs. 12 and 13 are printed (R12).
    """

    margin: Margin = "similarity"
    weights: tuple[float, float, float] = Field((20.0, 5.0, 1.0))
    var_form: Form = "vicreg"
    cov_form: Form = "vicreg"


class ExtractorConfig(Strict):
    """What the two image extractors have in common.

    Attributes:
        size: side of the images: 224 (`paper`), 112 (`small`, for CPU) or 64 pixels (`tiny`).
        init: `imagenet` needs the checkpoint resnet18; `scratch` needs nothing.
        objective: metric learning, or a linear layer on z with cross-entropy, the control for it.
        classes, images: of a batch: so many classes (None: all) with so many images each.
        augment: time warp and noise, or flips.
        passes: passes over the train images between two looks at validation.
    """

    size: Size = "paper"
    init: Literal["imagenet", "scratch"] = "imagenet"
    objective: Literal["triplet", "cross_entropy"] = "triplet"
    loss: MetricLoss = MetricLoss()
    classes: int | None = Field(None, ge=2)
    images: int = Field(16, ge=2)
    augment: bool = True
    passes: int = Field(1, ge=1)

    @property
    def side(self) -> int:
        """Side of the images, pixels."""
        return SIZES[self.size]


class AudioConfig(ExtractorConfig):
    """Switches of the training of `audio/mel-resnet18`.

    Attributes:
        variants: of each sound with time warp and noise, made before the training; None makes a new one each time.
    """

    variants: int | None = Field(None, ge=1)


class VisualConfig(ExtractorConfig):
    """Switches of the training of `visual/m2fnet-dual`.

    Attributes:
        frames: pictures of an utterance that give a scene and their faces.
    """

    frames: int = Field(3, ge=1)


class ExtractorTraining(Strict):
    """How long and how fast; the paper's Adam with 1e-4 and a decay of 1e-6 (specs/m2fnet.md 5.2)."""

    epochs: int = Field(60, ge=1)
    patience: int = Field(60, ge=1)
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-6, ge=0)
    seed: int = Field(0, ge=0)


CONFIGS: Final[dict[str, tuple[type[BaseModel], type[BaseModel]]]] = {
    AUDIO: (AudioConfig, ExtractorTraining),
    VISUAL: (VisualConfig, ExtractorTraining),
}
