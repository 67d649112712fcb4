"""AVT-CA: Multimodal Emotion Recognition using Audio-Video Transformer Fusion with Cross Attention (arXiv 2407.18552).

The model classifies every utterance alone, as a clip. Audio is a sequence of MFCC frames. Video is a sequence of frame
vectors (from a frozen network) or of face crops (whose network is trained too). Numbers of equations, algorithms,
sections and choices (A1, A2, ...) are those of docs/papers/avtca.md.
"""

from collections.abc import Collection
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.data.batches import Batch
from fusion.data.ragged import scatter_to_grid
from fusion.layers.clips import ClipBatch, dense_clips, pad_to_length, weaken_modalities
from fusion.layers.label_losses import Loss
from fusion.layers.masked import (
    BatchNorm,
    ConvBlock,
    LayerNorm,
    length_mask,
    masked_attention,
    masked_max,
    masked_mean,
    resample_lengths,
)
from fusion.models.avtca.config import RECIPES, AvtcaConfig
from fusion.models.avtca.face_frames import FaceFrames, augment_frames, normalize_frames, scale_pixels
from fusion.models.base import ModelEntry, Widths, in_order

CROPS: Final = 3  # last dimension of face crops: the colours
FRAMES: Final = 15  # face crops of a clip that is long enough
WHOLE: Final = {"audio": (64, 128, 256, 128), "visual": (64, 64, 128, 128)}  # width after each block


class Attention(nn.Module):
    """Multi-head attention `Attn(x_kv, x_q)` (section 4.6): the sequence x_q attends to the sequence x_kv.

    Only the linear map of the output has a bias.

    Args:
        kv, q, o: size of a step of x_kv, of x_q and of the output.
        heads: number of heads.
        dropout: dropout rate.
    """

    def __init__(self, kv: int, q: int, o: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.W_q, self.W_kv, self.W_o = (
            nn.Linear(q, o, bias=False),
            nn.Linear(kv, 2 * o, bias=False),
            nn.Linear(o, o),
        )

    def forward(self, x_kv: Tensor, x_q: Tensor, keys: Tensor, x_v: Tensor | None = None) -> Tensor:
        """Attend with the queries x_q to the keys and values x_kv, for N pairs of sequences.

        Args:
            x_kv: sequences for keys and values, [N, Tk, kv]: Tk steps of size kv.
            x_q: sequences for queries, [N, Tq, q]: Tq steps of size q.
            keys: bool [N, Tk]; True for valid keys.
            x_v: other sequences for the values, [N, Tk, kv]; None to take the values from x_kv.

        Returns:
            Attended values, [N, Tq, o], of size o; 0 for sequences without a valid key.
        """
        W_k, W_v = self.W_kv.weight.chunk(2)
        K, V = F.linear(x_kv, W_k), F.linear(x_kv if x_v is None else x_v, W_v)
        drop = self.dropout if self.training else 0.0
        S = self.W_o(masked_attention(self.W_q(x_q), K, V, keys, self.heads, drop))
        return F.dropout(S, self.dropout, self.training) * keys.any(1)[:, None, None]


class Intermediate(nn.Module):
    """Intermediate transformer block, by which one modality (x_q) attends to the other (x_kv) (Algorithms 6 and 7).

    h = S + N_3(MLP(N_2(Drop(S)))) with S = Attn(N_k(x_kv), N_q(x_q)); N_k, N_q, N_2 and N_3 are norms.

    Args:
        kv, q, o: size of a step of x_kv, of x_q and of the output.
        config: the switches of AVT-CA.
    """

    def __init__(self, kv: int, q: int, o: int, config: AvtcaConfig) -> None:
        super().__init__()
        norm = BatchNorm if config.it_norm == "batch" else LayerNorm
        self.N_k, self.N_q, self.N_2 = norm(kv), norm(q), norm(o)
        self.N_3 = norm(o) if config.it_post_norm else None
        self.attention = Attention(kv, q, o, config.it_heads, config.dropout)
        self.W1, self.W2, self.drop = nn.Linear(o, 2 * o), nn.Linear(2 * o, o), nn.Dropout(config.dropout)

    def forward(self, x_kv: Tensor, keys: Tensor, x_q: Tensor, queries: Tensor) -> Tensor:
        """Let one modality (x_q) of N clips attend to the other modality (x_kv), then apply the MLP.

        Args:
            x_kv: steps of the other modality, [N, Tk, kv]: Tk steps of size kv.
            keys: mask of x_kv, bool [N, Tk].
            x_q: steps of the modality that attends, [N, Tq, q]: Tq steps of size q.
            queries: mask of x_q, bool [N, Tq].

        Returns:
            New steps of size o, [N, Tq, o]; 0 on padding, and for clips without the other modality.
        """
        S = self.attention(self.N_k(x_kv, keys), self.N_q(x_q, queries), keys)
        valid = queries & keys.any(1, keepdim=True)
        return self.after(S, valid) * valid.unsqueeze(-1)

    def after(self, S: Tensor, valid: Tensor) -> Tensor:
        """Compute the block's output S + N_3(MLP(N_2(Drop(S)))) from the result S of the attention.

        Args:
            S: attended steps of N clips, [N, T, o]: T steps of size o.
            valid: bool [N, T]; False for steps that the norms leave out.
        """
        Z = self.drop(self.W2(self.drop(F.gelu(self.W1(self.N_2(self.drop(S), valid))))))
        h: Tensor = S + (Z if self.N_3 is None else self.N_3(Z, valid))
        return h


class Exchange(nn.Module):
    """Exchange stage (Algorithm 8, A13): a stream (modality) is updated by attention to the other stream.

    For audio, A' = A + Attn(V, A), with A and V the steps of audio and video: the stream that is updated gives the
    queries.
    """

    def __init__(self, width: int, config: AvtcaConfig) -> None:
        super().__init__()
        self.roles = config.exchange_roles
        self.attention = Attention(width, width, width, config.exchange_heads, config.dropout)

    def forward(self, own: Tensor, mine: Tensor, other: Tensor, theirs: Tensor) -> Tensor:
        """Update one stream (modality) of N clips by attention to the other stream.

        Args:
            own: steps of the stream to update, [N, T, C]: T steps of size C.
            mine: mask of `own`, bool [N, T].
            other: steps of the other stream, [N, T', C].
            theirs: mask of `other`, bool [N, T'].

        Returns:
            The updated steps, [N, T, C].
        """
        if self.roles == "q_own_kv_other":
            found: Tensor = self.attention(other, own, theirs)
            return own + found
        other = resample_lengths(other, theirs.sum(1), mine.sum(1), own.shape[1])  # both must have one length
        if self.roles == "qk_own_v_other":
            found = self.attention(own, own, mine, other)
        else:
            found = self.attention(own, other, mine)
        return own + found * theirs.any(1)[:, None, None]


class StreamAttention(nn.Module):
    """Multi-head self-attention inside a stream (modality); the paper calls it "cross attention" (Algorithm 9, A15)."""

    def __init__(self, width: int, config: AvtcaConfig) -> None:
        super().__init__()
        self.heads = config.ca_heads
        maps = [nn.Linear(width, width) if config.ca_proj else nn.Identity() for _ in range(4)]
        self.W_q, self.W_k, self.W_v, self.W_o = maps

    def forward(self, x_q: Tensor, x_kv: Tensor, keys: Tensor) -> Tensor:
        """Attend with the queries x_q to the keys and values x_kv (normally both are the same stream).

        Args:
            x_q: N sequences of Tq steps of size C, [N, Tq, C].
            x_kv: N sequences of Tk steps of size C, [N, Tk, C].
            keys: mask of x_kv, bool [N, Tk].

        Returns:
            Attended values, [N, Tq, C].
        """
        found: Tensor = self.W_o(
            masked_attention(self.W_q(x_q), self.W_k(x_kv), self.W_v(x_kv), keys, self.heads)
        )
        return found * keys.any(1)[:, None, None]


class Avtca(nn.Module):
    """The AVT-CA model, which classifies single clips (utterances) without the context of the dialogue.

    The audio of a clip is a sequence of MFCC frames, [steps, 10]; the video a sequence of frame vectors, [steps, 1024],
    or of face crops, [steps, 224, 224, 3].
    """

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
            self.ca = nn.ModuleDict({name: StreamAttention(width, config) for name in names})
        self.head = nn.Linear(width * (len(self.modalities) if config.merge == "concat" else 1), classes)

    def on_epoch_start(self, epoch: int) -> None:
        """Before the first epoch, load the face network's checkpoint (with `backbone_weights: affectnet7`).

        Raises:
            WeightsError: the checkpoint is missing or damaged.
        """
        if epoch == 0 and self.faces is not None and self.config.backbone_weights == "affectnet7":
            self.faces.load("efficientface")

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes.

        An utterance without audio and video gets the bias of the classifier as logits.
        """
        places, clips = dense_clips(batch, self.minimum_steps)
        logits = self.logits(clips)
        return scatter_to_grid(logits, places, batch.mask, self.head.bias)

    def objective(self, batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        """Compute the experiment's loss of a batch, and the number of labels.

        With `modality_dropout`, copies of the clips with weakened audio or video are added to the batch.
        """
        if self.config.modality_dropout == "none":
            return measure(self(batch), batch.labels)
        places, clips = dense_clips(batch, self.minimum_steps)
        labels = batch.labels.flatten(0, 1)[places]
        copies, times = weaken_modalities(clips, self.config.modality_dropout)
        return measure(
            self.logits(copies).unsqueeze(0), labels.repeat(times, *[1] * (labels.dim() - 1)).unsqueeze(0)
        )

    def logits(self, clips: ClipBatch) -> Tensor:
        """Classify N clips; returns logits [N, C] for C classes."""
        pooled = self.pooled(clips)
        streams = [pooled[m] for m in self.modalities]
        merged = torch.cat(streams, -1) if self.config.merge == "concat" else torch.stack(streams).sum(0)
        logits: Tensor = self.head(merged)
        return logits

    def pooled(self, clips: ClipBatch) -> dict[str, Tensor]:
        """Run the whole network without its classifier.

        Returns:
            Modality -> pooled features a (audio) or v (video) of section 4.10, [N, C]: N clips, C features.
        """
        return self.late(*self.middle(*self.early(clips)))

    def late(self, x: dict[str, Tensor], n: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run the late stages: exchange, attention inside each stream, pooling over time (sections 4.8 to 4.10).

        Args:
            x: modality -> output of the method `middle` for N clips, [N, T, C]: T steps of C features.
            n: modality -> number of steps of each clip, [N].

        Returns:
            Modality -> pooled features a (audio) or v (video), [N, C].
        """
        x = self.exchanged(x, n)
        masks = {m: length_mask(n[m], x[m].shape[1]) for m in self.modalities}
        pool = masked_max if self.config.pool == "max" else masked_mean
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

    def early(self, clips: ClipBatch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Run the face network, if any, and the first two convolution blocks of each modality (section 4.5).

        Returns:
            Two dicts: modality -> output steps of the second convolution block for N clips (A1 for audio and V1 for
            video in the paper), [N, T, C] (T steps of C features); modality -> number of steps of each clip, [N].
        """
        x, n = dict(clips.values), dict(clips.lengths)
        if self.faces is not None:
            if not self.config.mask_padding:
                x["visual"], n["visual"] = pad_to_length(x["visual"], n["visual"], FRAMES)
            x["visual"] = self.frames(x["visual"], n["visual"])
        for m in self.modalities:
            for block in self.blocks[m][:2]:  # type: ignore[index]
                x[m], n[m] = block(x[m], n[m])
        return x, n

    def middle(
        self, x: dict[str, Tensor], n: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Run the intermediate fusion (section 4.7), then two more convolution blocks of each modality.

        Returns:
            Two dicts: modality -> output steps of the last convolution block for N clips (A2 for audio and V2 for video
            in the paper), [N, T, C] (T steps of C features); modality -> number of steps of each clip, [N].
        """
        if len(self.modalities) == 2 and self.config.it:
            x = {m: x[m] + self.it[m](x[o], valid[o], x[m], valid[m]) for m, o, valid in self._pairs(x, n)}
        x, n = dict(x), dict(n)
        for m in self.modalities:
            for block in self.blocks[m][2:]:  # type: ignore[index]
                x[m], n[m] = block(x[m], n[m])
        return x, n

    def exchanged(self, x: dict[str, Tensor], n: dict[str, Tensor]) -> dict[str, Tensor]:
        """Update each stream (modality) by attention to the other one (section 4.8); a single modality is unchanged."""
        if len(self.modalities) < 2 or not self.config.exchange:
            return x
        return {m: self.exchange[m](x[m], valid[m], x[o], valid[o]) for m, o, valid in self._pairs(x, n)}

    def _pairs(self, x: dict[str, Tensor], n: dict[str, Tensor]) -> list[tuple[str, str, dict[str, Tensor]]]:
        """Return a tuple for each modality: its name, the other modality's name, and a dict modality -> mask."""
        valid = {m: length_mask(n[m], x[m].shape[1]) for m in self.modalities}
        return [(m, self._other(m), valid) for m in self.modalities]

    def frames(self, crops: Tensor, lengths: Tensor) -> Tensor:
        """Turn face crops into frame vectors (section 4.5); padding is skipped, and its vectors are 0.

        Args:
            crops: T face crops of each of N clips, [N, T, 224, 224, 3].
            lengths: number of face crops of each clip, [N].

        Returns:
            Frame vectors, [N, T, width].
        """
        assert self.faces is not None
        mask = length_mask(lengths, crops.shape[1])
        clips = scale_pixels(crops)
        if self.training and self.config.augment:
            clips = augment_frames(clips)
        clips = normalize_frames(
            clips, self.config.video_normalize == "affectnet", self.config.channels == "bgr"
        )
        f = clips.new_zeros(*mask.shape, self.faces.width)
        if mask.any():
            if self.config.freeze_backbone:
                self.faces.eval()
            f = f.masked_scatter(mask.unsqueeze(-1), self.faces(clips[mask]))
        return f

    def _other(self, modality: str) -> str:
        return next((m for m in self.modalities if m != modality), modality)


def _shortest(stride: int) -> int:
    """Return the smallest number of audio frames of a clip that leaves one step after four convolution blocks.

    `stride` is the stride of the max pooling in each block.
    """
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


def _checkpoints(config: AvtcaConfig, modalities: Collection[str]) -> list[str]:
    return ["efficientface"] if config.backbone_weights == "affectnet7" and "visual" in modalities else []


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
    recipes=RECIPES,
    roles={"audio": ("audio",), "visual": ("visual",)},
    checkpoints=_checkpoints,
)
