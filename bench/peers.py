"""Fusion networks, written as research code usually is: the reference of bench/fusion.py.

A DataLoader stacks and pads the utterances of each batch. Recurrent networks loop over directions, turns and
participants, with one cell call for each. Attention weights are computed explicitly, and the optimizer is torch's
default. Each function computes the logits of one of ercache's models from the weights of this model; they agree with
the model's own logits to 1e-5.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from fusion.data.batches import Batch, Subset
from fusion.models.avafn.model import Avafn
from fusion.models.dialogue_rnn import DialogueRnn
from fusion.models.m2fnet import M2FNet
from fusion.models.mmgcn import NEAREST, Mmgcn

Forward = Callable[[Any, Batch], Tensor]
IGNORED: Final = -100


class Conversations(Dataset[dict[str, Any]]):
    """A torch dataset of dialogues, written as in research code.

    It holds a list of utterance indices for each dialogue, and a dict utterance index -> feature vector for each
    modality.
    """

    def __init__(self, subset: Subset) -> None:
        ends = subset.offsets.tolist()
        self.dialogues = [list(range(a, b)) for a, b in itertools.pairwise(ends)]
        self.features = {
            m: dict(enumerate(row.numpy() for row in values)) for m, values in subset.features.items()
        }
        self.present = {m: dict(enumerate(values.tolist())) for m, values in subset.present.items()}
        self.speakers, self.labels = subset.speakers.tolist(), subset.labels.tolist()

    def __len__(self) -> int:
        return len(self.dialogues)

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = self.dialogues[index]
        return {
            "features": {
                m: torch.stack([torch.from_numpy(vectors[i]) for i in ids])
                for m, vectors in self.features.items()
            },
            "present": {m: torch.tensor([has[i] for i in ids]) for m, has in self.present.items()},
            "speakers": torch.tensor([self.speakers[i] for i in ids]),
            "labels": torch.tensor([self.labels[i] for i in ids]),
        }


def collate(items: Sequence[dict[str, Any]]) -> Batch:
    """Join the items of several dialogues (the dataset's dicts) into a `Batch`, padded to the longest dialogue."""

    def padded(values: list[Tensor], fill: float = 0.0) -> Tensor:
        return pad_sequence(values, batch_first=True, padding_value=fill)

    names = list(items[0]["features"])
    return Batch(
        features={m: padded([item["features"][m] for item in items]) for m in names},
        present={m: padded([item["present"][m] for item in items]) for m in names},
        mask=padded([torch.ones(len(item["labels"]), dtype=torch.bool) for item in items]),
        speakers=padded([item["speakers"] for item in items]),
        labels=padded([item["labels"] for item in items], IGNORED),
    )


def loader(subset: Subset, size: int) -> DataLoader[dict[str, Any]]:
    """Make a DataLoader that yields batches of `size` dialogues in random order."""
    return DataLoader(Conversations(subset), batch_size=size, shuffle=True, collate_fn=collate)


def reverse(x: Tensor, mask: Tensor) -> Tensor:
    """Reverse the turns of each dialogue in time; padding stays at the end.

    Args:
        x: any values of the turns of B dialogues with L turns, [B, L, ...].
        mask: bool [B, L]; False for padding.
    """
    parts = [row[: int(n)].flip(0) for row, n in zip(x, mask.sum(1), strict=True)]
    return F.pad(
        pad_sequence(parts, batch_first=True),
        (0, 0) * (x.dim() - 2) + (0, x.shape[1] - max(map(len, parts))),
    )


def dialogue_rnn(model: DialogueRnn, batch: Batch) -> Tensor:
    """Compute the logits [B, L, C] of a DialogueRNN without listener cell, turn by turn, from the model's weights.

    Sizes: B dialogues, L utterances, C classes.
    """
    names = [m for m in ("text", "audio", "visual") if m in batch.features]
    flags = [batch.present[m].unsqueeze(-1).float() for m in names]
    u = model.dropout(torch.cat([*(batch.features[m] for m in names), *flags], dim=-1))
    query = model.W_alpha(u).chunk(2, dim=-1)
    e = [_dialogue_rnn_direction(model, 0, u, query[0], batch.speakers)]
    turned = [reverse(x, batch.mask) for x in (u, query[1], batch.speakers)]
    e.append(reverse(_dialogue_rnn_direction(model, 1, *turned), batch.mask))
    emotions = torch.cat(e, dim=-1)
    if model.W_beta is not None:
        scores = model.W_beta(emotions) @ emotions.mT
        beta = scores.masked_fill(~batch.mask.unsqueeze(1), -math.inf).softmax(-1)
        emotions = beta @ emotions
    logits: Tensor = model.W_smax(model.dropout(model.W_l(emotions).relu()))
    return logits


def _dialogue_rnn_direction(model: DialogueRnn, r: int, u: Tensor, query: Tensor, speakers: Tensor) -> Tensor:
    c, (B, L, _) = model.config, u.shape
    parties = int(speakers.max()) + 1
    q = [u.new_zeros(B, c.D_p) for _ in range(parties)]
    g, e = u.new_zeros(B, c.D_g), u.new_zeros(B, c.D_e)
    history: list[Tensor] = []
    found = []
    for t in range(L):
        speaking = F.one_hot(speakers[:, t], parties).float()
        before = sum((speaking[:, j, None] * q[j] for j in range(parties)), start=torch.zeros(()))
        context = u.new_zeros(B, c.D_g)
        if history:
            past = torch.stack(history, dim=1)  # [B, t, D_g]
            alpha = torch.bmm(past, query[:, t].unsqueeze(-1)).softmax(1)
            context = torch.bmm(alpha.mT, past).squeeze(1)
        g = model.state_dropout(model.GRU_G[r](torch.cat([u[:, t], before], dim=1), g))
        for j in range(parties):
            said = model.state_dropout(model.GRU_P[r](torch.cat([u[:, t], context], dim=1), q[j]))
            q[j] = speaking[:, j, None] * said + (1 - speaking[:, j, None]) * q[j]
        after = sum((speaking[:, j, None] * q[j] for j in range(parties)), start=torch.zeros(()))
        e = model.GRU_E[r](after, e)
        history.append(g)
        found.append(e)
    return torch.stack(found, dim=1)


def avafn(model: Avafn, batch: Batch) -> Tensor:
    """Compute the logits of an AVAFN with default switches, turn by turn and participant by participant.

    Returns:
        [B, L, C] for B dialogues, L utterances and C classes.
    """
    H = model.enter(batch)
    cam, fuse = model.cam, model.fuse
    assert cam is not None and fuse is not None
    crossed = {}
    for m, o in (("audio", "visual"), ("visual", "audio")):
        Q, K, V = cam.W_Q[m](H[m]), cam.W_K[o](H[o]), cam.W_V[o](H[o])
        scores = Q @ K.mT / math.sqrt(Q.shape[-1])
        keys = (batch.mask & batch.present[o]).unsqueeze(1)
        keys = keys.where(keys.any(-1, keepdim=True), batch.mask.unsqueeze(1))
        weights = F.dropout(scores.masked_fill(~keys, -math.inf).softmax(-1), cam.dropout, model.training)
        H_LN = cam.norm[m](H[m] + weights @ V)
        crossed[m] = cam.norm_c[m](H_LN + cam.FFN[m](H_LN))
    u = fuse(crossed, {}) + model.residual["audio"](H["audio"]) + model.residual["visual"](H["visual"])
    u, v = model.dropout(u), H["visual"]
    people = F.one_hot(batch.speakers, int(batch.speakers.max()) + 1) * batch.mask.unsqueeze(-1)
    here = people.any(1).float()  # [B, P]
    E = [_avafn_direction(model, 0, u, v, batch.speakers, here)]
    turned = [reverse(x, batch.mask) for x in (u, v, batch.speakers)]
    E.append(reverse(_avafn_direction(model, 1, *turned, here), batch.mask))
    logits: Tensor = model.W_smax(model.dropout(torch.cat(E, dim=-1)))
    return logits


def _avafn_direction(model: Avafn, r: int, u: Tensor, v: Tensor, speakers: Tensor, here: Tensor) -> Tensor:
    part, c = model.recurrence, model.config
    (B, L, _), people = u.shape, here.shape[1]
    q = [u.new_zeros(B, c.D_q) for _ in range(people)]
    C, E = u.new_zeros(B, c.D_c), u.new_zeros(B, c.D_e)
    history: list[Tensor] = []
    found = []
    for t in range(L):
        speaking = F.one_hot(speakers[:, t], people).float()
        before = sum((speaking[:, j, None] * q[j] for j in range(people)), start=torch.zeros(()))
        C = part.GRU_C[r](torch.cat([u[:, t], before], dim=1), C)
        ac = u.new_zeros(B, c.D_c)
        if history:
            past = torch.stack(history, dim=1)  # [B, t, D_c]
            w = torch.tanh(part.W[r](past)).softmax(1)
            ac = (w * past).sum(1)
        q_i = part.GRU_S[r](torch.cat([ac, u[:, t]], dim=1), before)
        for j in range(people):
            heard = part.GRU_L[r](torch.cat([v[:, t], u[:, t]], dim=1), q[j])
            q[j] = speaking[:, j, None] * q_i + (1 - speaking[:, j, None]) * heard
        listening = here * (1 - speaking)
        total = sum((listening[:, j, None] * q[j] for j in range(people)), start=torch.zeros(()))
        qL = total / listening.sum(1, keepdim=True).clamp(min=1)
        E = part.GRU_E[r](torch.cat([C, q_i, qL], dim=1), E)
        history.append(C)
        found.append(E)
    return torch.stack(found, dim=1)


def m2fnet(model: M2FNet, batch: Batch) -> Tensor:
    """Compute the logits of an M2FNet with attention fusion and residuals, with explicit attention weights.

    Returns:
        [B, L, C] for B dialogues, L utterances and C classes.
    """
    F_x, blocked = {}, {}
    for m in model.names:
        x = batch.features[m]
        if m in model.project:
            x = model.project[m](x) * batch.present[m].unsqueeze(-1)
        usable = batch.mask & batch.present[m]
        blocked[m] = ~usable.where(usable.any(1, keepdim=True), batch.mask)
        for layer in model.encoders[m].layers:
            x = x + layer(x, src_key_padding_mask=blocked[m])
        F_x[m] = x
    X = F_x[model.names[0]]
    for fusion in model.fusion:
        parts = []
        for name, attend in fusion.attention.items():
            out, _weights = attend(X, F_x[name], X, key_padding_mask=blocked[name])
            parts.append(out)
        X = fusion.norm(X + fusion.dropout(fusion.W_f(torch.cat(parts, dim=-1))))
    final = torch.cat([X, *(F_x[m] for m in model.names[1:])], dim=-1)
    logits: Tensor = model.FC_2(model.dropout(model.FC_1(final).relu()))
    return logits


def mmgcn(model: Mmgcn, batch: Batch) -> Tensor:
    """Compute the logits of an MMGCN; the graphs of the dialogues are built one after the other.

    Returns:
        [B, L, C] for B dialogues, L utterances and C classes.
    """
    h = model.nodes(batch)
    M = len(model.names)
    rows = []
    for b, n in enumerate(batch.mask.sum(1).tolist()):
        x = h[b, :, :n].flatten(0, 1)
        here = torch.stack([batch.present[m][b, :n] for m in model.names]).flatten()
        A = x.new_zeros(M * n, M * n)
        unit = F.normalize(x, dim=-1)
        weight = 1 - (unit @ unit.T).clamp(-NEAREST, NEAREST).arccos() / math.pi
        linked = torch.zeros(M * n, M * n, dtype=torch.bool)
        for i in range(M):
            linked[i * n : (i + 1) * n, i * n : (i + 1) * n] = True
            for j in range(M):
                for t in range(n):
                    linked[i * n + t, j * n + t] = True
        linked &= here[:, None] & here
        A = weight * linked
        scale = A.sum(-1).clamp(min=1e-6).rsqrt()
        P = scale[:, None] * A * scale
        H = H_0 = model.W_0(model.dropout(x)).relu()
        for rank, W in enumerate(model.W, start=1):
            beta = math.log(model.config.eta / rank + 1)
            mixed = (1 - model.config.alpha) * (P @ model.dropout(H)) + model.config.alpha * H_0
            H = ((1 - beta) * mixed + beta * W(mixed)).relu()
        parts = [x, H] if model.config.input_skip else [H]
        e = torch.cat([p.view(M, n, -1) for p in parts], dim=-1) * here.view(M, n, 1)
        rows.append(e.movedim(0, 1).flatten(1))
    padded = pad_sequence(rows, batch_first=True)
    logits: Tensor = model.out(model.dropout(padded.relu()))
    return logits


def as_it_is(model: nn.Module, batch: Batch) -> Tensor:
    """Compute the logits with the forward pass of ercache's model; so the reference differs only in data loading."""
    logits: Tensor = model(batch)
    return logits


FORWARDS: Final[dict[str, Forward]] = {
    "logistic": as_it_is,
    "concat": as_it_is,
    "bc_lstm": as_it_is,
    "transformer": as_it_is,
    "dialogue_rnn": dialogue_rnn,
    "mmgcn": mmgcn,
    "m2fnet": m2fnet,
    "avafn": avafn,
}
