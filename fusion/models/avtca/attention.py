"""The attention blocks of AVT-CA: intermediate transformer, exchange and cross attention.

Source: docs/papers/avtca.md.
"""

from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from fusion.layers.masked import (
    BatchNorm,
    LayerNorm,
    masked_attention,
    resample_lengths,
)
from fusion.models.avtca.config import AvtcaConfig

CROPS: Final = 3  # last dimension of face crops: the colours
FRAMES: Final = 15  # face crops of a clip that is long enough
WHOLE: Final = {"audio": (64, 128, 256, 128), "visual": (64, 64, 128, 128)}  # width after each block


class Attention(nn.Module):
    """Multi-head attention `Attn(x_kv, x_q)` (section 4.6): the sequence x_q attends to the sequence x_kv.

    Only the linear map of the output has a bias.

    Args:
        kv, q, o: size of a step of x_kv, of x_q and of the output.
        heads: number of heads.
        dropout: dropout rate.
    """

    def __init__(self, kv: int, q: int, o: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.W_q, self.W_kv, self.W_o = (
            nn.Linear(q, o, bias=False),
            nn.Linear(kv, 2 * o, bias=False),
            nn.Linear(o, o),
        )

    def forward(self, x_kv: Tensor, x_q: Tensor, keys: Tensor, x_v: Tensor | None = None) -> Tensor:
        """Attend with the queries x_q to the keys and values x_kv, for N pairs of sequences.

        Args:
            x_kv: sequences for keys and values, [N, Tk, kv]: Tk steps of size kv.
            x_q: sequences for queries, [N, Tq, q]: Tq steps of size q.
            keys: bool [N, Tk]; True for valid keys.
            x_v: other sequences for the values, [N, Tk, kv]; None to take the values from x_kv.

        Returns:
            Attended values, [N, Tq, o], of size o; 0 for sequences without a valid key.
        """
        W_k, W_v = self.W_kv.weight.chunk(2)
        K, V = F.linear(x_kv, W_k), F.linear(x_kv if x_v is None else x_v, W_v)
        drop = self.dropout if self.training else 0.0
        S = self.W_o(masked_attention(self.W_q(x_q), K, V, keys, self.heads, drop))
        return F.dropout(S, self.dropout, self.training) * keys.any(1)[:, None, None]


class Intermediate(nn.Module):
    """Intermediate transformer block, by which one modality (x_q) attends to the other (x_kv) (Algorithms 6 and 7).

    h = S + N_3(MLP(N_2(Drop(S)))) with S = Attn(N_k(x_kv), N_q(x_q)); N_k, N_q, N_2 and N_3 are norms.

    Args:
        kv, q, o: size of a step of x_kv, of x_q and of the output.
        config: the switches of AVT-CA.
    """

    def __init__(self, kv: int, q: int, o: int, config: AvtcaConfig) -> None:
        super().__init__()
        norm = BatchNorm if config.it_norm == "batch" else LayerNorm
        self.N_k, self.N_q, self.N_2 = norm(kv), norm(q), norm(o)
        self.N_3 = norm(o) if config.it_post_norm else None
        self.attention = Attention(kv, q, o, config.it_heads, config.dropout)
        self.W1, self.W2, self.drop = nn.Linear(o, 2 * o), nn.Linear(2 * o, o), nn.Dropout(config.dropout)

    def forward(self, x_kv: Tensor, keys: Tensor, x_q: Tensor, queries: Tensor) -> Tensor:
        """Let one modality (x_q) of N clips attend to the other modality (x_kv), then apply the MLP.

        Args:
            x_kv: steps of the other modality, [N, Tk, kv]: Tk steps of size kv.
            keys: mask of x_kv, bool [N, Tk].
            x_q: steps of the modality that attends, [N, Tq, q]: Tq steps of size q.
            queries: mask of x_q, bool [N, Tq].

        Returns:
            New steps of size o, [N, Tq, o]; 0 on padding, and for clips without the other modality.
        """
        S = self.attention(self.N_k(x_kv, keys), self.N_q(x_q, queries), keys)
        valid = queries & keys.any(1, keepdim=True)
        return self.after(S, valid) * valid.unsqueeze(-1)

    def after(self, S: Tensor, valid: Tensor) -> Tensor:
        """Compute the block's output S + N_3(MLP(N_2(Drop(S)))) from the result S of the attention.

        Args:
            S: attended steps of N clips, [N, T, o]: T steps of size o.
            valid: bool [N, T]; False for steps that the norms leave out.
        """
        Z = self.drop(self.W2(self.drop(F.gelu(self.W1(self.N_2(self.drop(S), valid))))))
        h: Tensor = S + (Z if self.N_3 is None else self.N_3(Z, valid))
        return h


class Exchange(nn.Module):
    """Exchange stage (Algorithm 8, A13): a stream (modality) is updated by attention to the other stream.

    By default, the stream that is updated gives the queries. Audio then becomes A' = A + Attn(V, A), with A and V the
    steps of audio and video.
    """

    def __init__(self, width: int, config: AvtcaConfig) -> None:
        super().__init__()
        self.roles = config.exchange_roles
        self.attention = Attention(width, width, width, config.exchange_heads, config.dropout)

    def forward(self, own: Tensor, mine: Tensor, other: Tensor, theirs: Tensor) -> Tensor:
        """Update one stream (modality) of N clips by attention to the other stream.

        Args:
            own: steps of the stream to update, [N, T, C]: T steps of size C.
            mine: mask of `own`, bool [N, T].
            other: steps of the other stream, [N, T', C].
            theirs: mask of `other`, bool [N, T'].

        Returns:
            The updated steps, [N, T, C].
        """
        if self.roles == "q_own_kv_other":
            found: Tensor = self.attention(other, own, theirs)
            return own + found
        other = resample_lengths(other, theirs.sum(1), mine.sum(1), own.shape[1])  # both must have one length
        if self.roles == "qk_own_v_other":
            found = self.attention(own, own, mine, other)
        else:
            found = self.attention(own, other, mine)
        return own + found * theirs.any(1)[:, None, None]


class StreamAttention(nn.Module):
    """Multi-head self-attention inside a stream (modality); the paper calls it "cross attention" (Algorithm 9, A15)."""

    def __init__(self, width: int, config: AvtcaConfig) -> None:
        super().__init__()
        self.heads = config.ca_heads
        maps = [nn.Linear(width, width) if config.ca_proj else nn.Identity() for _ in range(4)]
        self.W_q, self.W_k, self.W_v, self.W_o = maps

    def forward(self, x_q: Tensor, x_kv: Tensor, keys: Tensor) -> Tensor:
        """Attend with the queries x_q to the keys and values x_kv (normally both are the same stream).

        Args:
            x_q: N sequences of Tq steps of size C, [N, Tq, C].
            x_kv: N sequences of Tk steps of size C, [N, Tk, C].
            keys: mask of x_kv, bool [N, Tk].

        Returns:
            Attended values, [N, Tq, C].
        """
        found: Tensor = self.W_o(
            masked_attention(self.W_q(x_q), self.W_k(x_kv), self.W_v(x_kv), keys, self.heads)
        )
        return found * keys.any(1)[:, None, None]
