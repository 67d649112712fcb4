"""Losses of the M2FNet image extractors: triplets with adaptive margin, variance, covariance.

Source: docs/papers/m2fnet.md, section 5.1.
"""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from extract.pretrain.config import Form, Margin, MetricLoss

EPSILON: Final = 1e-4  # added under the square root of the variance
FIXED_MARGIN: Final = 0.2


def distance(u: Tensor, v: Tensor) -> Tensor:
    """Return half the Euclidean distance between vectors scaled to length 1, in [0, 1] (R10 in docs/papers/m2fnet.md).

    Each vector has d values: two arrays [..., d] give one array [...].
    """
    difference = F.normalize(u, dim=-1) - F.normalize(v, dim=-1)
    norm: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return norm / 2


def adaptive_margin(ap: Tensor, an: Tensor, printed: bool) -> Tensor:
    """Return the adaptive margin m_sim + m_dissim of each of N triplets, [N].

    Args:
        ap, an: distances from anchor to positive and from anchor to negative, in [0, 1], [N].
        printed: compute the margin from the distances, as Eq. 11 of the paper is printed; otherwise from the
            similarities (1 - distance).
    """
    if printed:
        return (1 + 2 * torch.exp(-4 * ap)) + (1 + 2 * torch.exp(4 * an - 4))
    return (1 + 2 * torch.exp(-4 * (1 - ap))) + (1 + 2 * torch.exp(4 * (1 - an) - 4))


def triplet_loss(ap: Tensor, an: Tensor, pn: Tensor, margin: Margin) -> Tensor:
    """Return the adaptive-margin triplet loss L_AMT of each of N triplets, [N] (Eq. 10).

    Args:
        ap, an, pn: distances from anchor to positive, anchor to negative, and positive to negative, [N].
        margin: form of the margin, see `MetricLoss`.
    """
    base = ap - (an + pn) / 2
    if margin == "fixed":
        return F.relu(base + FIXED_MARGIN)
    m_am = adaptive_margin(ap, an, printed=margin != "similarity")
    return base + (m_am.detach() if margin == "printed_stopgrad" else m_am)


def variance_loss(z: Tensor, form: Form = "vicreg") -> Tensor:
    """Return the variance loss L_Var (Eq. 12): how far the standard deviations of the dimensions are below 1.

    The input is N embeddings with d values each, [N, d]. They are not scaled to length 1.
    """
    variance = z.var(dim=0, correction=1)
    if form == "printed":
        return (1 - variance.clamp_min(0).sqrt() + EPSILON).mean()
    return F.relu(1 - (variance + EPSILON).sqrt()).mean()


def covariance_loss(z: Tensor, form: Form = "vicreg") -> Tensor:
    """Return the covariance loss L_Cov (Eq. 13): how strongly different dimensions of the embeddings covary.

    The input is N embeddings with d values each, [N, d]. They are not scaled to length 1.
    """
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)  # [d, d]
    if form == "vicreg":
        covariance = covariance.square()
    return (covariance.sum() - covariance.diagonal().sum()) / z.shape[1]


def metric_loss(anchor: Tensor, positive: Tensor, negative: Tensor, loss: MetricLoss) -> Tensor:
    """Return the total loss L_FE (Eq. 9) of N triplets: the weighted sum of triplet, covariance and variance losses.

    The variance and covariance losses are computed separately for anchors, positives and negatives, and added.

    Args:
        anchor, positive, negative: embeddings with d values each, [N, d].
        loss: forms and weights of the losses.
    """
    roles = [z.float() for z in (anchor, positive, negative)]
    a, p, n = roles
    amt = triplet_loss(distance(a, p), distance(a, n), distance(p, n), loss.margin).mean()
    cov = torch.stack([covariance_loss(z, loss.cov_form) for z in roles]).sum()
    var = torch.stack([variance_loss(z, loss.var_form) for z in roles]).sum()
    of_amt, of_cov, of_var = loss.weights
    return of_amt * amt + of_cov * cov + of_var * var
