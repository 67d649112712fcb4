"""AMuSE: Adaptive Multimodal Analysis for Speaker Emotion Recognition in Group Conversations.

Each modality (words, frames, audio segments) has an encoder. Attention then adds the other modalities (towers), a
closed-form rule mixes the modalities, and LSTMs add the context of the dialogue and of each speaker. Numbers of
equations, sections and choices (A-1, A-2, ...) are those of docs/papers/amuse.md.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn

from ercache.training.losses import IGNORED, masked_cross_entropy
from fusion.data.batches import Batch
from fusion.data.ragged import scatter_to_grid
from fusion.data.stages import Pool, Stage
from fusion.layers.clips import ClipBatch, dense_clips
from fusion.layers.label_losses import Loss, printed_focal
from fusion.layers.length_buckets import map_by_bucket
from fusion.layers.masked import masked_mean, run_lstm
from fusion.models.amuse.config import RECIPES, AmuseConfig, marks_of
from fusion.models.amuse.contrast import contrastive_loss
from fusion.models.amuse.mixing import closed_form, mix, mix_modalities
from fusion.models.amuse.peripheral import Encoder, Stream, Towers, lstm
from fusion.models.amuse.speaker_context import merge_speakers, split_by_speaker
from fusion.models.base import ModelEntry, Widths

# in the paper's order: text, visual, audio
ROLES: Final[dict[str, tuple[str, ...]]] = {
    "text": ("text",),
    "visual": ("face", "back"),
    "audio": ("audio",),
}
TINY: Final = 1e-12  # lower bound of a probability before its logarithm
CHAIN: Final = ("audio", "visual", "text")  # order of the chain (4.3)
FARTHER: Final = 1.25  # an utterance is hard if a step of FARTHER * eps changes its prediction (5.2)


class Descriptors(nn.Module):
    """Turns each modality of an utterance into one vector, the descriptor.

    Each modality has an encoder. With the switch `man`, it also has a tower, which attends to the other modalities.

    The first of the two training stages, stage A, trains only this module.
    """

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
        """Compute the descriptors of the N utterances of a batch that have at least one step.

        Returns:
            Four values: int [N], the position of each utterance in the flattened batch [B * L] of B dialogues with L
            utterances; bool [N, M], which of M modalities the utterance has; a list with the descriptors [N, d] of each
            modality (d values each; 0 where the modality is absent); a list with the logits [N, C] for C classes of
            each modality's classifier (head Q_m), which is empty if the switch `man` is off.
        """
        places, clips = dense_clips(batch, {r: 1 for roles in self.roles.values() for r in roles})
        lengths = torch.stack(list(clips.lengths.values())).sum(0)
        present, *found = map_by_bucket(lengths, lambda ranks: self._of_clips(clips.select(ranks)))
        return places, present, found[: len(self.roles)], found[len(self.roles) :]

    def _of_clips(self, clips: ClipBatch) -> list[Tensor]:
        streams = []
        for m, roles in self.roles.items():
            stream: Stream = self.encoders[m]([(clips.values[r], clips.lengths[r]) for r in roles])
            streams.append(stream)
        present = torch.stack([s.mask.any(1) for s in streams], 1)
        if self.towers is None:
            return [present, *(masked_mean(s.values, s.mask) for s in streams)]
        f: list[Tensor] = self.towers(streams)
        return [present, *f, *(Q(x) for Q, x in zip(self.towers.Q, f, strict=True))]


class Amuse(nn.Module):
    """The AMuSE model. Inputs (all optional): `text` (words), `face` and `back` (video frames), `audio` (segments).

    Training has two stages. Stage A trains the descriptors of single utterances: each modality has a classifier (head),
    and the model's logits are the log of the heads' mean probability. Stage B trains fusion and context; the
    descriptors are frozen unless the switch `joint` is on. A new model is in stage B.
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
        """Yield the training stages: stage A on single utterances, then stage B.

        Stage A exists only if the switch `man` is on and `man_epochs` is above 0.
        """
        config = self.config
        if config.man and config.man_epochs:
            self.stage.fill_(0)
            own = {"epochs": config.man_epochs, "batch": config.man_batch, "lr": config.man_lr}
            yield Stage(stage.training.model_copy(update=own), replace(stage.window, history=1))
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
        """Whether training changes the descriptors: in stage A, or if the switch `joint` is on or `man` is off."""
        return not bool(self.stage) or self.config.joint or not self.config.man

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch: B dialogues, L utterances, C classes."""
        return self._logits(batch, *self._described(batch))

    def objective(self, batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        """Compute the training loss of a batch, and the number of labels.

        Stage A uses L = lambda L_ACE + L_fl: contrastive loss, and focal loss of the modalities' heads. Stage B uses
        the loss of the experiment; if the switch `joint` is on, it adds L.
        """
        described = self._described(batch)
        if not bool(self.stage):
            return self.attention_loss(batch, *described), int((batch.labels != IGNORED).sum())
        loss, count = measure(self._logits(batch, *described, gold=True), batch.labels)
        if self.config.joint and self.config.man:
            loss = loss + self.attention_loss(batch, *described)
        return loss, count

    def flips(self, batch: Batch) -> Tensor:
        """Return whether the prediction for an utterance changes if eps in Eq. 6 (the step size) grows by 25 %.

        Returns:
            bool [B, L] for B dialogues with L utterances.
        """
        described = self._described(batch)
        near, far = (self._logits(batch, *described, times=x).argmax(-1) for x in (1.0, FARTHER))
        return near != far

    def attention_loss(
        self, batch: Batch, places: Tensor, present: Tensor, f: list[Tensor], heads: list[Tensor]
    ) -> Tensor:
        """Compute the loss of stage A, L = lambda L_ACE + L_fl (section 5.1), over the labelled utterances of a batch.

        L_ACE is the contrastive loss between modalities, L_fl the focal loss of the modalities' classifiers (heads).

        Args:
            batch: the batch.
            places, present, f, heads: the four values that `Descriptors.forward` returns for this batch.
        """
        config, everyone = self.config, max(1, int((batch.labels != IGNORED).sum()))
        labels = batch.labels.flatten()[places]
        known = labels != IGNORED
        ace = contrastive_loss(
            [x[known] for x in f], present[known], everyone, config.negatives, config.tau, config.nce
        )
        loss = config.lambda_ace * ace
        if config.focal:
            for m, logits in enumerate(heads):
                own = labels.where(present[:, m], IGNORED)
                if bool((own != IGNORED).any()):
                    focal = printed_focal if config.focal_form == "printed" else masked_cross_entropy
                    value, count = focal(logits[None], own[None], config.gamma)
                    loss = loss + value * count / (everyone * len(heads))
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
            return scatter_to_grid(mean.clamp(min=TINY).log(), places, batch.mask)
        labels = None
        if gold and self.training and self.config.label_train == "gold":
            labels = batch.labels.flatten()[places]
        A = self.fused(f, present, heads, labels, times)
        return self.classified(scatter_to_grid(A, places, batch.mask), batch.speakers, batch.mask)

    def fused(
        self,
        f: list[Tensor],
        present: Tensor,
        heads: list[Tensor],
        labels: Tensor | None = None,
        times: float = 1.0,
    ) -> Tensor:
        """Fuse the modalities of N utterances into one vector A(u) for each utterance.

        Args:
            f: for each of M modalities, the descriptors (vectors of size d), [N, d].
            present: bool [N, M]; whether the utterance has the modality.
            heads: for each modality, the logits of its classifier (head) for C classes, [N, C].
            labels: class indices [N] for Eq. 6; None to use the heads' own predictions instead (A-9).
            times: factor on the step size eps of Eq. 6.

        Returns:
            The fused features, [N, M * d]; with `alpha_form: chain`, [N, d].
        """
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
            assert self.descriptors.towers is not None  # the config requires `man` for `fusion: af`
            U: Tensor = self.descriptors.towers.Q[m].weight  # type: ignore[assignment]
            return closed_form(f[m], other, U, p, label, times * config.eps, config.sign)

        if config.alpha_form == "chain":
            return self._chained(f, present, coefficient)
        both = {(i, m): (present[:, i] & present[:, m]).unsqueeze(-1) for i, m in pairs}
        return mix_modalities(f, {(i, m): coefficient(i, m, f[i]) * both[i, m] for i, m in pairs})

    def _chained(self, f: list[Tensor], present: Tensor, coefficient: Any) -> Tensor:
        """Fuse the descriptors of audio, visual and text in this order; modalities that an utterance lacks are skipped.

        This is u2 in section III-E2 of the paper.
        """
        order = [self.modalities.index(m) for m in CHAIN if m in self.modalities]
        u, started = f[order[0]], present[:, order[0]]
        for before, m in pairwise(order):
            here = present[:, m]
            step = mix(f[m], u, coefficient(before, m, u))
            u = torch.where((started & here)[:, None], step, torch.where(here[:, None], f[m], u))
            started = started | here
        return u

    def classified(self, A: Tensor, speakers: Tensor, mask: Tensor) -> Tensor:
        """Classify utterances in their context (section 4.4).

        One LSTM runs over the dialogue, another over each speaker's own utterances; their states are concatenated.
        Sizes: B dialogues, L utterances, D fused features, C classes.

        Args:
            A: fused features of the utterances, [B, L, D].
            speakers: int [B, L]; speaker index of each utterance.
            mask: bool [B, L]; False for padding.

        Returns:
            Logits, [B, L, C].
        """
        states = []
        if "speaker" in self.contexts:
            own, lengths, rows = split_by_speaker(A, speakers, mask)
            states.append(merge_speakers(run_lstm(self.contexts["speaker"], own, lengths), rows, mask))  # type: ignore[arg-type]
        if "dialogue" in self.contexts:
            states.append(run_lstm(self.contexts["dialogue"], A, mask.sum(1)))  # type: ignore[arg-type]
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
    presets={"paper": {}, "base": {}, "small": SMALL},  # `base` is the older name of `paper`
    build=Amuse,
    marks=marks_of,
    widths={"text": 768, "audio": 768, "face": 524, "back": 2048},
    classes=7,
    roles=ROLES,
    recipes=RECIPES,
)
