"""Adaptive fusion of AMuSE: how much of another modality each dimension takes (docs/papers/amuse.md, section 4.3)."""

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-8  # differences below which nothing is mixed
FLAT = 1e-12  # gradients below which nothing is mixed


@torch.no_grad()
def closed_form(
    own: Tensor, other: Tensor, U: Tensor, p: Tensor, label: Tensor, eps: float, sign: int = 1
) -> Tensor:
    """alpha = clamp(eps |z| (G / |G|) / z, 0, 1) (Eq. 6), without gradient, [N, d].

    Args:
        own, other: descriptors of the target modality and of its partner, [N, d]; z = other - own.
        U: weights of the target's head [C, d]; p: its probabilities [N, C]; label: int64 [N].
        sign: 1 as printed, which is a step that raises the loss; -1 for one that lowers it.
    """
    truth = F.one_hot(label, p.shape[1]).to(p.dtype)
    G = (p - truth) @ U  # the loss's gradient but for a positive factor
    z = other - own
    size = G.norm(dim=1, keepdim=True)
    step = sign * eps * z.norm(dim=1, keepdim=True) * G / size.clamp(min=FLAT)
    some = (z.abs() >= TINY) & (size >= FLAT)
    alpha: Tensor = (step / z.where(some, 1)).clamp(0, 1).where(some, 0)
    return alpha


def mixed(own: Tensor, other: Tensor, alpha: Tensor) -> Tensor:
    """alpha other + (1 - alpha) own, in the order that does not cancel where alpha is large."""
    return own + alpha * (other - own)


def blocks(f: list[Tensor], alphas: dict[tuple[int, int], Tensor]) -> Tensor:
    """A(u) of Eq. 2: for each modality 1/|M| of the sum of its mixtures, side by side, [N, |M| d].

    Args:
        f: descriptors, one [N, d] a modality; one alone is left as it is.
        alphas: (partner i, target m) -> [N, d], or what broadcasts to it.
    """
    if len(f) == 1:
        return f[0]
    parts = []
    for m, own in enumerate(f):
        others = [mixed(own, f[i], alphas[i, m]) for i in range(len(f)) if i != m]
        parts.append(torch.stack(others).sum(0) / len(f))
    return torch.cat(parts, -1)
