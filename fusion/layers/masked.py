"""Layers over padded sequences that ignore padding: LSTM, norms, convolution blocks, attention, pooling."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def length_mask(lengths: Tensor, longest: int) -> Tensor:
    """Mask of sequences, bool [N, longest]: True for the first `lengths` [N] steps."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def safe_key_mask(mask: Tensor) -> Tensor:
    """Key mask that is safe for a softmax: rows without a valid key become all True, which avoids nan.

    The caller must discard the results of such rows.

    Args:
        mask: bool [N, T], the valid keys.
    """
    return mask | ~mask.any(1, keepdim=True)


def run_lstm(network: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """Run a one-layer LSTM over sequences of different lengths.

    On a GPU the sequences are packed. On a CPU packing takes twice as long for sequences of similar lengths. There the
    LSTM runs over the padding too, and for the backward direction each sequence is reversed within its own length.

    Args:
        network: the LSTM.
        x: [N, T, i].
        lengths: [N]; may be 0.

    Returns:
        States [N, T, width]; 0 on padding.
    """
    own = length_mask(lengths, x.shape[1])
    if x.is_cuda:
        return _packed(network, x, lengths)
    states = _one_way(network, x, "")
    if network.bidirectional:
        place = torch.arange(x.shape[1], device=x.device)
        reverse = (lengths[:, None] - 1 - place).where(own, place)
        backward = _one_way(network, _at(x, reverse), "_reverse")
        states = torch.cat([states, _at(backward, reverse)], 2)
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
    """Batch norm over the valid steps of [N, T, C]. With fewer than two valid steps it uses the running statistics."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise x [N, T, C]; the result is 0 on padding. `mask` is bool [N, T]."""
        valid = x[mask]
        if self.training and len(valid) < 2:
            known = F.batch_norm(
                valid, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        else:
            known = super().forward(valid)
        return x.new_zeros(x.shape).masked_scatter(mask.unsqueeze(-1), known)


class LayerNorm(nn.LayerNorm):
    """Layer norm of [N, T, C], with the same arguments as `BatchNorm`."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise x [N, T, C]; the result is 0 on padding. `mask` is bool [N, T]."""
        return super().forward(x) * mask.unsqueeze(-1)


class ConvBlock(nn.Module):
    """Convolution of width 3 over time, batch norm, ReLU, and for audio max pooling of width 2.

    Args:
        i, o: input and output width.
        pool: stride of the max pooling. The convolution then has no padding; with stride 1 a sequence of n steps
            becomes one of n - 3. 0: no pooling, and sequences keep their length.
    """

    def __init__(self, i: int, o: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.conv = nn.Conv1d(i, o, 3, padding=0 if pool else 1)
        self.norm = BatchNorm(o)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Map x [N, T, i] and its lengths [N] to [N, T', o] and lengths [N]. With pooling, T must be at least 4."""
        x = self.conv((x * length_mask(lengths, x.shape[1]).unsqueeze(-1)).transpose(1, 2)).transpose(1, 2)
        if self.pool:
            lengths = (lengths - 2).clamp(min=0)
        x = self.norm(x, length_mask(lengths, x.shape[1])).relu()
        if self.pool:
            x = torch.maximum(x[:, :-1], x[:, 1:])[:, :: self.pool]
            lengths = (lengths - 2).div(self.pool, rounding_mode="floor").add(1).clamp(min=0)
        return x * length_mask(lengths, x.shape[1]).unsqueeze(-1), lengths


def masked_attention(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, heads: int, dropout: float = 0.0
) -> Tensor:
    """Multi-head attention softmax(Q K^T / sqrt(d)) V; 0 for sequences without a valid key.

    Args:
        q: [N, Tq, heads * d].
        k, v: [N, Tk, heads * d].
        keys: bool [N, Tk], the valid keys.
        heads: number of heads.
        dropout: of the attention weights.

    Returns:
        [N, Tq, heads * d].
    """
    Q, K, V = (x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2) for x in (q, k, v))
    allowed = safe_key_mask(keys)[:, None, None]
    found = F.scaled_dot_product_attention(Q, K, V, attn_mask=allowed, dropout_p=dropout)
    return found.transpose(1, 2).flatten(2) * keys.any(1)[:, None, None]


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Maximum of x [N, T, C] over the valid steps, [N, C]; 0 if there is none."""
    top = x.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)
    return top.where(mask.any(1, keepdim=True), 0)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x [N, T, C] over the valid steps, [N, C]; 0 if there is none."""
    return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def resample_lengths(x: Tensor, lengths: Tensor, wanted: Tensor, longest: int) -> Tensor:
    """Interpolate sequences linearly to other lengths.

    Args:
        x: [N, T, C].
        lengths: their lengths, [N].
        wanted: their new lengths, [N].
        longest: size of the result over time.

    Returns:
        [N, longest, C]; 0 on padding.
    """
    step = torch.arange(longest, device=x.device)
    place = (step + 0.5) * (lengths / wanted.clamp(min=1))[:, None] - 0.5  # centres of steps, as for pixels
    last = (lengths - 1).clamp(min=0)[:, None]
    place = place.clamp(min=0).minimum(last)
    low = place.long()
    below, above = (
        x.gather(1, i.unsqueeze(-1).expand(-1, -1, x.shape[2])) for i in (low, (low + 1).minimum(last))
    )
    return torch.lerp(below, above, (place - low).unsqueeze(-1)) * length_mask(wanted, longest).unsqueeze(-1)
