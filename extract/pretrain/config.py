"""Parameters of the training runs of extractors, as given under `pretrain:` in params.yaml."""

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
            the embeddings; the loss then separates the classes. `printed`: from the distances, as Eq. 11 of the paper
            is printed; the loss then rewards equal embeddings of all classes (R11 in docs/papers/m2fnet.md).
            `printed_stopgrad`: as `printed`, but no gradient flows through the margin. `fixed`: always 0.2, in a hinge
            loss.
        weights: weights of the triplet, covariance and variance losses, in this order.
        var_form, cov_form: form of the variance loss and of the covariance loss. `vicreg`: as in the VICReg paper.
            `printed`: as in Eqs. 12 and 13 of the M2FNet paper, where the hinge of the variance loss and the square of
            the covariance loss are absent (R12 in docs/papers/m2fnet.md).
    """

    margin: Margin = "similarity"
    weights: tuple[float, float, float] = Field((20.0, 5.0, 1.0))
    var_form: Form = "vicreg"
    cov_form: Form = "vicreg"


class ExtractorConfig(Strict):
    """Parameters that both image extractors of M2FNet have.

    Attributes:
        size: side of the images: 224 (`paper`), 112 (`small`, for CPU) or 64 pixels (`tiny`).
        init: initial weights: `imagenet` needs the checkpoint resnet18; `scratch` starts from random weights.
        objective: `triplet` is metric learning; `cross_entropy` trains a linear classifier on the embedding, for
            comparison.
        loss: parameters of the metric learning loss.
        classes: number of classes in a batch; None for all classes.
        images: number of images per class in a batch.
        augment: whether sounds are changed in tempo and by noise, and pictures are mirrored, at random.
        passes: passes over the training images between two validations.
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
        """Key of the checkpoint from which the training starts; None for `scratch`."""
        return "resnet18" if self.init == "imagenet" else None


class AudioConfig(ExtractorConfig):
    """Parameters of the training of `audio/mel-resnet18`.

    Attributes:
        variants: number of augmented versions of each sound, made once before the training; None makes a new version
            each time a sound is used.
    """

    variants: int | None = Field(None, ge=1)


class VisualConfig(ExtractorConfig):
    """Parameters of the training of `visual/m2fnet-dual`.

    Attributes:
        frames: number of pictures per utterance from which scenes and faces are taken.
    """

    frames: int = Field(3, ge=1)


class ExtractorTraining(Strict):
    """Number of epochs, learning rate and other optimisation parameters of the image extractors.

    The defaults are the paper's: Adam with learning rate 1e-4 and weight decay 1e-6 (docs/papers/m2fnet.md, section
    5.2).
    """

    epochs: int = Field(60, ge=1)
    patience: int = Field(60, ge=1)
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-6, ge=0)
    seed: int = Field(0, ge=0)


class TextConfig(Strict):
    """Parameters of the training of `text/m2fnet-roberta`.

    A feature that uses the trained extractor must have the same `size`, `past`, `future`, `names` and `events`.

    Attributes:
        size: size of the network; `small` is smaller than any published RoBERTa and has no checkpoint.
        init: initial weights: `checkpoint` starts from RoBERTa of that size; `scratch` from random weights, with a
            tokenizer trained on the training utterances.
        vocabulary: largest number of tokens of the tokenizer that `scratch` trains.
        past, future: number of utterances before and after that are read with an utterance; `max` for as many as fit
            into 512 tokens.
        names: what is written before each utterance: nothing (`none`), the speaker's name (`first`), or for IEMOCAP the
            speaker's sex (`sex`; for other corpora the name).
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
        """Key of the checkpoint from which the training starts; None for `scratch`."""
        return f"roberta-{self.size}" if self.init == "checkpoint" else None


class TextTraining(Strict):
    """Number of epochs, learning rate and other optimisation parameters of the text extractor.

    The defaults are those of docs/papers/m2fnet.md, section 3.1, for one neighbour on each side.

    Attributes:
        batch: utterances in a batch.
        accumulate: batches in an optimizer step.
        warmup: share of the steps in which the learning rate rises from 0; after them it falls to 0 again.
        mixed: use mixed precision with bfloat16, on a GPU only.
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
