"""The switches of AVT-CA: the settings under `config` of an experiment in params.yaml."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

# docs/papers/avtca.md, section 5: `paper` is the paper's, `release` that of the authors' code, `tuned` ours. The tables
# lead with the accuracy, so it also chooses the epoch.
RECIPES: Final[Mapping[str, Mapping[str, Any]]] = {
    "paper": {
        "epochs": 128, "patience": 128, "batch": 8, "optimizer": "adam", "lr": 0.01, "weight_decay": 1e-3, "clip": None,
        "schedule": "constant", "standardize": False, "select": "accuracy",
    },
    "release": {
        "epochs": 10, "patience": 10, "batch": 8, "optimizer": "sgd", "lr": 0.06, "momentum": 0.9, "dampening": 0.9,
        "weight_decay": 1e-3, "clip": None, "schedule": "steps", "milestones": (40, 55, 65, 70, 200, 250),
        "standardize": False, "select": "accuracy",
    },
    "tuned": {
        "epochs": 60, "patience": 60, "batch": 8, "optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-3, "clip": 1.0,
        "schedule": "cosine", "standardize": False, "select": "accuracy",
    },
}  # fmt: skip


class AvtcaConfig(BaseModel):
    """Switches of AVT-CA. For open points of the paper, see docs/papers/avtca.md, sections 9 and 10."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    it: bool = Field(
        True, description="intermediate transformer fusion (4.7)", json_schema_extra={"paper_row": "CT only"}
    )
    it_heads: int = Field(
        4,
        ge=1,
        description="heads of the intermediate transformers",
        json_schema_extra={"paper_row": "IT-1, IT-4"},
    )
    it_norm: Literal["batch", "layer"] = Field(
        "batch", description="norms of the intermediate transformers (A11)"
    )
    it_post_norm: bool = Field(True, description="a third norm, after the MLP (A11)")
    exchange: bool = Field(
        True, description="exchange stage (4.8, A38)", json_schema_extra={"paper_row": "IT only, CT only"}
    )
    exchange_heads: int = Field(1, ge=1, description="heads of the exchange stage")
    exchange_roles: Literal["q_own_kv_other", "qk_own_v_other", "k_own_q_other"] = Field(
        "q_own_kv_other",
        description="which stream gives queries, keys and values in the exchange stage (A13)",
    )
    ca: bool = Field(
        True, description="attention inside each stream (4.9)", json_schema_extra={"paper_row": "IT only"}
    )
    ca_heads: int = Field(
        4,
        ge=1,
        description="heads of the attention inside each stream",
        json_schema_extra={"paper_row": "CT-1, CT-4"},
    )
    ca_mode: Literal["own", "cross"] = Field(
        "own",
        description="the attention inside each stream takes keys from its own stream, or the other (A15)",
    )
    ca_share: bool = Field(False, description="one attention module for both streams (A15)")
    ca_proj: bool = Field(True, description="projections around that attention; Algorithm 9 shows none (A15)")
    pool: Literal["max", "mean"] = Field("max", description="pooling over time at the end (A16)")
    merge: Literal["concat", "add"] = Field("concat", description="how both streams are merged (A16)")
    dropout: float = Field(0.1, ge=0, lt=1, description="in attention and MLP (A21)")
    modality_dropout: Literal["none", "softhard", "noise"] = Field(
        "none", description="add copies of the batch with weakened modalities"
    )
    audio_pool_stride: Literal[1, 2] = Field(
        1, description="stride of the max pooling in the audio blocks (A39)"
    )
    mask_padding: bool = Field(
        False, description="mask the face crops that a short clip lacks; otherwise they are black (4.11)"
    )
    backbone: Literal["efficientface", "literal"] = Field(
        "efficientface", description="network for face crops (A9, A10)"
    )
    backbone_weights: Literal["affectnet7", "none"] = Field(
        "none", description="initial weights of the backbone (A7)"
    )
    freeze_backbone: bool = Field(False, description="do not train the backbone")
    backbone_rate: float = Field(1.0, gt=0, description="factor on the learning rate for the backbone")
    gate: Literal["sigmoid", "raw"] = Field(
        "sigmoid", description="how channel and spatial attention act on the map (A8)"
    )
    channel_att: bool = Field(True, description="channel attention in the backbone")
    spatial_att: bool = Field(True, description="spatial attention in the backbone")
    lfe: bool = Field(True, description="local feature extractor in the backbone")
    video_normalize: Literal["affectnet", "none"] = Field(
        "affectnet", description="statistics that standardise face crops (A6)"
    )
    channels: Literal["rgb", "bgr"] = Field("rgb", description="order of colours (A6)")
    augment: bool = Field(True, description="mirror and rotate face crops in training")
    divide: int = Field(1, ge=1, description="all widths after the first blocks are divided by it")
