"""GRU cells that run over the turns of dialogues; forward and backward direction share one batched matrix product.

R is the number of directions: 1, or 2 for forward and backward in time. Each direction has its own `nn.GRUCell`, with
torch's initialisation and order of gates (r, z, n). Inputs that are known before the recurrence starts are projected
for all turns at once.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def gru_step(gi: Tensor, gh: Tensor, h: Tensor) -> Tensor:
    """Compute the new state of a GRU cell of size H, from the projections of its input x and of its previous state h.

    Args:
        gi: projected input, W_i x + b_i for the gates r, z, n, [..., 3 H].
        gh: projected state, W_h h + b_h for the same gates, [..., 3 H].
        h: previous state, [..., H].

    Returns:
        New state h' = (1 - z) n + z h, [..., H].
    """
    size = h.shape[-1]
    i_rz, i_n = gi.split_with_sizes([2 * size, size], -1)
    h_rz, h_n = gh.split_with_sizes([2 * size, size], -1)
    r, z = (i_rz + h_rz).sigmoid().chunk(2, dim=-1)
    n = torch.addcmul(i_n, r, h_n).tanh()
    return n.lerp(h, z)


def cell_parameters(cells: nn.ModuleList, name: str) -> list[Tensor]:
    """Return the parameter `name` (such as `weight_ih`) of each GRU cell; there is one cell for each direction."""
    return [getattr(cell, name) for cell in cells]


def split_inputs(cells: nn.ModuleList, *widths: int) -> list[list[Tensor]]:
    """Cut the input weights W_i of GRU cells into blocks of columns, one block for each vector in the cell's input.

    The input of a cell is a concatenation of several vectors. One cut for all vectors saves memory: the gradient of a
    single slice would be a full matrix, mostly zeros.

    Args:
        cells: one cell for each direction.
        widths: size of each vector, in the order of the concatenation; may be 0.

    Returns:
        For each vector, a list with one block [3 H, width] for each direction; H is the size of the cell's state.
    """
    cut = [W.split_with_sizes(widths, 1) for W in cell_parameters(cells, "weight_ih")]
    return [list(part) for part in zip(*cut, strict=True)]


def project_inputs(cells: nn.ModuleList, weights: list[Tensor], x: Tensor) -> Tensor:
    """Project an input that is known before the recurrence starts: W_i x + b_i for all turns and directions.

    Sizes: R directions, B dialogues, L turns, D features, H units of a cell's state.

    Args:
        cells: one cell for each direction.
        weights: for each direction, the columns of W_i that take x.
        x: the input, [B, L, D].

    Returns:
        Projected input [R, B, L, 3 H]; turns stay in the order of the dialogue.
    """
    found = F.linear(x, torch.cat(weights), torch.cat(cell_parameters(cells, "bias_ih")))
    return found.view(*x.shape[:-1], len(cells), -1).movedim(2, 0)


def stack_weights(weights: list[Tensor]) -> Tensor:
    """Stack and transpose blocks of the input weights W_i, so that one batched product serves all directions.

    For inputs that depend on the states of earlier turns; other inputs are projected by `project_inputs`.

    Args:
        weights: one block [3 H, D] for each of R directions; D is the input size, H the size of the cell's state.

    Returns:
        Stacked weights, [R, D, 3 H].
    """
    return torch.stack([W.T for W in weights])


def recurrent_weights(cells: nn.ModuleList, rows: int) -> tuple[Tensor, Tensor]:
    """Stack the recurrent weights W_h and biases b_h of GRU cells with states of size H, one cell for each direction.

    For speed, the bias is repeated for every state of the batch: torch then sums its gradient over them only once.

    Args:
        cells: the cells of R directions.
        rows: number of states that one step updates, such as the number of dialogues in the batch.

    Returns:
        Two tensors: W_h transposed, [R, H, 3 H]; b_h, [R, rows, 3 H].
    """
    weight = torch.stack([W.T for W in cell_parameters(cells, "weight_hh")])
    bias = torch.stack(cell_parameters(cells, "bias_hh")).unsqueeze(1)
    return weight, bias.expand(-1, rows, -1).contiguous()


def run_gru(cells: nn.ModuleList, x: Tensor, who: Tensor | None = None, people: int = 1) -> Tensor:
    """Run a GRU along the turns of each dialogue, or along each speaker's own turns.

    Args:
        cells: one cell with a state of size H for each direction.
        x: inputs [R, B, L, D]: R directions, B dialogues, L turns, D features. In the backward direction the turns are
            in reverse order.
        who: speaker index of each turn, [R, B, L], to give each speaker a state; None for one state for all turns.
        people: number of speakers.

    Returns:
        The state after each turn, [R, B, L, H]. In the backward direction the turns stay in reverse order.
    """
    R, B, L, _ = x.shape
    W_h, b_h = recurrent_weights(cells, B)
    bias = torch.stack(cell_parameters(cells, "bias_ih")).unsqueeze(1)
    known = (
        torch.baddbmm(bias, x.flatten(1, 2), stack_weights(cell_parameters(cells, "weight_ih")))
        .view(R, B, L, -1)
        .unbind(2)
    )
    h = x.new_zeros(R, B, W_h.shape[1])
    bank = x.new_zeros(R, B, people, W_h.shape[1])
    slot = None if who is None else who[..., None, None].expand(*who.shape, 1, W_h.shape[1]).unbind(2)
    found = []
    for t in range(L):
        before = h if slot is None else bank.gather(2, slot[t]).squeeze(2)
        h = gru_step(known[t], torch.baddbmm(b_h, before, W_h), before)
        found.append(h)
        if slot is not None:
            bank = bank.scatter(2, slot[t], h.unsqueeze(2))
    return torch.stack(found, dim=2)
