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


def split_inputs(cells: nn.ModuleList, *widths: int) -> list[list[Tensor]]:
    """W_i of every direction, cut by the parts of the cell's input: for each part, a list [3 H, width] of directions.

    One cut for all parts, because the gradient of a slice is a whole matrix of zeros around it. A width may be 0.
    """
    cut = [W.split_with_sizes(widths, 1) for W in tensors(cells, "weight_ih")]
    return [list(part) for part in zip(*cut, strict=True)]


def inputs(cells: nn.ModuleList, weights: list[Tensor], x: Tensor) -> Tensor:
    """The share of W_i x that is known before the recurrence starts, with b_i, of all directions.

    Args:
        weights: the columns of W_i that take x, of every direction.
        x: [B, L, D].

    Returns:
        [R, B, L, 3 H], in the order of time.
    """
    found = F.linear(x, torch.cat(weights), torch.cat(tensors(cells, "bias_ih")))
    return found.view(*x.shape[:-1], len(cells), -1).movedim(2, 0)


def stacked(weights: list[Tensor]) -> Tensor:
    """The columns of W_i for an input that the recurrence makes, [R, D, 3 H]."""
    return torch.stack([W.T for W in weights])


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
    R, B, L, _ = x.shape
    W_h, b_h = recurrent(cells, B)
    bias = torch.stack(tensors(cells, "bias_ih")).unsqueeze(1)
    known = (
        torch.baddbmm(bias, x.flatten(1, 2), stacked(tensors(cells, "weight_ih"))).view(R, B, L, -1).unbind(2)
    )
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
