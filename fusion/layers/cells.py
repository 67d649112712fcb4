"""GRU cells of several directions run as one: a stacked product a step, inputs projected once for all turns.

R is the number of directions (1, or 2: forward and backward in time). Cells are torch's own `nn.GRUCell`, one a
direction, so that weights, their order (r, z, n) and their initialisation are torch's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def gru(gi: Tensor, gh: Tensor, h: Tensor) -> Tensor:
    """The gates of a GRU cell.

    Args:
        gi: W_i x + b_i of the gates r, z, n, [..., 3 H].
        gh: W_h h + b_h, [..., 3 H].
        h: former state, [..., H].

    Returns:
        h' = (1 - z) n + z h, [..., H].
    """
    size = h.shape[-1]
    i_rz, i_n = gi.split_with_sizes([2 * size, size], -1)
    h_rz, h_n = gh.split_with_sizes([2 * size, size], -1)
    r, z = (i_rz + h_rz).sigmoid().chunk(2, dim=-1)
    n = torch.addcmul(i_n, r, h_n).tanh()
    return n.lerp(h, z)


def tensors(cells: nn.ModuleList, name: str) -> list[Tensor]:
    """One parameter of every direction's cell."""
    return [getattr(cell, name) for cell in cells]


def inputs(cells: nn.ModuleList, x: Tensor, start: int) -> Tensor:
    """The share of W_i x that is known before the recurrence starts, with b_i, of all directions.

    Args:
        x: [B, L, D].
        start: columns start:start + D of W_i belong to x.

    Returns:
        [R, B, L, 3 H], in the order of time.
    """
    width = x.shape[-1]
    weight = torch.cat([W[:, start : start + width] for W in tensors(cells, "weight_ih")])
    bias = torch.cat(tensors(cells, "bias_ih"))
    return F.linear(x, weight, bias).view(*x.shape[:-1], len(cells), -1).movedim(2, 0)


def columns(cells: nn.ModuleList, start: int, end: int) -> Tensor:
    """Columns of W_i for an input that the recurrence makes, [R, D, 3 H]."""
    return torch.stack([W[:, start:end].T for W in tensors(cells, "weight_ih")])


def recurrent(cells: nn.ModuleList, rows: int) -> tuple[Tensor, Tensor]:
    """W_h [R, H, 3 H] and b_h [R, rows, 3 H] of all directions.

    The bias is laid out for every row once: torch would otherwise sum its gradient over the rows at each turn.
    """
    weight = torch.stack([W.T for W in tensors(cells, "weight_hh")])
    bias = torch.stack(tensors(cells, "bias_hh")).unsqueeze(1)
    return weight, bias.expand(-1, rows, -1).contiguous()


def chain(cells: nn.ModuleList, x: Tensor, who: Tensor | None = None, people: int = 1) -> Tensor:
    """A GRU along the turns, or one for each speaker's own turns.

    Args:
        x: [R, B, L, D].
        who: speaker of each turn, [R, B, L]; without it all turns are one chain.
        people: number of speakers.

    Returns:
        The state after each turn, [R, B, L, H].
    """
    R, B, L, width = x.shape
    W_h, b_h = recurrent(cells, B)
    bias = torch.stack(tensors(cells, "bias_ih")).unsqueeze(1)
    known = torch.baddbmm(bias, x.flatten(1, 2), columns(cells, 0, width)).view(R, B, L, -1).unbind(2)
    h = x.new_zeros(R, B, W_h.shape[1])
    bank = x.new_zeros(R, B, people, W_h.shape[1])
    slot = None if who is None else who[..., None, None].expand(*who.shape, 1, W_h.shape[1]).unbind(2)
    found = []
    for t in range(L):
        before = h if slot is None else bank.gather(2, slot[t]).squeeze(2)
        h = gru(known[t], torch.baddbmm(b_h, before, W_h), before)
        found.append(h)
        if slot is not None:
            bank = bank.scatter(2, slot[t], h.unsqueeze(2))
    return torch.stack(found, dim=2)
