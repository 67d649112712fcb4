"""Layers over padded sequences in which padding takes no part: LSTMs, norms, convolution blocks, attention."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def within(lengths: Tensor, longest: int) -> Tensor:
    """True for the first `lengths` steps, bool [N, longest]."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def askable(mask: Tensor) -> Tensor:
    """Keys for a softmax, bool [N, T]: the valid ones, and all where none is, whose result is to be left out."""
    return mask | ~mask.any(1, keepdim=True)


def ran(network: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """States [N, T, width] of sequences [N, T, i] of their own lengths; 0 beyond them and where there is nothing.

    Of one layer. On a GPU the steps are packed. A CPU needs twice as long for that where lengths are similar, so there
    the network runs over padding too, and the way back over each sequence turned round within its length.
    """
    own = within(lengths, x.shape[1])
    if x.is_cuda:
        return _packed(network, x, lengths)
    states = _one_way(network, x, "")
    if network.bidirectional:
        place = torch.arange(x.shape[1], device=x.device)
        turned = (lengths[:, None] - 1 - place).where(own, place)
        behind = _one_way(network, _at(x, turned), "_reverse")
        states = torch.cat([states, _at(behind, turned)], 2)
    return states.masked_fill(~own.unsqueeze(-1), 0)


def _packed(network: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    width = network.hidden_size * (2 if network.bidirectional else 1)
    some = (lengths > 0).nonzero().flatten()
    empty = x.new_zeros(*x.shape[:2], width)
    if len(some) == 0:
        return empty
    packed = pack_padded_sequence(x[some], lengths[some].cpu(), batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(network(packed)[0], batch_first=True, total_length=x.shape[1])
    return empty.index_copy(0, some, states)


def _one_way(network: nn.LSTM, x: Tensor, way: str) -> Tensor:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = [getattr(network, name + way) for name in names]
    begin = x.new_zeros(1, len(x), network.hidden_size)
    states: Tensor = torch.lstm(x, (begin, begin), weights, True, 1, 0.0, network.training, False, True)[0]
    return states


def _at(x: Tensor, place: Tensor) -> Tensor:
    return x[torch.arange(len(x), device=x.device)[:, None], place]


class BatchNorm(nn.BatchNorm1d):
    """Batch norm of [N, T, C] whose statistics are those of the valid steps; with fewer than two, the running ones."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalised, 0 on padding; mask bool [N, T]."""
        valid = x[mask]
        if self.training and len(valid) < 2:
            known = F.batch_norm(
                valid, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        else:
            known = super().forward(valid)
        return x.new_zeros(x.shape).masked_scatter(mask.unsqueeze(-1), known)


class LayerNorm(nn.LayerNorm):
    """Layer norm of [N, T, C]; it needs no mask, and takes one as batch norm does."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalised, 0 on padding; mask bool [N, T]."""
        return super().forward(x) * mask.unsqueeze(-1)


class ConvBlock(nn.Module):
    """Convolution of width 3 over time, batch norm, ReLU, and for sound a maximum over two neighbours.

    Args:
        pool: stride of the maximum; the convolution then has no padding, and with stride 1 a sequence of n steps
            becomes one of n - 3. 0: no maximum, and sequences keep their length.
    """

    def __init__(self, i: int, o: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.conv = nn.Conv1d(i, o, 3, padding=0 if pool else 1)
        self.norm = BatchNorm(o)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[N, T, i] and lengths [N] to [N, T', o] and their lengths; T must be at least 4 with a maximum."""
        x = self.conv((x * within(lengths, x.shape[1]).unsqueeze(-1)).transpose(1, 2)).transpose(1, 2)
        if self.pool:
            lengths = (lengths - 2).clamp(min=0)
        x = self.norm(x, within(lengths, x.shape[1])).relu()
        if self.pool:
            x = torch.maximum(x[:, :-1], x[:, 1:])[:, :: self.pool]
            lengths = (lengths - 2).div(self.pool, rounding_mode="floor").add(1).clamp(min=0)
        return x * within(lengths, x.shape[1]).unsqueeze(-1), lengths


def attended(q: Tensor, k: Tensor, v: Tensor, keys: Tensor, heads: int, dropout: float = 0.0) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V by heads; nothing where a query has no valid key.

    Args:
        q: [N, Tq, heads d]; k, v: [N, Tk, heads d]; keys: bool [N, Tk].

    Returns:
        [N, Tq, heads d].
    """
    Q, K, V = (x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2) for x in (q, k, v))
    allowed = askable(keys)[:, None, None]
    found = F.scaled_dot_product_attention(Q, K, V, attn_mask=allowed, dropout_p=dropout)
    return found.transpose(1, 2).flatten(2) * keys.any(1)[:, None, None]


def greatest(x: Tensor, mask: Tensor) -> Tensor:
    """Maximum of [N, T, C] over the valid steps, [N, C]; 0 without any."""
    top = x.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)
    return top.where(mask.any(1, keepdim=True), 0)


def average(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of [N, T, C] over the valid steps, [N, C]; 0 without any."""
    return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def resampled(x: Tensor, lengths: Tensor, wanted: Tensor, longest: int) -> Tensor:
    """Sequences [N, T, C] of some lengths [N], linearly interpolated to other ones, as [N, longest, C]."""
    step = torch.arange(longest, device=x.device)
    place = (step + 0.5) * (lengths / wanted.clamp(min=1))[:, None] - 0.5  # middles of steps, as of pixels
    last = (lengths - 1).clamp(min=0)[:, None]
    place = place.clamp(min=0).minimum(last)
    low = place.long()
    below, above = (
        x.gather(1, i.unsqueeze(-1).expand(-1, -1, x.shape[2])) for i in (low, (low + 1).minimum(last))
    )
    return torch.lerp(below, above, (place - low).unsqueeze(-1)) * within(wanted, longest).unsqueeze(-1)
