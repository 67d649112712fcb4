"""AVT-CA: Multimodal Emotion Recognition using Audio-Video Transformer Fusion with Cross Attention (arXiv 2407.18552).

The model classifies every utterance alone, as a clip. Audio is a sequence of MFCC frames. Video is a sequence of frame
vectors (from a frozen network) or of face crops (whose network is trained too). Numbers of equations, algorithms,
sections and choices (A1, A2, ...) are those of docs/papers/avtca.md.
"""

from collections.abc import Collection
from typing import Any, Final

import torch
from torch import Tensor, nn

from fusion.data.batches import Batch
from fusion.data.ragged import scatter_to_grid
from fusion.layers.clips import ClipBatch, dense_clips, pad_to_length, weaken_modalities
from fusion.layers.label_losses import Loss
from fusion.layers.masked import (
    ConvBlock,
    length_mask,
    masked_max,
    masked_mean,
)
from fusion.models.avtca.attention import Exchange, Intermediate, StreamAttention
from fusion.models.avtca.config import RECIPES, AvtcaConfig
from fusion.models.avtca.face_frames import FaceFrames, augment_frames, normalize_frames, scale_pixels
from fusion.models.base import ModelEntry, Widths, in_order

CROPS: Final = 3  # last dimension of face crops: the colours
FRAMES: Final = 15  # face crops of a clip that is long enough
WHOLE: Final = {"audio": (64, 128, 256, 128), "visual": (64, 64, 128, 128)}  # width after each block


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
        """Pair the modalities for attention: for each, its name, the other one's name, and a dict modality -> mask."""
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
