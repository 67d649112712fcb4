"""AVAFN, written literally from the equations of docs/papers/avafn.md, for one dialogue and with the default switches.

It uses loops over turns and participants. It shares only the parameters with the fast model that the tests check.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion.models.avafn.model import Avafn


def logits(model: Avafn, a: Tensor, v: Tensor, speakers: list[int]) -> Tensor:
    """Logits [N, C] of one dialogue with all modalities, from audio a and video v, both [N, d] (eval mode)."""
    u = utterance_vectors(model, a, v)
    forth = emotions(model, 0, u, v, speakers)[0]
    back = emotions(model, 1, u.flip(0), v.flip(0), speakers[::-1])[0].flip(0)
    return model.W_smax(torch.cat([forth, back], dim=1))


def utterance_vectors(model: Avafn, a: Tensor, v: Tensor) -> Tensor:
    """Fused utterance vectors u [N, d], by Eq. 1 to 7."""
    cam, fuse = model.cam, model.fuse
    assert cam is not None and fuse is not None and fuse.w is not None
    H, found = {"audio": a, "visual": v}, {}
    for m, o in (("audio", "visual"), ("visual", "audio")):
        Q, K, V = cam.W_Q[m](H[m]), cam.W_K[o](H[o]), cam.W_V[o](H[o])
        zeta = torch.softmax(Q @ K.T / Q.shape[1] ** 0.5, dim=1) @ V
        H_LN = F.layer_norm(H[m] + zeta, H[m].shape[1:], cam.norm[m].weight, cam.norm[m].bias)
        inner = torch.relu(cam.FFN[m][0](H_LN))
        found[m] = cam.norm_c[m](H_LN + cam.FFN[m][3](inner))
    alpha, beta = torch.softmax(fuse.w, dim=0)
    rest = model.residual["audio"](a) + model.residual["visual"](v)
    return alpha * found["audio"] + beta * found["visual"] + rest


def emotions(
    model: Avafn, r: int, u: Tensor, v: Tensor, speakers: list[int]
) -> tuple[Tensor, list[list[Tensor]], Tensor]:
    """Recurrence over the turns in one direction, by Eq. 8 to 12.

    Returns:
        Emotion states E [N, D_e], the participants' states after each turn, and the history weights of the last turn.
    """
    part = model.recurrence
    cell_C, cell_S, cell_L, cell_E = (cells[r] for cells in (part.GRU_C, part.GRU_S, part.GRU_L, part.GRU_E))
    zero = u.new_zeros
    bank = {j: zero(part.config.D_q) for j in sorted(set(speakers))}
    C, E = zero(part.config.D_c), zero(part.config.D_e)
    history: list[Tensor] = []
    found, banks, w = [], [], zero(0)
    for t, i in enumerate(speakers):
        C = gru_cell(cell_C, torch.cat([u[t], bank[i]]), C)
        ac = zero(part.config.D_c)
        if history:
            s = torch.stack([torch.tanh(part.W[r](past))[0] for past in history])
            w = torch.exp(s) / torch.exp(s).sum()
            ac = sum((w[k] * past for k, past in enumerate(history)), start=ac)
        q = {j: gru_cell(cell_L, torch.cat([v[t], u[t]]), state) for j, state in bank.items()}
        q[i] = gru_cell(cell_S, torch.cat([ac, u[t]]), bank[i])
        others = [state for j, state in q.items() if j != i]
        qL = sum(others, start=zero(part.config.D_q)) / max(1, len(others))
        E = gru_cell(cell_E, torch.cat([C, q[i], qL]), E)
        bank = q
        history.append(C)
        found.append(E)
        banks.append(list(bank.values()))
    return torch.stack(found), banks, w


def gru_cell(cell: nn.GRUCell, x: Tensor, h: Tensor) -> Tensor:
    """One step of a GRU cell, gate by gate (section 4.4)."""
    W_ir, W_iz, W_in = cell.weight_ih.chunk(3)
    W_hr, W_hz, W_hn = cell.weight_hh.chunk(3)
    b_ir, b_iz, b_in = cell.bias_ih.chunk(3)
    b_hr, b_hz, b_hn = cell.bias_hh.chunk(3)
    r = torch.sigmoid(W_ir @ x + b_ir + W_hr @ h + b_hr)
    z = torch.sigmoid(W_iz @ x + b_iz + W_hz @ h + b_hz)
    n = torch.tanh(W_in @ x + b_in + r * (W_hn @ h + b_hn))
    return (1 - z) * n + z * h
