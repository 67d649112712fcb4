"""Position encodings of utterances in their dialogue."""

import math

import torch
from torch import Tensor


def sinusoidal(x: Tensor) -> Tensor:
    """Return the sine and cosine position encoding [L, D] for dialogues x [B, L, D] of L utterances."""
    width = x.shape[2]
    rank = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, device=x.device, dtype=x.dtype) * (-math.log(10_000) / width))
    waves = torch.stack([(rank * rate).sin(), (rank * rate).cos()], dim=-1)
    return waves.flatten(1)[:, :width]
