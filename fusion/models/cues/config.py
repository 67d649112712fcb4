"""The switches of Cues: the settings under `config` of an experiment in params.yaml."""

from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# docs/papers/cues.md, section 5: optimiser, rate and batch are the paper's, the rest is our choice. Prediction is
# scored by UAR, which then also chooses the epoch.
_RECIPE: Final[Mapping[str, Any]] = {
    "epochs": 50, "patience": 8, "batch": 32, "optimizer": "adam", "lr": 1e-4, "weight_decay": 0.0, "clip": 1.0,
    "schedule": "constant", "standardize": False,
}  # fmt: skip
RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "paper": _RECIPE,
    "paper_epc": {**_RECIPE, "select": "uar"},
}
RELATION_SWITCHES: Final = ("kwrt", "squeeze", "kwrt_linear", "kwrt_symmetric")  # of Eq. 1


def _is(usual: object) -> Callable[[object], bool]:
    return lambda value: value == usual


class CuesConfig(BaseModel):
    """Switches of Cues. For open points of the paper, see docs/papers/cues.md, section 10.

    Switches with `exclude_if` were added later. The record of a run leaves them out if they have their default value,
    so that older and newer runs with the same settings have equal records.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    context_utterances: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        3, description="utterances of a speech window, its last one included (A3)"
    )
    erc_future_context: int = Field(
        0, exclude_if=_is(0), ge=0, description="ERC: later utterances in the speech window"
    )
    window_frames: int = Field(
        1500,
        exclude_if=_is(1500),
        ge=1,
        description="greatest number of speech frames in a window (1500 are 30 s); the oldest utterances are dropped",
    )
    cache_text: bool = Field(
        True,
        exclude_if=_is(True),
        description="text from cached states; False: RoBERTa is part of the model, with trained speaker tokens (A12)",
    )
    finetune_roberta: bool = Field(
        False, exclude_if=_is(False), description="train all of RoBERTa, as part of the model"
    )
    finetune_wavlm: bool = Field(
        False, exclude_if=_is(False), description="train WavLM, as part of the model, on samples"
    )
    width: int = Field(1024, ge=64, multiple_of=64, description="width of the model (A1)")
    heads: int = Field(8, ge=1, description="attention heads")
    layers: int = Field(2, ge=1, description="of each transformer")
    ffn: int = Field(2048, ge=1, description="width inside a layer")
    dropout: float = Field(0.1, ge=0, lt=1, description="in transformer layers")
    kwrt: bool = Field(
        True,
        description="weight words by their relations (Eq. 1)",
        json_schema_extra={"paper_row": "w/o KWRT"},
    )
    squeeze: Literal["sum", "mean", "max"] = Field(
        "sum", description="how a row of the relation matrix becomes the word's score (A5)"
    )
    kwrt_linear: Literal["scalar", "full"] = Field("scalar", description="map from scores to gates (A5)")
    kwrt_symmetric: bool = Field(True, description="whole relation matrix; False: its upper triangle (A6)")
    text_granularity: Literal["word", "token"] = Field("word", description="steps of the text (A5)")
    pe: bool = Field(
        True, description="prosody enhancement (Eq. 2)", json_schema_extra={"paper_row": "w/o PE"}
    )
    prosody_width: Literal["wide", "narrow"] = Field(
        "wide", description="hidden sizes of the prosody encoder (A2)"
    )
    prosody_input: Literal["h_a", "mel_f0"] = Field(
        "h_a",
        exclude_if=_is("h_a"),
        description="input of the prosody encoder: speech frames, or pitch and mel bands (A2)",
    )
    prosody_init: Literal["random", "released"] = Field(
        "random",
        exclude_if=_is("random"),
        description="initial weights of the prosody encoder: random, or the published ones as far as they fit",
    )
    prosody_resample: bool = Field(
        False,
        exclude_if=_is(False),
        description="random changes of tempo in the prosody encoder, in training",
    )
    mfm_blocks: int = Field(
        2, ge=0, description="blocks of the second fusion step", json_schema_extra={"paper_row": "w/o TMF"}
    )
    mfm_size: Literal["large", "base"] = Field(
        "large", description="size of the BERT and ViT of the second fusion step (A9)"
    )
    mfm_layers: Literal["last", "first"] = Field("last", description="which of their layers to use (A9)")
    vit_lower_layers: bool = Field(
        True,
        exclude_if=_is(True),
        description="the mel picture has passed ViT's lower layers; False: it enters ViT's first layers (A10)",
    )
    bridge_len: int = Field(4, ge=1, description="tokens of a bridge")
    bridge_direction: Literal["both", "m2ta", "ta2m"] = Field(
        "both", description="directions of the bridges: mel to text-audio, text-audio to mel"
    )
    share_bridge: bool = Field(False, description="one pair of bridges for all blocks")
    ta_pool: Literal["mean", "first"] = Field("mean", description="pooling over time, at the end (A8)")
    loss: Literal["avg_logits", "mean_ce"] = Field(
        "avg_logits", description="loss of the averaged logits, or mean of the heads' losses"
    )

    @model_validator(mode="after")
    def _released_encoders_have_one_size(self) -> Self:
        if self.prosody_init == "released" and (self.prosody_width, self.width) != ("wide", 1024):
            raise ValueError("prosody_init: released needs prosody_width: wide and width: 1024")
        return self

    @model_validator(mode="after")
    def _tunes_what_it_holds(self) -> Self:
        if self.finetune_roberta and self.cache_text:
            raise ValueError("finetune_roberta: true needs cache_text: false")
        return self

    @property
    def past(self) -> int | None:
        """Number of earlier utterances in a speech window; None for all earlier utterances."""
        return None if self.context_utterances == "all" else self.context_utterances - 1


def idle_switches(config: CuesConfig, roles: Collection[str]) -> dict[str, str]:
    """Return the switches that change nothing with the inputs of an experiment: name of the switch -> reason.

    Args:
        config: all switches.
        roles: names of the model's inputs that have a feature in the experiment, such as `text`, `audio` or `matrix`.
    """
    idle: dict[str, str] = {}
    if "matrix" not in roles:
        idle |= dict.fromkeys(RELATION_SWITCHES, "needs a matrix of word relations, and no feature has one")
    if "audio" not in roles:
        idle |= dict.fromkeys(("pe", "mfm_blocks"), "concerns speech, and there is none")
    return idle
