"""Position encodings of utterances in their dialogue."""

import math

import torch
from torch import Tensor


def sinusoidal(x: Tensor) -> Tensor:
    """Return the sine and cosine position encoding of L utterances with D features, [L, D].

    Args:
        x: the features of B dialogues, [B, L, D]; only their sizes L and D, number type and device are used.
    """
    width = x.shape[2]
    rank = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=x.device, dtype=x.dtype) * (-math.log(10_000) / width))
    waves = torch.stack([(rank * rate).sin(), (rank * rate).cos()], dim=-1)
    return waves.flatten(1)[:, :width]
