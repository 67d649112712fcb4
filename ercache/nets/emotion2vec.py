"""emotion2vec (Ma et al. 2024, arXiv 2312.15185): data2vec 2.0 on speech, for inference only.

The network is written here because no package provides it. Its sizes and tensor names are those of the published
checkpoint (ddlBoJack/emotion2vec a0e606c6), so that all tensors of the checkpoint fit.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTIONS = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2))  # kernel and stride
CHANNELS = 512
POSITION_LAYERS, POSITION_KERNEL, POSITION_GROUPS = 5, 19, 16
EXTRA_TOKENS = 10


class Transposed(nn.Module):
    """Swaps the time axis and the channel axis, so that layers of both axis orders can stand in one `nn.Sequential`."""

    def forward(self, x: Tensor) -> Tensor:
        """Swap the last two axes: B clips with C channels and T time steps, [B, C, T], become [B, T, C], or back."""
        return x.transpose(1, 2)


class LocalEncoder(nn.Module):
    """Convolutions that turn audio samples into one vector per 20 ms. Layer norms normalise each vector separately."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList()
        for n, (kernel, stride) in enumerate(CONVOLUTIONS):
            convolution = nn.Conv1d(CHANNELS if n else 1, CHANNELS, kernel, stride, bias=False)
            norm = nn.Sequential(Transposed(), nn.LayerNorm(CHANNELS), Transposed())
            # nn.Identity replaces a dropout, so that the numbers in the tensor names fit
            self.conv_layers.append(nn.Sequential(convolution, nn.Identity(), norm, nn.GELU()))

    def forward(self, sound: Tensor) -> Tensor:
        """Turn audio samples into one vector of 512 values for each 20 ms.

        Args:
            sound: B clips of n samples at 16 kHz, [B, n].

        Returns:
            One vector for each of T frames of 20 ms, [B, 512, T].
        """
        x = sound[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class Attention(nn.Module):
    """Multi-head self-attention, with a bias on the attention scores so that frames attend less to distant frames."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Let all frames of a clip attend to each other (multi-head self-attention).

        Args:
            x: states of B clips with L frames and D values, [B, L, D].
            bias: distance bias that is added to the attention scores, [1, heads, L, L].

        Returns:
            Attended states, [B, L, D].
        """
        q, k, v = (
            self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        )  # [B, heads, L, D / heads]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        projected: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return projected


class FeedForward(nn.Module):
    """The feed-forward network of a transformer layer: two linear layers with a GELU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform the state of each frame by the two linear layers, independently of the other frames.

        Args:
            x: states of B clips with L frames and D values, [B, L, D].

        Returns:
            New states, [B, L, D].
        """
        values: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return values


class Block(nn.Module):
    """A transformer layer: self-attention, then feed-forward; a layer norm follows each of the two (post-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Update the states of all frames by self-attention and a feed-forward network, each followed by a layer norm.

        Args:
            x: states of B clips with L frames and D values, [B, L, D].
            bias: distance bias that is added to the attention scores, [1, heads, L, L].

        Returns:
            New states, [B, L, D].
        """
        x = self.norm1(x + self.attn(x, bias))
        normed: Tensor = self.norm2(x + self.mlp(x))
        return normed


class ContextEncoder(nn.Module):
    """The second half of the audio branch: a layer norm, then transformer layers that relate the frames of a clip."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Normalise the states of all frames, then run the transformer layers of the audio branch.

        Args:
            x: states of B clips with L frames and D values, [B, L, D].
            bias: distance bias that is added to the attention scores, [1, heads, L, L].

        Returns:
            States of the last layer, [B, L, D].
        """
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, bias)
        return x


class AudioEncoder(nn.Module):
    """The audio branch: turns audio samples into states by convolutions, position encoding and transformer layers.

    Before the transformer layers, 10 learned vectors (the "extra tokens") are put in front of the frames of each clip.
    """

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.alibi_scale = nn.Parameter(torch.ones(1, 1, heads, 1, 1))
        self.extra_tokens = nn.Parameter(torch.zeros(1, EXTRA_TOKENS, width))
        self.local_encoder = LocalEncoder()
        self.project_features = nn.Sequential(
            Transposed(), nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, width)
        )
        self.relative_positional_encoder = nn.Sequential(
            Transposed(), *(position_layer(width) for _ in range(POSITION_LAYERS)), Transposed()
        )
        self.context_encoder = ContextEncoder(width, heads, depth)

    def forward(self, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Run the whole audio branch: turn audio samples into states, one per frame of 20 ms.

        The states of 10 extra tokens, learned vectors that are not part of the audio, come before those of the frames.

        Args:
            sound: B clips of n samples at 16 kHz, [B, n].

        Returns:
            Two tensors: states of the 10 extra tokens and T frames with D values, [B, 10 + T, D]; and the bias that all
            later layers add to their attention scores, [1, heads, 10 + T, 10 + T].
        """
        x = self.project_features(self.local_encoder(sound))
        x = x + self.relative_positional_encoder(x)
        bias = distance_bias(x.shape[1], self.heads).to(x.device) * self.alibi_scale[0].clamp(min=0)
        bias = F.pad(
            bias, (EXTRA_TOKENS, 0, EXTRA_TOKENS, 0)
        )  # the extra tokens have distance 0 to every frame
        x = torch.cat([self.extra_tokens.expand(len(x), -1, -1), x], 1)
        return self.context_encoder(x, bias), bias


class Emotion2vec(nn.Module):
    """The whole network emotion2vec: the audio branch, and transformer layers above it.

    Args:
        width: size D of the states.
        heads: number of attention heads per layer.
        depths: two numbers: of transformer layers in the audio branch, and of transformer layers above it.
    """

    def __init__(self, width: int = 768, heads: int = 12, depths: tuple[int, int] = (4, 8)) -> None:
        super().__init__()
        self.modality_encoders = nn.ModuleDict({"AUDIO": AudioEncoder(width, heads, depths[0])})
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depths[1]))

    def forward(self, sound: Tensor) -> Tensor:
        """Turn audio samples into the states of the last layer, one per 20 ms.

        Args:
            sound: B clips of n samples at 16 kHz, each clip normalised to mean 0 and variance 1, [B, n].

        Returns:
            States of T frames with D values, [B, T, D]. The 10 extra tokens of `AudioEncoder` are left out.
        """
        x, bias = self.modality_encoders["AUDIO"](sound)
        for block in self.blocks:
            x = block(x, bias)
        frames: Tensor = x[:, EXTRA_TOKENS:]
        return frames


def position_layer(width: int) -> nn.Module:
    """Build a layer of the position encoding: a convolution over time, a layer norm without weights, and a GELU."""
    convolution = nn.Conv1d(
        width, width, POSITION_KERNEL, padding=POSITION_KERNEL // 2, groups=POSITION_GROUPS
    )
    norm = nn.LayerNorm(width, elementwise_affine=False)
    return nn.Sequential(convolution, nn.Identity(), Transposed(), norm, Transposed(), nn.GELU())


def slopes(heads: int) -> list[float]:
    """Return the slope of each attention head for ALiBi position biases: how fast attention falls with distance.

    If the number of heads is a power of two, slope i is 2^(-8i / heads), i = 1..heads. Otherwise the slopes for the
    next lower power of two come first, then every second slope for the next higher power of two.

    Source: ALiBi, arXiv 2108.12409.
    """
    lower = 1 << (heads.bit_length() - 1)
    row = [2.0 ** (-8 * i / lower) for i in range(1, lower + 1)]
    return row if lower == heads else row + slopes(2 * lower)[::2][: heads - lower]


def distance_bias(frames: int, heads: int) -> Tensor:
    """Compute ALiBi attention biases, which make frames attend less to distant frames.

    Args:
        frames: number T of frames.
        heads: number of attention heads.

    Returns:
        Biases [1, heads, T, T]: minus the slope of the head times the distance of the two frames.
    """
    at = torch.arange(frames)
    distance = (at[:, None] - at[None]).abs()
    return -torch.tensor(slopes(heads))[None, :, None, None] * distance
