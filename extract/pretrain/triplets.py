"""Triplets inside a batch, formed on the device, and the batches that hold enough of each class."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from extract.pretrain.losses import distance


@dataclass(frozen=True)
class Triplets:
    """Rows of the batch, each [N]; an image without another one of its class is no anchor."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


@torch.no_grad()
def semi_hard(z: Tensor, labels: Tensor, random: torch.Generator) -> Triplets:
    """Each image once as an anchor, with a random positive and a semi-hard negative.

    The negative is the closest one that is farther than the positive; if none is, the closest of all.

    Args:
        z: embeddings, [B, d].
        labels: class indices, [B].
        random: a generator on the CPU, so that a run on another device draws the same positives.

    Source: FaceNet's choice inside a batch, as docs/papers/m2fnet.md, section 5.2, reads it.
    """
    apart = distance(z[:, None], z[None])  # [B, B]
    same = labels[:, None] == labels[None]
    others = same & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    lots = torch.rand(len(z), len(z), generator=random).to(z.device)
    positive = lots.masked_fill(~others, -1).argmax(1)
    to_positive = apart.gather(1, positive[:, None])  # [B, 1]
    far = torch.inf
    different = apart.masked_fill(same, far)
    beyond = different.masked_fill(different <= to_positive, far)
    closest, semi = beyond.min(1)
    negative = torch.where(closest.isinf(), different.argmin(1), semi)
    anchor = torch.nonzero(others.any(1) & ~same.all(1)).squeeze(1)
    return Triplets(anchor, positive[anchor], negative[anchor])


def balanced_batches(labels: Tensor, classes: int, images: int, random: torch.Generator) -> Iterator[Tensor]:
    """The batches of one epoch: rows of `images` images each of `classes` classes.

    Every class goes through its images in a new random order; a class with fewer gives all it has. An epoch has as
    many batches as hold about as many images as there are (at least one).

    Args:
        labels: class indices, [N].
        classes: in a batch, drawn anew for each; all of them where there are no more.
    """
    rows = [torch.nonzero(labels == c).squeeze(1) for c in sorted(set(labels.tolist()))]
    queues = [torch.empty(0, dtype=torch.long) for _ in rows]
    seen = 0
    while seen < len(labels):
        chosen = torch.randperm(len(rows), generator=random)[:classes].sort().values.tolist()
        parts = []
        for c in chosen:
            part, queues[c] = _next(queues[c], rows[c], images, random)
            parts.append(part)
        batch = torch.cat(parts)
        seen += len(batch)
        yield batch


def _next(queue: Tensor, rows: Tensor, images: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """The next images of a class, none twice, and what then waits."""
    if len(rows) <= images:
        return rows, queue
    if len(queue) < images:
        fresh = rows[torch.randperm(len(rows), generator=random)]
        left = set(queue.tolist())
        queue = torch.cat(
            [queue, torch.tensor([r for r in fresh.tolist() if r not in left], dtype=torch.long)]
        )
    return queue[:images], queue[images:]
