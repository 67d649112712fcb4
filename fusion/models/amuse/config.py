"""The switches of AMuSE: the settings under `config` of an experiment in params.yaml."""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fusion.models.amuse.contrast import Nce
from fusion.models.amuse.peripheral import Scale

# docs/papers/amuse.md, section 5.3: all values are our choice but gamma. They belong to stage B; stage A has switches.
_RECIPE: Final[Mapping[str, Any]] = {
    "epochs": 60, "patience": 8, "optimizer": "adamw", "lr": 5e-4, "weight_decay": 1e-4, "clip": 1.0, "gamma": 1.0,
    "schedule": "cosine", "warmup": 0.05, "standardize": False,
}  # fmt: skip
RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "paper": {**_RECIPE, "batch": 16},
    "paper_iemocap": {**_RECIPE, "batch": 8},
}


class AmuseConfig(BaseModel):
    """Switches of AMuSE. For open points and errors of the paper, see docs/papers/amuse.md, sections 9 and 10."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    man: bool = Field(
        True, description="multimodal attention (4.2)", json_schema_extra={"paper_row": "Uni-mode rep."}
    )
    man_layers: int = Field(
        4, ge=1, description="layers of its towers", json_schema_extra={"paper_row": "Table V"}
    )
    man_dim: int = Field(256, ge=1, description="width of its towers")
    man_heads: int = Field(4, ge=1, description="heads of an injection")
    score_scale: Scale = Field(
        "affine",
        description="trainable scaling of attention scores: a factor, none, or a map over positions (A-7)",
    )
    text_steps: int = Field(128, ge=1, description="fixed_linear: greatest number of words")
    visual_steps: int = Field(
        16, ge=1, description="fixed_linear: greatest number of frames, both roles together"
    )
    audio_steps: int = Field(61, ge=1, description="fixed_linear: greatest number of audio segments")
    peripheral: Literal["unimodal", "evolving"] = Field(
        "unimodal", description="what is injected: output of the encoders, or current states of the towers"
    )
    fusion: Literal["af", "concat"] = Field(
        "af",
        description="adaptive fusion (4.3), or concatenation",
        json_schema_extra={"paper_row": "MAN rep. + concat"},
    )
    alpha: Literal["closed_form", "random", "equal"] = Field(
        "closed_form", description="coefficients of the mixture", json_schema_extra={"paper_row": "Table III"}
    )
    alpha_form: Literal["pairwise", "chain"] = Field(
        "pairwise", description="all pairs (Eq. 2), or a chain of modalities (A-10)"
    )
    eps: float = Field(0.2, gt=0, description="size of the step of Eq. 6")
    sign: Literal[1, -1] = Field(1, description="1 as printed: the step raises the loss")
    label_train: Literal["pseudo", "gold"] = Field(
        "pseudo", description="label in Eq. 6 during training; outside training always pseudo (A-9)"
    )
    equal_value: float = Field(0.5, ge=0, le=1, description="value of `alpha: equal` (A-12)")
    mining: Literal["off", "train_pool", "val_pool"] = Field(
        "train_pool",
        description="pool of hard examples (5.2): utterances whose prediction a step of 1.25 eps changes join the"
        " next epoch; val_pool trains on validation data (A-11)",
    )
    pool: float = Field(
        0.1, gt=0, lt=1, description="share of train's dialogues in train_pool; otherwise not trained on"
    )
    context: Literal["both", "dialogue", "speaker"] = Field(
        "both", description="context of an utterance (4.4)"
    )
    direction: Literal["bi", "uni"] = Field("bi", description="of the context; uni: past utterances only")
    context_dim: int = Field(256, ge=2, multiple_of=2, description="width of each context state")
    sa_layers: int = Field(2, ge=0, description="self-attention layers of the encoders (4.1)")
    text_lstm: int = Field(384, ge=1, description="LSTM units of one direction, for words")
    visual_lstm: int = Field(256, ge=1, description="LSTM units of one direction, for faces and backgrounds")
    audio_lstm: int = Field(384, ge=1, description="LSTM units of one direction, for audio segments")
    text_dim: int = Field(768, ge=1, description="width of the text descriptor")
    visual_dim: int = Field(512, ge=1, description="width of the visual descriptor")
    audio_dim: int = Field(768, ge=1, description="width of the audio descriptor")
    gamma: float = Field(
        1.0,
        ge=0,
        description="gamma of the heads' focal loss (Eq. 5)",
        json_schema_extra={"paper_row": "Table IV"},
    )
    focal: bool = Field(True, description="train the heads with the focal loss (Eq. 5)")
    focal_form: Literal["log", "printed"] = Field("log", description="form of the focal loss (A-4)")
    lambda_ace: float = Field(1.0, ge=0, description="weight of the contrastive loss (Eq. 3)")
    nce: Nce = Field("posterior", description="form of the contrastive loss (A-8)")
    tau: float = Field(0.1, gt=0, description="temperature of the contrastive loss")
    negatives: int = Field(32, ge=1, description="negatives of an utterance, at most")
    man_epochs: int = Field(
        30, ge=0, description="epochs of stage A, before fusion and context are trained (5.2)"
    )
    man_batch: int = Field(64, ge=1, description="utterances of a batch in stage A")
    man_lr: float = Field(1e-4, gt=0, description="learning rate of stage A")
    joint: bool = Field(False, description="stage B trains the whole model, with both losses")
    dropout: float = Field(0.3, ge=0, lt=1, description="everywhere")
    allow_broken: bool = Field(False, description="allow `printed` forms, whose formulas are broken")

    @model_validator(mode="after")
    def _heads_for_the_rule(self) -> Self:
        if not self.man and self.fusion == "af":
            raise ValueError("fusion: af needs the heads of man: true (Eq. 6); without it, fusion: concat")
        return self

    @model_validator(mode="after")
    def _broken_on_purpose(self) -> Self:
        printed = [name for name in ("nce", "focal_form") if getattr(self, name) == "printed"]
        if printed and not self.allow_broken:
            raise ValueError(
                f"{' and '.join(printed)}: printed is a broken formula; allow_broken: true trains it"
            )
        return self


def marks_of(config: AmuseConfig) -> list[str]:
    """Return notes that must stand beside every result with this config, such as training on validation data."""
    return ["contaminated: trained on validation (mining: val_pool)"] if config.mining == "val_pool" else []
