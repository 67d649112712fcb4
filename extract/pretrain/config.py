"""The parameters of an extractor's training, as given under `pretrain:` in params.yaml."""

from typing import Final, Literal, Self

from pydantic import BaseModel, Field, model_validator

from ercache.params.schema import Strict
from extract.encoders.text.roberta import NeighbourCount
from extract.encoders.visual.m2fnet_images import SIZES
from extract.text.dialogue_context import NameStyle

AUDIO: Final = "audio/mel-resnet18"
VISUAL: Final = "visual/m2fnet-dual"
TEXT: Final = "text/m2fnet-roberta"

Size = Literal["paper", "small", "tiny"]
Margin = Literal["similarity", "printed", "printed_stopgrad", "fixed"]
Form = Literal["vicreg", "printed"]


class MetricLoss(Strict):
    """The loss, with a parameter for each open choice of the paper.

    Attributes:
        margin: `similarity` uses S = 1 - D in the exponents of Eq. 11, which pulls in the right direction (R11);
            `printed` is Eq. 11 with D; `printed_stopgrad` keeps its value and detaches the margin; `fixed` is a plain
            hinge of 0.2.
        weights: weights of the triplet, covariance and variance terms.
        var_form, cov_form: as in VICReg, or as Eqs. 12 and 13 are printed (R12).
    """

    margin: Margin = "similarity"
    weights: tuple[float, float, float] = Field((20.0, 5.0, 1.0))
    var_form: Form = "vicreg"
    cov_form: Form = "vicreg"


class ExtractorConfig(Strict):
    """Common parameters of the two image extractors.

    Attributes:
        size: side of the images: 224 (`paper`), 112 (`small`, for CPU) or 64 pixels (`tiny`).
        init: `imagenet` needs the checkpoint resnet18; `scratch` needs nothing.
        objective: metric learning, or a linear layer on z with cross-entropy, as a control.
        loss: parameters of the metric loss.
        classes, images: number of classes in a batch (None: all), and of images per class.
        augment: time warp and noise, or flips.
        passes: passes over the train images between two validations.
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
    """Parameters of the training of `audio/mel-resnet18`.

    Attributes:
        variants: number of augmented versions of each sound, made before the training; None makes new ones each time.
    """

    variants: int | None = Field(None, ge=1)


class VisualConfig(ExtractorConfig):
    """Parameters of the training of `visual/m2fnet-dual`.

    Attributes:
        frames: number of pictures of an utterance that give a scene and faces.
    """

    frames: int = Field(3, ge=1)


class ExtractorTraining(Strict):
    """How long and how fast; the paper's Adam with 1e-4 and a decay of 1e-6 (docs/papers/m2fnet.md, section 5.2)."""

    epochs: int = Field(60, ge=1)
    patience: int = Field(60, ge=1)
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-6, ge=0)
    seed: int = Field(0, ge=0)


class TextConfig(Strict):
    """Parameters of the training of `text/m2fnet-roberta`; features must read utterances in the same way.

    Attributes:
        size: size of the network; `small` is our own and has no checkpoint.
        init: `checkpoint` starts from RoBERTa of that size; `scratch` from random tensors, with a tokenizer trained on
            the train part.
        vocabulary: largest number of tokens of that tokenizer.
        past, future: number of neighbours read with an utterance; `max` for as many as fit into 512 tokens.
        names: what precedes each turn, `none`, `first` or `sex` (they differ only for IEMOCAP).
        events: keep tags such as [LAUGHTER].
    """

    size: Literal["small", "base", "large"] = "large"
    init: Literal["checkpoint", "scratch"] = "checkpoint"
    vocabulary: int = Field(8000, ge=300)
    past: NeighbourCount = 1
    future: NeighbourCount = 1
    names: NameStyle = "sex"
    events: bool = True

    @model_validator(mode="after")
    def _has_a_checkpoint(self) -> Self:
        if self.size == "small" and self.init == "checkpoint":
            raise ValueError("there is no checkpoint of the size small; use `init: scratch`")
        return self

    @property
    def checkpoint(self) -> str | None:
        """Key of the checkpoint that the training starts from; None for `scratch`."""
        return f"roberta-{self.size}" if self.init == "checkpoint" else None


class TextTraining(Strict):
    """How long and how fast; defaults: docs/papers/m2fnet.md, section 3.1, for one neighbour on each side.

    Attributes:
        batch, accumulate: utterances in a batch, and batches in an optimizer step.
        warmup: share of the steps in which the rate rises from 0, before it falls to 0 again.
        mixed: bfloat16 where that is safe, on a GPU only.
    """

    epochs: int = Field(5, ge=1)
    patience: int = Field(5, ge=1)
    batch: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)
    lr: float = Field(1e-5, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup: float = Field(0.2, ge=0, le=1)
    clip: float = Field(1.0, gt=0)
    mixed: bool = True
    seed: int = Field(0, ge=0)


CONFIGS: Final[dict[str, tuple[type[BaseModel], type[BaseModel]]]] = {
    AUDIO: (AudioConfig, ExtractorTraining),
    VISUAL: (VisualConfig, ExtractorTraining),
    TEXT: (TextConfig, TextTraining),
}
