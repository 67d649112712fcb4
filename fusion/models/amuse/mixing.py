"""Adaptive fusion of AMuSE: mixes the descriptors of the modalities, with a coefficient for each dimension.

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
    """Compute the mixing coefficients alpha = clamp(eps |z| (G / |G|) / z, 0, 1) (Eq. 6), [N, d], without gradient.

    A coefficient is the share of the other modality in one dimension of the mixed descriptor. z = other - own, and G is
    the gradient of the head's loss with respect to `own`. Sizes: N utterances, d values of a descriptor, C classes.

    Args:
        own: descriptors of the target modality, into which the other one is mixed, [N, d].
        other: descriptors of the other modality, [N, d].
        U: weights of the target modality's classifier (head), [C, d].
        p: class probabilities from this head, [N, C].
        label: class indices for the loss, int64 [N].
        eps: size of the step.
        sign: 1 (as in the paper) for a step that raises the loss, -1 for a step that lowers the loss.
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
    """Mix the descriptors of two modalities: alpha * other + (1 - alpha) * own, with coefficients alpha of 0 to 1."""
    return own + alpha * (other - own)


def mix_modalities(f: list[Tensor], alphas: dict[tuple[int, int], Tensor]) -> Tensor:
    """Fuse all modalities (Eq. 2): mix each modality with every other one, and concatenate the results.

    The result for a modality is the sum of its mixtures, divided by the number |M| of modalities.

    Args:
        f: for each modality, descriptors (vectors of size d) of N utterances, [N, d]. A single modality is returned
            unchanged.
        alphas: (index of the other modality, index of the target modality) -> mixing coefficients [N, d], or a shape
            that broadcasts to it.

    Returns:
        The fused features, [N, |M| d].
    """
    if len(f) == 1:
        return f[0]
    parts = []
    for m, own in enumerate(f):
        others = [mix(own, f[i], alphas[i, m]) for i in range(len(f)) if i != m]
        parts.append(torch.stack(others).sum(0) / len(f))
    return torch.cat(parts, -1)
