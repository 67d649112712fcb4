"""AVT-CA: Multimodal Emotion Recognition using Audio-Video Transformer Fusion with Cross Attention (arXiv 2407.18552).

Every utterance is a clip of its own: sound as MFCC frames, video as vectors of its pictures (a frozen network) or as
face crops (trained end to end). Equations, algorithms and choices: docs/papers/avtca.md.
"""

from typing import Any, Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.data.batches import Batch
from fusion.data.ragged import placed
from fusion.layers.clips import Clips, clips_of, lengthened, weakened
from fusion.layers.losses import Loss
from fusion.layers.masked import (
    BatchNorm,
    ConvBlock,
    LayerNorm,
    attended,
    average,
    greatest,
    resampled,
    within,
)
from fusion.models.avtca.face_frames import FaceFrames, augmented, normalized, pictures
from fusion.models.base import ModelEntry, Widths, in_order

CROPS: Final = 3  # last size of face crops: their colours
FRAMES: Final = 15  # pictures of a clip that is long enough
WHOLE: Final = {"audio": (64, 128, 256, 128), "visual": (64, 64, 128, 128)}  # widths after each block


class AvtcaConfig(BaseModel):
    """Switches of AVT-CA; the paper's open points and ours: docs/papers/avtca.md, sections 9 and 10."""

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
    it_post_norm: bool = Field(True, description="a third norm, on the output of the MLP (A11)")
    exchange: bool = Field(
        True, description="exchange stage (4.8, A38)", json_schema_extra={"paper_row": "IT only, CT only"}
    )
    exchange_heads: int = Field(1, ge=1, description="heads of the exchange stage")
    exchange_roles: Literal["q_own_kv_other", "qk_own_v_other", "k_own_q_other"] = Field(
        "q_own_kv_other", description="which stream asks in the exchange stage (A13)"
    )
    ca: bool = Field(
        True, description="attention inside each stream (4.9)", json_schema_extra={"paper_row": "IT only"}
    )
    ca_heads: int = Field(
        4, ge=1, description="heads of that attention", json_schema_extra={"paper_row": "CT-1, CT-4"}
    )
    ca_mode: Literal["own", "cross"] = Field(
        "own", description="keys of the own stream, or of the other (A15)"
    )
    ca_share: bool = Field(False, description="one module for both streams (A15)")
    ca_proj: bool = Field(True, description="projections around that attention; Algorithm 9 shows none (A15)")
    pool: Literal["max", "mean"] = Field("max", description="over time, at the end (A16)")
    merge: Literal["concat", "add"] = Field("concat", description="how both streams meet (A16)")
    dropout: float = Field(0.1, ge=0, lt=1, description="in attention and MLP (A21)")
    modality_dropout: Literal["none", "softhard", "noise"] = Field(
        "none", description="copies of a batch with weakened modalities"
    )
    audio_pool_stride: Literal[1, 2] = Field(1, description="of the maximum in the blocks of sound (A39)")
    mask_padding: bool = Field(
        False, description="leave out the face crops that a short clip lacks; otherwise they are black (4.11)"
    )
    backbone: Literal["efficientface", "literal"] = Field(
        "efficientface", description="of face crops (A9, A10)"
    )
    backbone_weights: Literal["affectnet7", "none"] = Field(
        "none", description="what the backbone begins with (A7)"
    )
    freeze_backbone: bool = Field(False, description="do not train the backbone")
    backbone_rate: float = Field(
        1.0, gt=0, description="learning rate of the backbone, as a share of the others'"
    )
    gate: Literal["sigmoid", "raw"] = Field("sigmoid", description="channel times spatial attention (A8)")
    channel_att: bool = Field(True, description="channel attention on the pictures")
    spatial_att: bool = Field(True, description="spatial attention on the pictures")
    lfe: bool = Field(True, description="local features of the pictures")
    video_normalize: Literal["affectnet", "none"] = Field(
        "affectnet", description="statistics of face crops (A6)"
    )
    channels: Literal["rgb", "bgr"] = Field("rgb", description="order of colours (A6)")
    augment: bool = Field(True, description="mirror and turn face crops in training")
    divide: int = Field(1, ge=1, description="all widths after the first blocks are divided by it")


class Attention(nn.Module):
    """`Attn(x_kv, x_q)` of section 4.6: no bias but in the last map; 0 where there is no key."""

    def __init__(self, kv: int, q: int, o: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.W_q, self.W_kv, self.W_o = (
            nn.Linear(q, o, bias=False),
            nn.Linear(kv, 2 * o, bias=False),
            nn.Linear(o, o),
        )

    def forward(self, x_kv: Tensor, x_q: Tensor, keys: Tensor, x_v: Tensor | None = None) -> Tensor:
        """[N, Tk, kv], [N, Tq, q] to [N, Tq, o]; keys bool [N, Tk]; values from x_v where that is another sequence."""
        W_k, W_v = self.W_kv.weight.chunk(2)
        K, V = F.linear(x_kv, W_k), F.linear(x_kv if x_v is None else x_v, W_v)
        drop = self.dropout if self.training else 0.0
        S = self.W_o(attended(self.W_q(x_q), K, V, keys, self.heads, drop))
        return F.dropout(S, self.dropout, self.training) * keys.any(1)[:, None, None]


class Intermediate(nn.Module):
    """IT block: h = S + N_3(MLP(N_2(Drop(S)))), S = Attn(N_k(x_kv), N_q(x_q)) (Algorithms 6 and 7)."""

    def __init__(self, kv: int, q: int, o: int, config: AvtcaConfig) -> None:
        super().__init__()
        norm = BatchNorm if config.it_norm == "batch" else LayerNorm
        self.N_k, self.N_q, self.N_2 = norm(kv), norm(q), norm(o)
        self.N_3 = norm(o) if config.it_post_norm else None
        self.attention = Attention(kv, q, o, config.it_heads, config.dropout)
        self.W1, self.W2, self.drop = nn.Linear(o, 2 * o), nn.Linear(2 * o, o), nn.Dropout(config.dropout)

    def forward(self, x_kv: Tensor, keys: Tensor, x_q: Tensor, queries: Tensor) -> Tensor:
        """[N, Tk, kv], [N, Tq, q] to [N, Tq, o]; masks bool [N, Tk], [N, Tq]. Nothing where there is no key."""
        S = self.attention(self.N_k(x_kv, keys), self.N_q(x_q, queries), keys)
        valid = queries & keys.any(1, keepdim=True)
        return self.after(S, valid) * valid.unsqueeze(-1)

    def after(self, S: Tensor, valid: Tensor) -> Tensor:
        """What follows the attention; the residual begins here, not at the input of the block."""
        Z = self.drop(self.W2(self.drop(F.gelu(self.W1(self.N_2(self.drop(S), valid))))))
        h: Tensor = S + (Z if self.N_3 is None else self.N_3(Z, valid))
        return h


class Exchange(nn.Module):
    """A' = A2 + Attn(V2, A2): the stream that receives asks the other one (Algorithm 8, A13)."""

    def __init__(self, width: int, config: AvtcaConfig) -> None:
        super().__init__()
        self.roles = config.exchange_roles
        self.attention = Attention(width, width, width, config.exchange_heads, config.dropout)

    def forward(self, own: Tensor, mine: Tensor, other: Tensor, theirs: Tensor) -> Tensor:
        """Own [N, T, C] and the other stream [N, T', C], with their masks, to [N, T, C]."""
        if self.roles == "q_own_kv_other":
            found: Tensor = self.attention(other, own, theirs)
            return own + found
        other = resampled(other, theirs.sum(1), mine.sum(1), own.shape[1])  # both must have one length
        if self.roles == "qk_own_v_other":
            found = self.attention(own, own, mine, other)
        else:
            found = self.attention(own, other, mine)
        return own + found * theirs.any(1)[:, None, None]


class Inside(nn.Module):
    """Multi-head attention inside a stream, "cross attention" (Algorithm 9, A15); with or without projections."""

    def __init__(self, width: int, config: AvtcaConfig) -> None:
        super().__init__()
        self.heads = config.ca_heads
        maps = [nn.Linear(width, width) if config.ca_proj else nn.Identity() for _ in range(4)]
        self.W_q, self.W_k, self.W_v, self.W_o = maps

    def forward(self, x_q: Tensor, x_kv: Tensor, keys: Tensor) -> Tensor:
        """[N, Tq, C], [N, Tk, C] to [N, Tq, C]; keys bool [N, Tk]."""
        found: Tensor = self.W_o(attended(self.W_q(x_q), self.W_k(x_kv), self.W_v(x_kv), keys, self.heads))
        return found * keys.any(1)[:, None, None]


class Avtca(nn.Module):
    """Clips of sound [L, 10] and of pictures [T, 1024] (or crops [T, 224, 224, 3]) to logits."""

    def __init__(self, widths: Widths, classes: int, config: AvtcaConfig) -> None:
        super().__init__()
        self.config, self.modalities = config, in_order(widths)
        sizes = {m: [width // config.divide for width in WHOLE[m]] for m in self.modalities}
        self.faces: FaceFrames | None = None
        first = dict(widths)
        if widths.get("visual") == CROPS:
            parts = config.channel_att, config.spatial_att, config.lfe
            self.faces = FaceFrames(config.backbone == "literal", config.gate, *parts)
            self.faces.requires_grad_(not config.freeze_backbone)
            self.learning_rates = {"faces.": config.backbone_rate}
            first["visual"] = self.faces.width
        pools = {"audio": config.audio_pool_stride, "visual": 0}
        self.minimum_steps = {m: _shortest(pools[m]) if pools[m] else 1 for m in self.modalities}
        self.blocks = nn.ModuleDict({m: _blocks(first[m], sizes[m], pools[m]) for m in self.modalities})
        both = len(self.modalities) == 2
        if both and config.it:
            a, v = sizes["audio"][1], sizes["visual"][1]
            self.it = nn.ModuleDict(
                {"audio": Intermediate(v, a, a, config), "visual": Intermediate(a, v, v, config)}
            )
        width = sizes[self.modalities[0]][3]
        if both and config.exchange:
            self.exchange = nn.ModuleDict({m: Exchange(width, config) for m in self.modalities})
        if config.ca:
            names = ["all"] if config.ca_share else self.modalities
            self.ca = nn.ModuleDict({name: Inside(width, config) for name in names})
        self.head = nn.Linear(width * (len(self.modalities) if config.merge == "concat" else 1), classes)

    def on_epoch_start(self, epoch: int) -> None:
        """Before the first epoch the backbone takes the tensors of its checkpoint.

        Raises:
            WeightsError: the checkpoint is absent or damaged.
        """
        if epoch == 0 and self.faces is not None and self.config.backbone_weights == "affectnet7":
            self.faces.load("efficientface")

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, L, C]; those of an utterance with neither sound nor pictures are the bias of the head."""
        places, clips = clips_of(batch, self.minimum_steps)
        logits = self.logits(clips)
        return placed(logits, places, batch.mask, self.head.bias)

    def objective(self, batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        """The experiment's loss, over the weakened copies of the clips where those are asked for."""
        if self.config.modality_dropout == "none":
            return measure(self(batch), batch.labels)
        places, clips = clips_of(batch, self.minimum_steps)
        labels = batch.labels.flatten(0, 1)[places]
        copies, times = weakened(clips, self.config.modality_dropout)
        return measure(
            self.logits(copies).unsqueeze(0), labels.repeat(times, *[1] * (labels.dim() - 1)).unsqueeze(0)
        )

    def logits(self, clips: Clips) -> Tensor:
        """[N, C] of N clips."""
        pooled = self.pooled(clips)
        streams = [pooled[m] for m in self.modalities]
        merged = torch.cat(streams, -1) if self.config.merge == "concat" else torch.stack(streams).sum(0)
        logits: Tensor = self.head(merged)
        return logits

    def pooled(self, clips: Clips) -> dict[str, Tensor]:
        """a and v of section 4.10, [N, C] each."""
        return self.late(*self.middle(*self.early(clips)))

    def late(self, x: dict[str, Tensor], n: dict[str, Tensor]) -> dict[str, Tensor]:
        """From A2 and V2: exchange, attention inside each stream, pooling (4.8 to 4.10)."""
        x = self.exchanged(x, n)
        masks = {m: within(n[m], x[m].shape[1]) for m in self.modalities}
        pool = greatest if self.config.pool == "max" else average
        if not self.config.ca:
            return {m: pool(x[m], masks[m]) for m in self.modalities}
        found = {}
        for m in self.modalities:
            other = self._other(m) if self.config.ca_mode == "cross" else m
            inside = self.ca["all" if self.config.ca_share else m]
            found[m] = pool(
                inside(x[m], x[other], masks[other]), masks[m] & masks[other].any(1, keepdim=True)
            )
        return found

    def early(self, clips: Clips) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A1 and V1 of section 4.5, and their lengths."""
        x, n = dict(clips.values), dict(clips.lengths)
        if self.faces is not None:
            if not self.config.mask_padding:
                x["visual"], n["visual"] = lengthened(x["visual"], n["visual"], FRAMES)
            x["visual"] = self.frames(x["visual"], n["visual"])
        for m in self.modalities:
            for block in self.blocks[m][:2]:  # type: ignore[index]
                x[m], n[m] = block(x[m], n[m])
        return x, n

    def middle(
        self, x: dict[str, Tensor], n: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A2 and V2: intermediate fusion (4.7), then two blocks more."""
        if len(self.modalities) == 2 and self.config.it:
            x = {m: x[m] + self.it[m](x[o], valid[o], x[m], valid[m]) for m, o, valid in self._pairs(x, n)}
        x, n = dict(x), dict(n)
        for m in self.modalities:
            for block in self.blocks[m][2:]:  # type: ignore[index]
                x[m], n[m] = block(x[m], n[m])
        return x, n

    def exchanged(self, x: dict[str, Tensor], n: dict[str, Tensor]) -> dict[str, Tensor]:
        """A' and V' (4.8)."""
        if len(self.modalities) < 2 or not self.config.exchange:
            return x
        return {m: self.exchange[m](x[m], valid[m], x[o], valid[o]) for m, o, valid in self._pairs(x, n)}

    def _pairs(self, x: dict[str, Tensor], n: dict[str, Tensor]) -> list[tuple[str, str, dict[str, Tensor]]]:
        """Each stream with the other one, and the masks of both."""
        valid = {m: within(n[m], x[m].shape[1]) for m in self.modalities}
        return [(m, self._other(m), valid) for m in self.modalities]

    def frames(self, crops: Tensor, lengths: Tensor) -> Tensor:
        """f of section 4.5: crops [N, T, 224, 224, 3] to [N, T, width]; the network sees valid pictures alone."""
        assert self.faces is not None
        mask = within(lengths, crops.shape[1])
        clips = pictures(crops)
        if self.training and self.config.augment:
            clips = augmented(clips)
        clips = normalized(clips, self.config.video_normalize == "affectnet", self.config.channels == "bgr")
        f = clips.new_zeros(*mask.shape, self.faces.width)
        if mask.any():
            if self.config.freeze_backbone:
                self.faces.eval()
            f = f.masked_scatter(mask.unsqueeze(-1), self.faces(clips[mask]))
        return f

    def _other(self, modality: str) -> str:
        return next((m for m in self.modalities if m != modality), modality)


def _shortest(stride: int) -> int:
    """Frames of sound that four blocks leave one step of."""
    least = 1
    for _ in range(4):
        least = (least - 1) * stride + 4
    return least


def _blocks(first: int, sizes: list[int], pool: int) -> nn.ModuleList:
    return nn.ModuleList(ConvBlock(i, o, pool) for i, o in zip([first, *sizes[:-1]], sizes, strict=True))


RELEASE: Final[dict[str, Any]] = {
    "it_heads": 8, "it_norm": "layer", "it_post_norm": False, "exchange": False, "ca_heads": 8, "ca_share": True,
    "pool": "mean", "dropout": 0.0, "modality_dropout": "softhard", "video_normalize": "none", "channels": "bgr",
}  # fmt: skip

ENTRY = ModelEntry(
    key="avtca",
    paper="Multimodal Emotion Recognition using Audio-Video Transformer Fusion with Cross Attention (AVT-CA)",
    tasks=("erc",),
    modalities=("audio", "visual"),
    config=AvtcaConfig,
    presets={
        "paper": {"backbone_weights": "affectnet7"},
        "release": {"backbone_weights": "affectnet7", **RELEASE},
        "tuned": {"backbone_weights": "affectnet7", "backbone_rate": 0.1},
        "small": {"divide": 2},
    },
    build=Avtca,
    widths={"audio": 10, "visual": CROPS},
    classes=8,
    paper_encoders={"audio": "audio/mfcc", "visual": "visual/face-crops"},
    paper_training={
        "paper": {
            "epochs": 128,
            "patience": 128,
            "batch": 8,
            "optimizer": "adam",
            "lr": 0.01,
            "weight_decay": 1e-3,
            "clip": None,
            "schedule": "constant",
            "standardize": False,
        }
    },
    roles={"audio": ("audio",), "visual": ("visual",)},
)
