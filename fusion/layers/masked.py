"""Layers over padded sequences that ignore padding: LSTM, norms, convolution blocks, attention, pooling."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def length_mask(lengths: Tensor, longest: int) -> Tensor:
    """Make the mask of N padded sequences, bool [N, longest]: True for real steps, False for padding.

    Args:
        lengths: number of real steps of each sequence, [N].
        longest: number of steps with padding.
    """
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def safe_key_mask(mask: Tensor) -> Tensor:
    """Return a key mask for attention in which every sequence has a valid key, so that the softmax gives no nan.

    Sequences without any valid key become all True; discard the attention results of these sequences.

    Args:
        mask: bool [N, T] for N sequences of T steps; True for valid keys.
    """
    return mask | ~mask.any(1, keepdim=True)


def run_lstm(network: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """Run a one-layer LSTM over padded sequences of different lengths, without an effect of the padding.

    On a GPU the sequences are packed. On a CPU, where packing would be slower, the LSTM runs over the padding too; the
    backward direction reverses each sequence within the sequence's own length.

    Args:
        network: the LSTM, with one or two directions.
        x: N sequences padded to T steps, [N, T, input size].
        lengths: number of steps of each sequence, [N]; may be 0.

    Returns:
        Hidden states of all directions, concatenated, [N, T, directions * hidden size]; 0 on padding.
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
    """Batch norm of padded sequences: padding does not count, and is 0 in the result.

    If a training batch has fewer than two valid steps, the running statistics are used.
    """

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise each of C channels; padding becomes 0.

        Training uses mean and variance of the batch's real steps, evaluation the running statistics.

        Args:
            x: N sequences of T steps, [N, T, C].
            mask: bool [N, T]; False on padding.
        """
        valid = x[mask]
        if self.training and len(valid) < 2:
            known = F.batch_norm(
                valid, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        else:
            known = super().forward(valid)
        return x.new_zeros(x.shape).masked_scatter(mask.unsqueeze(-1), known)


class LayerNorm(nn.LayerNorm):
    """Layer norm of padded sequences, with the same arguments as `BatchNorm`, which it can replace."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Normalise each step over its C channels; padding becomes 0.

        Args:
            x: N sequences of T steps, [N, T, C].
            mask: bool [N, T]; False on padding.
        """
        return super().forward(x) * mask.unsqueeze(-1)


class ConvBlock(nn.Module):
    """Convolution of width 3 over time, batch norm and ReLU; for audio also max pooling of width 2.

    Args:
        i, o: number of input channels and of output channels.
        pool: stride of the max pooling; 0 for no pooling. Without pooling, sequences keep their length. With pooling,
            the convolution has no padding, so with stride 1 a sequence of n steps becomes one of n - 3 steps.
    """

    def __init__(self, i: int, o: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.conv = nn.Conv1d(i, o, 3, padding=0 if pool else 1)
        self.norm = BatchNorm(o)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Apply convolution, batch norm, ReLU and, if it is switched on, max pooling.

        Args:
            x: N sequences of T steps with i channels, [N, T, i]. With pooling, T must be at least 4.
            lengths: number of real steps of each sequence, [N].

        Returns:
            Two tensors: sequences of T' steps with o channels, [N, T', o], 0 on padding; and their new lengths, [N].
        """
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
    """Compute multi-head attention softmax(Q K^T / sqrt(d)) V over the valid keys of padded sequences.

    Sizes: N sequences, Tq queries and Tk keys of a sequence, d values of a head.

    Args:
        q: queries [N, Tq, heads * d].
        k, v: keys and values [N, Tk, heads * d].
        keys: bool [N, Tk]; True for valid keys.
        heads: number of heads.
        dropout: dropout rate of the attention weights.

    Returns:
        Attended values [N, Tq, heads * d]; 0 for sequences without a valid key.
    """
    Q, K, V = (x.reshape(*x.shape[:2], heads, x.shape[2] // heads).transpose(1, 2) for x in (q, k, v))
    allowed = safe_key_mask(keys)[:, None, None]
    found = F.scaled_dot_product_attention(Q, K, V, attn_mask=allowed, dropout_p=dropout)
    return found.transpose(1, 2).flatten(2) * keys.any(1)[:, None, None]


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """Take the maximum of each channel over the real steps of each sequence (max pooling over time).

    Args:
        x: N sequences of T steps with C channels, [N, T, C].
        mask: bool [N, T]; True for real steps.

    Returns:
        The maxima, [N, C]; 0 for a sequence without real steps.
    """
    top = x.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)
    return top.where(mask.any(1, keepdim=True), 0)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Take the mean of each channel over the real steps of each sequence (mean pooling over time).

    Args:
        x: N sequences of T steps with C channels, [N, T, C].
        mask: bool [N, T]; True for real steps.

    Returns:
        The means, [N, C]; 0 for a sequence without real steps.
    """
    return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def resample_lengths(x: Tensor, lengths: Tensor, wanted: Tensor, longest: int) -> Tensor:
    """Stretch or shrink sequences over time to new lengths, by linear interpolation.

    Args:
        x: N sequences padded to T steps, with C channels, [N, T, C].
        lengths: number of steps of each sequence, [N].
        wanted: new number of steps of each sequence, [N].
        longest: number of steps of the padded result.

    Returns:
        Resampled sequences [N, longest, C]; 0 on padding.
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
