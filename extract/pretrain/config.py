"""Parameters for training extractors: the classes that check the runs under `pretrain:` in params.yaml."""

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
    """The metric learning loss of M2FNet, with a parameter for each choice that the paper leaves open.

    Attributes:
        margin: how the margin of the triplet loss is computed. `similarity`: from the similarities (1 - distance) of
            the embeddings, so that the loss separates the classes. `printed`: from the distances, literally as in Eq.
            11 of the paper; then equal embeddings of all classes cost less than separate ones (R11 in
            docs/papers/m2fnet.md).
            `printed_stopgrad`: as `printed`, but no gradient flows through the margin. `fixed`: always 0.2, in a hinge
            loss.
        weights: weights of the triplet, covariance and variance losses, in this order.
        var_form, cov_form: formulas of the variance loss and of the covariance loss. `vicreg`: those of the VICReg
            paper. `printed`: literally Eqs. 12 and 13 of the M2FNet paper, which have no hinge in the variance loss and
            no square in the covariance loss (R12 in docs/papers/m2fnet.md).
    """

    margin: Margin = "similarity"
    weights: tuple[float, float, float] = Field((20.0, 5.0, 1.0))
    var_form: Form = "vicreg"
    cov_form: Form = "vicreg"


class ExtractorConfig(Strict):
    """Parameters that M2FNet's two image extractors have (for mel spectrograms and for pictures).

    Attributes:
        size: side of the images: 224 (`paper`), 112 (`small`, for CPU) or 64 pixels (`tiny`).
        init: initial weights: `imagenet` takes those of the checkpoint resnet18; `scratch` takes random weights.
        objective: loss: `triplet` is M2FNet's metric learning; `cross_entropy` trains a linear classifier on the
            embedding, for comparison.
        loss: parameters of the metric learning loss.
        classes: number of classes in a batch; None for all classes.
        images: number of images per class in a batch.
        augment: whether training data change at random: tempo and noise of sounds, mirrored pictures.
        passes: how often the training images are read between two validations.
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
        """Side of the square images, pixels."""
        return SIZES[self.size]

    @property
    def checkpoint(self) -> str | None:
        """Key of the checkpoint whose weights the training starts from; None if it starts from random weights."""
        return "resnet18" if self.init == "imagenet" else None


class AudioConfig(ExtractorConfig):
    """Parameters for training `audio/mel-resnet18`, in addition to those of both image extractors.

    Attributes:
        variants: number of augmented (randomly changed) versions of each sound, made once before the training; None
            makes a new version each time a sound is used.
    """

    variants: int | None = Field(None, ge=1)


class VisualConfig(ExtractorConfig):
    """Parameters for training `visual/m2fnet-dual`, in addition to those of both image extractors.

    Attributes:
        frames: number of pictures per utterance; the whole pictures and the faces in them are training images.
    """

    frames: int = Field(3, ge=1)


class ExtractorTraining(Strict):
    """Optimisation parameters of M2FNet's image extractors: epochs, learning rate and so on.

    The defaults are those of the paper: Adam with learning rate 1e-4 and weight decay 1e-6 (docs/papers/m2fnet.md,
    section 5.2).
    """

    epochs: int = Field(60, ge=1)
    patience: int = Field(60, ge=1)
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-6, ge=0)
    seed: int = Field(0, ge=0)


class TextConfig(Strict):
    """Parameters for training `text/m2fnet-roberta`.

    A feature that uses the trained network must have the same `size`, `past`, `future`, `names` and `events`.

    Attributes:
        size: size of the RoBERTa; for `small` there is no published checkpoint, so it needs `init: scratch`.
        init: initial weights: `checkpoint` takes the published RoBERTa of this size; `scratch` takes random weights,
            and trains a tokenizer on the training utterances.
        vocabulary: largest number of tokens in the vocabulary of the tokenizer that `scratch` trains.
        past, future: number of earlier and of later utterances that are read with the current one; `max` for as many
            as fit into 512 tokens.
        names: what is written before each utterance: `first` writes the speaker's name; `sex` writes the speaker's sex
            in IEMOCAP, and the name in other corpora; `none` writes nothing.
        events: whether tags such as [LAUGHTER] stay in the text.
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
        """Key of the checkpoint whose weights the training starts from; None if it starts from random weights."""
        return f"roberta-{self.size}" if self.init == "checkpoint" else None


class TextTraining(Strict):
    """Optimisation parameters of the text extractor: epochs, learning rate and so on.

    The defaults are those that docs/papers/m2fnet.md, section 3.1, gives for one neighbour on each side.

    Attributes:
        batch: number of utterances in a batch.
        accumulate: number of batches whose gradients are averaged for one optimizer step.
        warmup: fraction of all optimizer steps, at the beginning, in which the learning rate rises from 0 to `lr`; then
            it falls linearly to 0.
        mixed: use mixed precision (bfloat16) on a GPU; on a CPU it has no effect.
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
