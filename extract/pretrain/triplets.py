"""Form triplets (anchor, positive, negative) inside a batch, and batches with several images of each class."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from extract.pretrain.metric_losses import distance


@dataclass(frozen=True)
class Triplets:
    """N triplets of images of a batch, as three arrays [N] of indices into the batch: anchors, positives, negatives.

    An image is an anchor only if the batch contains another image of its class and an image of another class.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor


@torch.no_grad()
def semi_hard(z: Tensor, labels: Tensor, random: torch.Generator) -> Triplets:
    """Return one triplet per image of a batch: the image as anchor, a random positive and a semi-hard negative.

    A positive is another image of the same class, a negative an image of another class. An image for which the batch
    has no positive or no negative gets no triplet.

    The semi-hard negative is the closest negative that is farther from the anchor than the positive. If there is none,
    the closest negative is used.

    Args:
        z: embeddings of the B images of a batch, d values each, [B, d].
        labels: class indices, [B].
        random: random generator on the CPU, so that runs on all devices draw the same positives.

    Source: the triplet selection of FaceNet; docs/papers/m2fnet.md, section 5.2.
    """
    distances = distance(z[:, None], z[None])  # [B, B]
    same = labels[:, None] == labels[None]
    others = same & ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    scores = torch.rand(len(z), len(z), generator=random).to(z.device)
    positive = scores.masked_fill(~others, -1).argmax(1)
    to_positive = distances.gather(1, positive[:, None])  # [B, 1]
    far = torch.inf
    different = distances.masked_fill(same, far)
    beyond = different.masked_fill(different <= to_positive, far)
    closest, semi = beyond.min(1)
    negative = torch.where(closest.isinf(), different.argmin(1), semi)
    anchor = torch.nonzero(others.any(1) & ~same.all(1)).squeeze(1)
    return Triplets(anchor, positive[anchor], negative[anchor])


def balanced_batches(labels: Tensor, classes: int, images: int, random: torch.Generator) -> Iterator[Tensor]:
    """Yield the batches of one epoch as indices: `images` images from each of `classes` classes.

    Every class goes through its images in a new random order. A class with fewer images than `images` gives all of
    them. An epoch ends when its batches together hold at least as many images as the training data.

    Args:
        labels: class indices of all N images, [N].
        classes: number of classes in a batch, drawn anew for each batch; if there are fewer classes, all are used.
        images: number of images per class.
        random: random generator.
    """
    rows = [torch.nonzero(labels == c).squeeze(1) for c in sorted(set(labels.tolist()))]
    queues = [torch.empty(0, dtype=torch.long) for _ in rows]
    seen = 0
    while seen < len(labels):
        chosen = torch.randperm(len(rows), generator=random)[:classes].sort().values.tolist()
        parts = []
        for c in chosen:
            part, queues[c] = _take_images(queues[c], rows[c], images, random)
            parts.append(part)
        batch = torch.cat(parts)
        seen += len(batch)
        yield batch


def _take_images(queue: Tensor, rows: Tensor, images: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Take the next images of a class for a batch; return (indices taken, indices still in the queue).

    No image is taken twice for one batch. When the queue is too short, all images of the class are added in a random
    order.
    """
    if len(rows) <= images:
        return rows, queue
    if len(queue) < images:
        fresh = rows[torch.randperm(len(rows), generator=random)]
        left = set(queue.tolist())
        queue = torch.cat(
            [queue, torch.tensor([r for r in fresh.tolist() if r not in left], dtype=torch.long)]
        )
    return queue[:images], queue[images:]
