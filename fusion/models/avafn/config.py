"""The switches of AVAFN: the settings under `config` of an experiment in params.yaml."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

# docs/papers/avafn.md, section 5: rate, L2, batch and loss are the paper's, the rest is our choice.
RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "paper": {
        "epochs": 100, "patience": 15, "batch": 32, "optimizer": "adam", "lr": 1e-4, "weight_decay": 3e-4,
        "l2": "decay", "clip": None, "schedule": "constant", "standardize": True,
    },
}  # fmt: skip

TABLE_3: JsonDict = {"paper_row": "Table 3, AVAFN and w/o ACM, w/o SSM, w/o ILM"}


class AvafnConfig(BaseModel):
    """Switches of AVAFN. Defaults follow our reading of the paper, which does not state all sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    use_acm: bool = Field(True, description="context state and its attention", json_schema_extra=TABLE_3)
    use_ssm: bool = Field(True, description="speaker state", json_schema_extra=TABLE_3)
    use_ilm: bool = Field(True, description="listener states", json_schema_extra=TABLE_3)
    use_cam: bool = Field(
        True, description="cross-attention between audio and video; False: only the residual branches"
    )
    use_context_attention: bool = Field(
        True, description="attention over the context states; False: ac_t is 0"
    )
    cam_scope: Literal["dialogue", "dialogue_causal", "utterance"] = Field(
        "dialogue",
        description="keys of the cross-attention: all utterances, no later ones, or only the utterance itself",
    )
    fusion_weight: Literal["learned_scalar", "fixed", "gate", "attention_matrix"] = Field(
        "learned_scalar", description="alpha and beta of Eq. 7"
    )
    combine: Literal["sum", "concat"] = Field(
        "sum", description="how Eq. 7 and the residual branches are combined"
    )
    context_attention: Literal["scalar_tanh", "dot_query", "vector"] = Field(
        "scalar_tanh",
        description="score in Eq. 9: one for each context, a dot product with the utterance, or one for each dimension",
    )
    listener_input: Literal["v_u", "u"] = Field("v_u", description="input of the listener cell (Eq. 11)")
    listener_pool: Literal["mean", "sum", "max"] = Field("mean", description="pooling over several listeners")
    emotion_chain: Literal["dialogue", "speaker"] = Field(
        "dialogue", description="one sequence of emotion states for the dialogue, or one for each speaker"
    )
    bidirectional: bool = Field(True, description="False: the recurrence runs over past utterances only")
    d_model: int = Field(
        1024, ge=1, description="width d; features of another width first pass a linear layer"
    )
    d_ff: int = Field(2048, ge=1, description="width inside the feed-forward layers")
    D_c: int = Field(150, ge=1, description="context state")
    D_q: int = Field(150, ge=1, description="speaker and listener states")
    D_e: int = Field(100, ge=1, description="emotion state")
    classifier_hidden: int = Field(0, ge=0, description="width of an added hidden layer; 0: none")
    dropout: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="of attention weights, feed-forward layers, u and E; not of the recurrent states",
    )
