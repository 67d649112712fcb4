"""AMuSE: Adaptive Multimodal Analysis for Speaker Emotion Recognition in Group Conversations.

Words, frames and segments of every utterance in their own encoders, central towers that take in the other modalities,
a mixture by a closed rule, then the context of the dialogue and of each speaker. Equations and choices (A-..):
docs/papers/amuse.md.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from ercache.training.losses import IGNORED, masked_cross_entropy
from fusion.data.batches import Batch
from fusion.data.ragged import placed
from fusion.data.stages import Pool, Stage
from fusion.layers.clips import Clips, clips_of
from fusion.layers.length_buckets import each_alike
from fusion.layers.losses import Loss, printed_focal
from fusion.layers.masked import average, ran
from fusion.models.amuse.contrast import Nce, agreement
from fusion.models.amuse.mixing import blocks, closed_form, mixed
from fusion.models.amuse.peripheral import Encoder, Scale, Stream, Towers, lstm
from fusion.models.amuse.speaker_context import by_speaker, of_speakers
from fusion.models.base import ModelEntry, Widths

# t, v, a: the order of the paper
ROLES: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text",),
    "visual": ("face", "back"),
    "audio": ("audio",),
}
TINY: Final = 1e-12  # least probability whose logarithm is taken
CHAIN: Final = ("audio", "visual", "text")  # order of the chain (4.3)
FARTHER: Final = 1.25  # times eps: what then flips is informative (5.2)


class AmuseConfig(BaseModel):
    """Switches of AMuSE; where the paper is silent or broken, see docs/papers/amuse.md, sections 9 and 10."""

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
        description="what is trained of the scores: a scale, nothing, or a map of their places (A-7)",
    )
    text_steps: int = Field(128, ge=1, description="longest text whose places fixed_linear maps")
    visual_steps: int = Field(16, ge=1, description="most pictures, likewise, those of both roles together")
    audio_steps: int = Field(61, ge=1, description="longest sound, likewise")
    peripheral: Literal["unimodal", "evolving"] = Field(
        "unimodal", description="what is injected: descriptors, or states of their towers"
    )
    fusion: Literal["af", "concat"] = Field(
        "af",
        description="adaptive fusion (4.3), or side by side",
        json_schema_extra={"paper_row": "MAN rep. + concat"},
    )
    alpha: Literal["closed_form", "random", "equal"] = Field(
        "closed_form", description="coefficients of the mixture", json_schema_extra={"paper_row": "Table III"}
    )
    alpha_form: Literal["pairwise", "chain"] = Field(
        "pairwise", description="Eq. 2, or one after the other (A-10)"
    )
    eps: float = Field(0.2, gt=0, description="size of the step of Eq. 6")
    sign: Literal[1, -1] = Field(1, description="1 as printed: the step raises the loss")
    label_train: Literal["pseudo", "gold"] = Field(
        "pseudo", description="label of Eq. 6 in training; never gold elsewhere (A-9)"
    )
    equal_value: float = Field(0.5, ge=0, le=1, description="of equal coefficients (A-12)")
    mining: Literal["off", "train_pool", "val_pool"] = Field(
        "train_pool",
        description="from where utterances that a step 1.25 eps long flips join the next epoch (5.2);"
        " val_pool contaminates (A-11)",
    )
    pool: float = Field(
        0.1, gt=0, lt=1, description="share of train's dialogues in train_pool, else left out"
    )
    context: Literal["both", "dialogue", "speaker"] = Field("both", description="of an utterance (4.4)")
    direction: Literal["bi", "uni"] = Field("bi", description="of the context; uni hears the past alone")
    context_dim: int = Field(256, ge=2, multiple_of=2, description="of each context state")
    sa_layers: int = Field(2, ge=0, description="self-attention of the encoders (4.1)")
    text_lstm: int = Field(384, ge=1, description="hidden units a direction, of words")
    visual_lstm: int = Field(256, ge=1, description="of faces and of backgrounds")
    audio_lstm: int = Field(384, ge=1, description="of segments of sound")
    text_dim: int = Field(768, ge=1, description="width of the descriptor of text")
    visual_dim: int = Field(512, ge=1, description="of that of pictures")
    audio_dim: int = Field(768, ge=1, description="of that of sound")
    gamma: float = Field(
        1.0,
        ge=0,
        description="of the focal loss of the heads (Eq. 5)",
        json_schema_extra={"paper_row": "Table IV"},
    )
    focal: bool = Field(True, description="that loss")
    focal_form: Literal["log", "printed"] = Field("log", description="its form (A-4)")
    lambda_ace: float = Field(1.0, ge=0, description="weight of the contrastive loss (Eq. 3)")
    nce: Nce = Field("posterior", description="form of its terms (A-8)")
    tau: float = Field(0.1, gt=0, description="its temperature")
    negatives: int = Field(32, ge=1, description="of an utterance, at most")
    man_epochs: int = Field(30, ge=0, description="of stage A, before fusion and context are trained (5.2)")
    man_batch: int = Field(64, ge=1, description="utterances of a batch of stage A")
    man_lr: float = Field(1e-4, gt=0, description="rate of stage A")
    joint: bool = Field(False, description="afterwards go on training all of it, with both losses")
    dropout: float = Field(0.3, ge=0, lt=1, description="everywhere")
    allow_broken: bool = Field(False, description="whether `printed` forms may be trained")

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
    """What must stand beside every result of a config."""
    return ["contaminated: trained on validation (mining: val_pool)"] if config.mining == "val_pool" else []


class Descriptors(nn.Module):
    """Everything before fusion, which stage A trains: encoders and, if there are any, towers."""

    def __init__(self, widths: Widths, classes: int, config: AmuseConfig) -> None:
        super().__init__()
        self.roles = {
            m: [r for r in roles if r in widths]
            for m, roles in ROLES.items()
            if any(r in widths for r in roles)
        }
        dims = {m: getattr(config, f"{m}_dim") for m in self.roles}
        self.encoders = nn.ModuleDict(
            {
                m: Encoder(
                    [widths[r] for r in roles],
                    getattr(config, f"{m}_lstm"),
                    dims[m],
                    config.sa_layers,
                    config.dropout,
                )
                for m, roles in self.roles.items()
            }
        )
        self.towers: Towers | None = None
        self.width = sum(dims.values())
        if config.man:
            self.towers = Towers(
                list(dims.values()),
                classes,
                config.man_dim,
                config.man_layers,
                config.man_heads,
                config.score_scale,
                [getattr(config, f"{m}_steps") for m in self.roles],
                config.peripheral == "evolving",
                config.dropout,
            )
            self.width = config.man_dim * len(dims)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """Places [N] in the grid of utterances that have anything, which modalities [N, M] they have, f and logits.

        The descriptors f are [N, d] for each modality, 0 where it is absent; the logits of Q_m [N, C].
        """
        places, clips = clips_of(batch, {r: 1 for roles in self.roles.values() for r in roles})
        lengths = torch.stack(list(clips.lengths.values())).sum(0)
        present, *found = each_alike(lengths, lambda ranks: self._of_clips(clips.at(ranks)))
        return places, present, found[: len(self.roles)], found[len(self.roles) :]

    def _of_clips(self, clips: Clips) -> list[Tensor]:
        streams = []
        for m, roles in self.roles.items():
            stream: Stream = self.encoders[m]([(clips.values[r], clips.lengths[r]) for r in roles])
            streams.append(stream)
        present = torch.stack([s.mask.any(1) for s in streams], 1)
        if self.towers is None:
            return [present, *(average(s.values, s.mask) for s in streams)]
        f: list[Tensor] = self.towers(streams)
        return [present, *f, *(Q(x) for Q, x in zip(self.towers.Q, f, strict=True))]


class Amuse(nn.Module):
    """Words `text`, `face` frames, `back` frames and segments `audio` to logits; any modality may be left out.

    In stage A logits are those of the mean of the heads; in stage B, where a new model is, descriptors are frozen
    unless `joint`.
    """

    stage: Tensor
    random: Tensor

    def __init__(self, widths: Widths, classes: int, config: AmuseConfig) -> None:
        super().__init__()
        self.config = config
        self.descriptors = Descriptors(widths, classes, config)
        self.modalities = list(self.descriptors.roles)
        one = config.fusion == "af" and config.alpha_form == "chain"
        i, h = config.man_dim if one else self.descriptors.width, config.context_dim
        both_ways = config.direction == "bi"
        uses = ("dialogue", "speaker") if config.context == "both" else (config.context,)
        self.contexts = nn.ModuleDict({u: lstm(i, h // 2 if both_ways else h, both_ways) for u in uses})
        self.drop, self.W = nn.Dropout(config.dropout), nn.Linear(h * len(uses), classes)
        self.register_buffer("random", torch.rand(len(self.modalities)))  # r of Test-1
        self.register_buffer("stage", torch.tensor(1))

    def stages(self, stage: Stage) -> Iterator[Stage]:
        """Stage A (0) on single utterances where there are heads to train before, then stage B (1)."""
        config = self.config
        if config.man and config.man_epochs:
            self.stage.fill_(0)
            own = {"epochs": config.man_epochs, "batch": config.man_batch, "lr": config.man_lr}
            yield Stage(stage.training.model_copy(update=own), replace(stage.view, history=1))
        self.stage.fill_(1)
        yield replace(stage, pool=self._pool())

    def _pool(self) -> Pool | None:
        config = self.config
        flips = config.fusion == "af" and config.alpha == "closed_form" and len(self.modalities) > 1
        if config.mining == "off" or not flips:
            return None
        return Pool(config.pool if config.mining == "train_pool" else None)

    @property
    def learns_all(self) -> bool:
        """Whether gradients go into the descriptors: in stage A, jointly, and where nothing trained them before."""
        return not bool(self.stage) or self.config.joint or not self.config.man

    def forward(self, batch: Batch) -> Tensor:
        """Logits [B, L, C]."""
        return self._logits(batch, *self._described(batch))

    def objective(self, batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        """Stage A: L = lambda L_ACE + L_fl. Stage B: the experiment's loss of the logits; jointly, both."""
        described = self._described(batch)
        if not bool(self.stage):
            return self.attention_loss(batch, *described), int((batch.labels != IGNORED).sum())
        loss, count = measure(self._logits(batch, *described, gold=True), batch.labels)
        if self.config.joint and self.config.man:
            loss = loss + self.attention_loss(batch, *described)
        return loss, count

    def flips(self, batch: Batch) -> Tensor:
        """Whose prediction another length of the step of Eq. 6 changes, bool [B, L]."""
        described = self._described(batch)
        near, far = (self._logits(batch, *described, times=x).argmax(-1) for x in (1.0, FARTHER))
        return near != far

    def attention_loss(
        self, batch: Batch, places: Tensor, present: Tensor, f: list[Tensor], heads: list[Tensor]
    ) -> Tensor:
        """L of stage A (5.1) over the utterances of the batch that have a label; the others are context."""
        config, everyone = self.config, max(1, int((batch.labels != IGNORED).sum()))
        labels = batch.labels.flatten()[places]
        asked = labels != IGNORED
        ace = agreement(
            [x[asked] for x in f], present[asked], everyone, config.negatives, config.tau, config.nce
        )
        loss = config.lambda_ace * ace
        if config.focal:
            for m, logits in enumerate(heads):
                own = labels.where(present[:, m], IGNORED)
                if bool((own != IGNORED).any()):
                    focal = printed_focal if config.focal_form == "printed" else masked_cross_entropy
                    told, count = focal(logits[None], own[None], config.gamma)
                    loss = loss + told * count / (everyone * len(heads))
        return loss

    def _described(self, batch: Batch) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        if self.learns_all:
            found: tuple[Tensor, Tensor, list[Tensor], list[Tensor]] = self.descriptors(batch)
            return found
        training = self.descriptors.training
        self.descriptors.eval()
        with torch.no_grad():
            found = self.descriptors(batch)
        self.descriptors.train(training)
        return found

    def _logits(
        self,
        batch: Batch,
        places: Tensor,
        present: Tensor,
        f: list[Tensor],
        heads: list[Tensor],
        gold: bool = False,
        times: float = 1.0,
    ) -> Tensor:
        if not bool(self.stage):
            p = torch.stack([x.softmax(1) for x in heads], 1) * present.unsqueeze(-1)
            mean = p.sum(1) / present.sum(1, keepdim=True).clamp(min=1)
            return placed(mean.clamp(min=TINY).log(), places, batch.mask)
        labels = None
        if gold and self.training and self.config.label_train == "gold":
            labels = batch.labels.flatten()[places]
        A = self.fused(f, present, heads, labels, times)
        return self.classified(placed(A, places, batch.mask), batch.speakers, batch.mask)

    def fused(
        self,
        f: list[Tensor],
        present: Tensor,
        heads: list[Tensor],
        labels: Tensor | None = None,
        times: float = 1.0,
    ) -> Tensor:
        """A(u), [N, |M| d], or [N, d] of a chain; labels only where Eq. 6 may read them (A-9); `times` eps."""
        config = self.config
        if config.fusion == "concat":
            return torch.cat(f, -1)
        pairs = [(i, m) for m in range(len(f)) for i in range(len(f)) if i != m]

        def coefficient(i: int, m: int, other: Tensor) -> Tensor:
            if config.alpha == "random":
                return self.random[i].expand_as(other)
            if config.alpha == "equal":
                return torch.full_like(other, config.equal_value)
            p = heads[m].softmax(1)
            label = p.argmax(1)
            if labels is not None:
                label = labels.where(labels != IGNORED, label)
            assert self.descriptors.towers is not None  # the config says so
            U: Tensor = self.descriptors.towers.Q[m].weight  # type: ignore[assignment]
            return closed_form(f[m], other, U, p, label, times * config.eps, config.sign)

        if config.alpha_form == "chain":
            return self._chained(f, present, coefficient)
        both = {(i, m): (present[:, i] & present[:, m]).unsqueeze(-1) for i, m in pairs}
        return blocks(f, {(i, m): coefficient(i, m, f[i]) * both[i, m] for i, m in pairs})

    def _chained(self, f: list[Tensor], present: Tensor, coefficient: Any) -> Tensor:
        """u2 of section III-E2; absent modalities are left out of the chain."""
        order = [self.modalities.index(m) for m in CHAIN if m in self.modalities]
        u, begun = f[order[0]], present[:, order[0]]
        for before, m in pairwise(order):
            here = present[:, m]
            step = mixed(f[m], u, coefficient(before, m, u))
            u = torch.where((begun & here)[:, None], step, torch.where(here[:, None], f[m], u))
            begun = begun | here
        return u

    def classified(self, A: Tensor, speakers: Tensor, mask: Tensor) -> Tensor:
        """Logits of e_l = s_l + d_l side by side (4.4); A: [B, L, D]."""
        states = []
        if "speaker" in self.contexts:
            own, lengths, rows = by_speaker(A, speakers, mask)
            states.append(of_speakers(ran(self.contexts["speaker"], own, lengths), rows, mask))  # type: ignore[arg-type]
        if "dialogue" in self.contexts:
            states.append(ran(self.contexts["dialogue"], A, mask.sum(1)))  # type: ignore[arg-type]
        logits: Tensor = self.W(self.drop(torch.cat(states, -1)))
        return logits


SMALL: Final[dict[str, Any]] = {
    "text_dim": 128, "audio_dim": 128, "visual_dim": 128, "text_lstm": 64, "audio_lstm": 64, "visual_lstm": 64,
    "context_dim": 128, "man_dim": 128, "man_heads": 2, "man_epochs": 0, "joint": True,
}  # fmt: skip

ENTRY = ModelEntry(
    key="amuse",
    paper="AMuSE: Adaptive Multimodal Analysis for Speaker Emotion Recognition in Group Conversations",
    tasks=("erc", "epc"),
    modalities=("text", "audio", "visual"),
    config=AmuseConfig,
    presets={"base": {}, "small": SMALL},
    build=Amuse,
    marks=marks_of,
    widths={"text": 768, "audio": 768, "face": 524, "back": 2048},
    classes=7,
    paper_encoders={
        "text": "text/mpnet",
        "audio": "audio/passt",
        "visual": "visual/jaa-net",
        "face": "visual/jaa-net",
        "back": "visual/back-resnet50",
    },
    roles=ROLES,
    paper_training={
        "base": {
            "epochs": 60,
            "patience": 8,
            "batch": 16,
            "optimizer": "adamw",
            "lr": 5e-4,
            "weight_decay": 1e-4,
            "clip": 1.0,
            "gamma": 1.0,
            "schedule": "cosine",
            "warmup": 0.05,
            "standardize": False,
        }
    },
)
