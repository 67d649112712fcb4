"""The losses with which M2FNet trains its image extractors: triplet loss with adaptive margin, variance, covariance.

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
    """Return the distances in [0, 1] between pairs of embeddings: two arrays [..., d] give one array [...].

    An embedding has d values and is first scaled to length 1. The distance of two embeddings is half their Euclidean
    distance (R10 in docs/papers/m2fnet.md).
    """
    difference = F.normalize(u, dim=-1) - F.normalize(v, dim=-1)
    norm: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return norm / 2


def adaptive_margin(ap: Tensor, an: Tensor, printed: bool) -> Tensor:
    """Return the adaptive margin of each of N triplets (m_sim + m_dissim, Eq. 11 of the M2FNet paper), [N].

    Args:
        ap, an: distances from anchor to positive and from anchor to negative, in [0, 1], [N].
        printed: True computes the margin from the distances, literally as in the paper; False from the similarities
            (1 - distance).
    """
    if printed:
        return (1 + 2 * torch.exp(-4 * ap)) + (1 + 2 * torch.exp(4 * an - 4))
    return (1 + 2 * torch.exp(-4 * (1 - ap))) + (1 + 2 * torch.exp(4 * (1 - an) - 4))


def triplet_loss(ap: Tensor, an: Tensor, pn: Tensor, margin: Margin) -> Tensor:
    """Return the triplet loss with adaptive margin of each of N triplets (L_AMT, Eq. 10 of the M2FNet paper), [N].

    Args:
        ap, an, pn: distances from anchor to positive, anchor to negative, and positive to negative, [N].
        margin: how the margin is computed, see the field `margin` of `MetricLoss`.
    """
    base = ap - (an + pn) / 2
    if margin == "fixed":
        return F.relu(base + FIXED_MARGIN)
    m_am = adaptive_margin(ap, an, printed=margin != "similarity")
    return base + (m_am.detach() if margin == "printed_stopgrad" else m_am)


def variance_loss(z: Tensor, form: Form = "vicreg") -> Tensor:
    """Return the variance loss of N embeddings with d values each, [N, d] (L_Var, Eq. 12 of the M2FNet paper).

    It is large if the standard deviations of the d dimensions are far below 1, which keeps embeddings from becoming
    equal. The embeddings are used as they are, not scaled to length 1.
    """
    variance = z.var(dim=0, correction=1)
    if form == "printed":
        return (1 - variance.clamp_min(0).sqrt() + EPSILON).mean()
    return F.relu(1 - (variance + EPSILON).sqrt()).mean()


def covariance_loss(z: Tensor, form: Form = "vicreg") -> Tensor:
    """Return the covariance loss of N embeddings with d values each, [N, d] (L_Cov, Eq. 13 of the M2FNet paper).

    It is large if different dimensions carry the same information (covary). The embeddings are used as they are, not
    scaled to length 1.
    """
    centred = z - z.mean(dim=0)
    covariance = centred.T @ centred / (len(z) - 1)  # [d, d]
    if form == "vicreg":
        covariance = covariance.square()
    return (covariance.sum() - covariance.diagonal().sum()) / z.shape[1]


def metric_loss(anchor: Tensor, positive: Tensor, negative: Tensor, loss: MetricLoss) -> Tensor:
    """Return the total loss of N triplets (L_FE, Eq. 9 of the M2FNet paper): a weighted sum of three losses.

    They are the mean triplet loss, the covariance loss and the variance loss. The latter two are each computed for the
    anchors, for the positives and for the negatives, and added up.

    Args:
        anchor, positive, negative: embeddings with d values each, [N, d].
        loss: weights of the three losses, and how each is computed.
    """
    roles = [z.float() for z in (anchor, positive, negative)]
    a, p, n = roles
    amt = triplet_loss(distance(a, p), distance(a, n), distance(p, n), loss.margin).mean()
    cov = torch.stack([covariance_loss(z, loss.cov_form) for z in roles]).sum()
    var = torch.stack([variance_loss(z, loss.var_form) for z in roles]).sum()
    of_amt, of_cov, of_var = loss.weights
    return of_amt * amt + of_cov * cov + of_var * var
