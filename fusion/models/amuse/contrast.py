"""Noise-contrastive loss of AMuSE: the modalities of one utterance should have similar descriptors.

Source: Eq. 3 and 4, corrected; docs/papers/amuse.md, section 5.1.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Nce = Literal["posterior", "infonce", "printed"]


def nce(
    positive: Tensor, negatives: Tensor, drawn: Tensor, mean: Tensor, tau: float, form: Nce, M: int
) -> Tensor:
    """Compute the noise-contrastive loss of each of J anchors, [J].

    An anchor is one modality of an utterance. Its positive is another modality of the same utterance; its negatives are
    taken from other utterances.

    Args:
        positive: similarity s of each anchor to its positive, [J].
        negatives: similarities s of each anchor to K candidate negatives, [J, K].
        drawn: bool [J, K]; which of the candidates are used as negatives.
        mean: mean of exp(s / tau) over all used negatives of all anchors, without gradient.
        tau: temperature.
        form: formula of the loss. `posterior`: noise-contrastive loss, which classifies pairs as positive or negative.
            `infonce`: softmax over the positive and all negatives. `printed`: the paper's Eq. 4 as printed, which is
            wrong: with two or more negatives, minimising it lowers the probability of the positive pair (A-8).
        M: number of modalities; only the `printed` form uses it.
    """
    count = drawn.sum(1)
    if form == "printed":  # -log h(P1) + K log h(P2) - 1, h(P) = P / (P + K / M), P1 = P2 = exp(s / tau)
        h = -F.softplus((count.clamp(min=1) / M).log() - positive / tau)  # log h
        return ((count - 1) * h - 1).where(count > 0, 0)
    if form == "infonce":
        rest = (negatives / tau).masked_fill(~drawn, -torch.inf)
        every = torch.cat([positive[:, None] / tau, rest], 1)
        return (every.logsumexp(1) - positive / tau).where(count > 0, 0)
    noise = (count.clamp(min=1) * mean).log()
    near = F.softplus(noise - positive / tau)  # -log h
    far = F.softplus(negatives / tau - noise[:, None]).where(drawn, 0)  # -log(1 - h)
    return (near + far.sum(1)).where(count > 0, 0)


def draw_negatives(count: int, most: int, device: torch.device) -> Tensor:
    """Draw other utterances of the batch as negatives for each utterance, uniformly and without replacement.

    Args:
        count: number of utterances.
        most: greatest number of negatives of an utterance.
        device: device of the result.

    Returns:
        bool [count, count]; row i is True for the utterances that were drawn for utterance i.
    """
    chance = torch.rand(count, count).fill_diagonal_(2.0).to(device)
    least = min(most, count - 1)
    drawn = torch.zeros(count, count, dtype=torch.bool, device=device)
    return drawn.scatter(1, chance.argsort(1)[:, :least], True)


def contrastive_loss(
    f: list[Tensor], present: Tensor, everyone: int, most: int, tau: float, form: Nce = "posterior"
) -> Tensor:
    """Compute the contrastive loss L_ACE of a batch: the sum over all ordered pairs of modalities.

    The sum is divided by the number |M| of modalities and by the number `everyone` of utterances.

    Args:
        f: for each modality, the descriptors (vectors of size d) of N utterances, [N, d].
        present: bool [N, |M|]; whether the utterance has the modality.
        everyone: number of labelled utterances of the batch, also counting those without any modality.
        most: greatest number of negatives of an utterance.
        tau: temperature.
        form: formula of the loss of one anchor (`posterior`, `infonce` or `printed`), see `nce`.
    """
    total = 0 * f[0].sum()  # keeps a graph for `backward` even if there is no pair
    units = [F.normalize(x, dim=1) for x in f]
    for m in range(len(f)):
        with_m = present[:, m].nonzero().flatten()
        for i in range(len(f)):
            both = (present[with_m, m] & present[with_m, i]).nonzero().flatten()
            if i == m or len(both) == 0 or len(with_m) < 2:
                continue
            drawn = draw_negatives(len(with_m), most, f[m].device)[both]
            anchors, others = units[m][with_m], units[i][with_m][both]
            positive = (anchors[both] * others).sum(1)
            negatives = others @ anchors.T  # s(f_k^m, f_j^i)
            mean = (negatives.detach() / tau).exp()[drawn].mean()
            total = total + nce(positive, negatives, drawn, mean, tau, form, len(f)).sum()
    return total / (len(f) * max(1, everyone))
