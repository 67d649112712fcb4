"""Adaptive fusion of AMuSE: each dimension of a modality takes a share of the other ones.

Source: docs/papers/amuse.md, section 4.3.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-8  # no mixing for smaller differences
FLAT = 1e-12  # no mixing for smaller gradients


@torch.no_grad()
def closed_form(
    own: Tensor, other: Tensor, U: Tensor, p: Tensor, label: Tensor, eps: float, sign: int = 1
) -> Tensor:
    """Coefficients alpha = clamp(eps |z| (G / |G|) / z, 0, 1) (Eq. 6), [N, d], without gradient.

    Args:
        own, other: descriptors of the target modality and of its partner, [N, d]; z = other - own.
        U: weights of the target's head, [C, d].
        p: probabilities of the head, [N, C].
        label: int64 [N].
        eps: size of the step.
        sign: 1 as printed, a step that raises the loss; -1 for a step that lowers it.
    """
    truth = F.one_hot(label, p.shape[1]).to(p.dtype)
    G = (p - truth) @ U  # gradient of the loss, up to a positive factor
    z = other - own
    size = G.norm(dim=1, keepdim=True)
    step = sign * eps * z.norm(dim=1, keepdim=True) * G / size.clamp(min=FLAT)
    some = (z.abs() >= TINY) & (size >= FLAT)
    alpha: Tensor = (step / z.where(some, 1)).clamp(0, 1).where(some, 0)
    return alpha


def mix(own: Tensor, other: Tensor, alpha: Tensor) -> Tensor:
    """alpha other + (1 - alpha) own, in a form that stays exact for a large alpha."""
    return own + alpha * (other - own)


def mix_modalities(f: list[Tensor], alphas: dict[tuple[int, int], Tensor]) -> Tensor:
    """A(u) of Eq. 2: for each modality the sum of its mixtures divided by |M|, concatenated, [N, |M| d].

    Args:
        f: one descriptor [N, d] for each modality; a single one is returned unchanged.
        alphas: (partner i, target m) -> coefficients [N, d], or a shape that broadcasts to it.
    """
    if len(f) == 1:
        return f[0]
    parts = []
    for m, own in enumerate(f):
        others = [mix(own, f[i], alphas[i, m]) for i in range(len(f)) if i != m]
        parts.append(torch.stack(others).sum(0) / len(f))
    return torch.cat(parts, -1)
