"""AVAFN: cross-attention between audio and video, then context, speaker, listener and emotion states turn by turn.

Source: docs/papers/avafn.md.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ercache.errors import UsageError
from fusion.data.batches import Batch
from fusion.layers.turns import reversal_rows, to_direction_time
from fusion.models.avafn.config import RECIPES, AvafnConfig
from fusion.models.avafn.cross_attention import CrossAttention, WeightedFusion
from fusion.models.avafn.recurrence import Recurrence
from fusion.models.base import ModelEntry, Widths, in_order


class Avafn(nn.Module):
    """The model of "Mutual Cross-Attention in Dyadic Fusion Networks for Audio-Video Emotion Recognition".

    Our choice where the paper is silent: if an utterance lacks a modality, the modality's mean over the training data
    (or 0, see `enter`) takes its place. The other modality does not attend to this utterance, unless the whole dialogue
    lacks the modality.
    """

    def __init__(self, widths: Widths, classes: int, config: AvafnConfig) -> None:
        super().__init__()
        self.config = config
        self.names = names = in_order(widths)
        if not (config.use_acm or config.use_ssm or config.use_ilm):
            raise UsageError(
                "avafn: use_acm, use_ssm and use_ilm are all off, so the emotion state has no input",
                hint="switch on at least one of them",
            )
        d = config.d_model
        self.project = nn.ModuleDict({m: nn.Linear(widths[m], d) for m in names if widths[m] != d})
        for m in names:  # 0 where features are z-scored
            self.register_buffer(f"mean_{m}", torch.zeros(widths[m]))
        self.cam = CrossAttention(names, config) if config.use_cam else None
        self.fuse = WeightedFusion(names, config) if config.use_cam else None
        self.residual = nn.ModuleDict({m: nn.Sequential(nn.Linear(d, d), nn.LayerNorm(d)) for m in names})
        parts = len(names) + config.use_cam
        self.recurrence = Recurrence(d * parts if config.combine == "concat" else d, config)
        self.dropout = nn.Dropout(config.dropout)
        E, hidden = config.D_e * self.recurrence.directions, config.classifier_hidden
        self.W_smax = (
            nn.Sequential(nn.Linear(E, hidden), nn.ReLU(), nn.Linear(hidden, classes))
            if hidden
            else nn.Linear(E, classes)
        )

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits [B, L, C] of a batch (Eq. 13, before softmax): B dialogues, L utterances, C classes."""
        H = self.enter(batch)
        u = self.dropout(self.joint(H, self.allowed(batch)))
        E = self.recurrence(u, H[self.names[-1]], batch.speakers, batch.mask).E
        logits: Tensor = self.W_smax(self.dropout(torch.cat(E.unbind(0), dim=-1)))
        return logits

    def enter(self, batch: Batch) -> dict[str, Tensor]:
        """Project the features of each modality to size d, if they have another size.

        Where a modality is absent, projected features are 0; unprojected features are the modality's training mean.

        Returns:
            Modality -> features H_a (audio) or H_v (video), [B, L, d], of B dialogues with L utterances.
        """
        H = {}
        for m in self.names:
            x, here = batch.features[m], batch.present[m].unsqueeze(-1)
            # The bias of the projection must not turn an absent modality into a vector.
            H[m] = (
                self.project[m](x) * here
                if m in self.project
                else x.where(here, self.get_buffer(f"mean_{m}"))
            )
        return H

    def set_means(self, means: Mapping[str, Tensor]) -> None:
        """Store the mean feature vector of each modality over the training data; it replaces absent modalities.

        Args:
            means: modality -> mean vector [D] of D features.
        """
        for m in self.names:
            self.get_buffer(f"mean_{m}").copy_(means[m])

    def allowed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the attention masks of a batch: which utterances each utterance may attend to.

        Returns:
            Modality of the keys -> bool [B, L, L] for B dialogues with L utterances (rows attend to columns), or
            [B, 1, L] if all rows are equal.
        """
        L, scope = batch.mask.shape[1], self.config.cam_scope
        own = torch.eye(L, dtype=torch.bool, device=batch.mask.device)
        if scope == "utterance":
            return dict.fromkeys(self.names, own.expand(len(batch.mask), L, L))
        found = {}
        for m in self.names:
            in_scope = batch.mask.unsqueeze(1)
            if scope == "dialogue_causal":
                in_scope = (in_scope & torch.ones_like(own).tril()) | own
            usable = in_scope & batch.present[m].unsqueeze(1)
            found[m] = usable.where(usable.any(-1, keepdim=True), in_scope)
        return found

    def joint(self, H: Mapping[str, Tensor], allowed: Mapping[str, Tensor]) -> Tensor:
        """Fuse the modalities into one vector u for each utterance: cross-attention, and a residual of each modality.

        Args:
            H: modality -> input features, [B, L, d]: B dialogues, L utterances, d features.
            allowed: attention masks, see the method `allowed`.

        Returns:
            Fused features, [B, L, d]; with `combine: concat`, a multiple of d wide.
        """
        parts = [self.residual[m](H[m]) for m in self.names]  # H_a^r, H_v^r
        if self.cam is not None and self.fuse is not None:
            weights = self.cam.weights(H, allowed) if self.fuse.kind == "attention_matrix" else {}
            parts.insert(0, self.fuse(self.cam(H, allowed), weights))
        if self.config.combine == "concat":
            return torch.cat(parts, dim=-1)
        return torch.stack(parts).sum(0)

    @property
    def explains(self) -> bool:
        """Whether this model has the attention weights that a case study shows.

        This needs two modalities with cross-attention, and context attention with one score for each earlier turn.
        """
        c = self.config
        attends = c.use_acm and c.use_context_attention and c.context_attention == "scalar_tanh"
        return self.cam is not None and len(self.names) > 1 and attends

    @torch.no_grad()
    def cross_attention(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-attention weights (Eq. 1 and 2), for case studies; needs the switch `use_cam`.

        Returns:
            Modality -> weights [B, L, L] of B dialogues with L utterances: how much this modality of an utterance (row)
            attends to the other modality of each utterance (column).
        """
        assert self.cam is not None
        return self.cam.weights(self.enter(batch), self.allowed(batch))

    @torch.no_grad()
    def history_weights(self, batch: Batch) -> Tensor:
        """Return the attention weights (Eq. 9b) of the last turn over the context states of all earlier turns.

        The weights are for case studies. The model needs the switch `context_attention: scalar_tanh`, and all dialogues
        of the batch must have the same length. In the backward direction, the last turn is the dialogue's first one.

        Returns:
            Weights [R, B, L - 1] for R directions and B dialogues of L turns.
        """
        H = self.enter(batch)
        states = self.recurrence(
            self.joint(H, self.allowed(batch)), H[self.names[-1]], batch.speakers, batch.mask
        )
        assert states.C is not None  # without the context state there is no history
        C = to_direction_time(states.C, reversal_rows(batch.mask))
        s = [layer(C[r, :, :-1]).tanh().squeeze(-1) for r, layer in enumerate(self.recurrence.W)]
        return torch.stack(s).softmax(-1)

    def epoch_statistics(self) -> dict[str, float]:
        """Return the learned weights of audio (`alpha`) and video (`beta`) in Eq. 7, to log them after every epoch.

        The result is empty without such weights: if `fusion_weight` is not `learned_scalar`, if `use_cam` is off, or
        with a single modality.
        """
        if self.fuse is None or self.fuse.w is None:
            return {}
        alpha, beta = self.fuse.balance()
        return {"alpha": float(alpha.detach()), "beta": float(beta.detach())}


def _pair_bytes(config: AvafnConfig, _: int) -> float:
    """Return the bytes of memory that training needs for each pair of utterances of a dialogue.

    Cross-attention needs this memory; `context_attention: dot_query` also stores, at every turn, the keys and context
    states of all earlier turns.
    """
    anew = config.D_c + config.d_model if config.context_attention == "dot_query" else 0
    return 32 + 2.5 * anew * (1 + config.bidirectional)


ENTRY = ModelEntry(
    key="avafn",
    paper="Mutual Cross-Attention in Dyadic Fusion Networks for Audio-Video Emotion Recognition (AVAFN)",
    tasks=("erc", "epc"),
    modalities=("audio", "visual"),
    config=AvafnConfig,
    presets={"paper": {}, "small": {"d_model": 32, "d_ff": 64, "D_c": 16, "D_q": 16, "D_e": 8}},
    build=Avafn,
    pair_bytes=_pair_bytes,
    widths={"audio": 1024, "visual": 1024},
    recipes=RECIPES,
)
