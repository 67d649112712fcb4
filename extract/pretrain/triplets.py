"""Form batches with several images of each class, and triplets of images in them for the triplet loss.

A triplet is an image (anchor), another image of its class (positive) and an image of another class (negative).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from extract.pretrain.metric_losses import distance


@dataclass(frozen=True)
class Triplets:
    """N triplets of images, as three arrays [N] of indices into a batch: anchors, positives and negatives."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


@torch.no_grad()
def semi_hard(z: Tensor, labels: Tensor, random: torch.Generator) -> Triplets:
    """Choose a triplet for each image of a batch: the image as anchor, a random positive and a semi-hard negative.

    A positive is another image of the same class, a negative an image of another class. The semi-hard negative is the
    closest of the negatives that are farther from the anchor than the positive; if there are none, it is the closest
    negative. An image without a positive or without a negative in the batch gets no triplet.

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
    """Yield the batches of one epoch, each as indices of images: the same number of images from several classes.

    The images of a class are used in random order; when all have been used, a new order begins. An epoch ends when its
    batches together hold at least as many images as the training data.

    Args:
        labels: class indices of all N images, [N].
        classes: number of classes in a batch, drawn anew for each batch; if there are fewer classes, all are used.
        images: number of images per class in a batch; a class with fewer images gives all of them.
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
    """Take the next `images` images of a class for a batch, without taking one twice.

    Return the indices taken and the new queue.

    Args:
        queue: indices of the images of this class that have not been used yet, in random order. If they are too few,
            all other images of the class are appended in a new random order.
        rows: indices of all images of the class.
        images: number of images to take.
        random: random generator.
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
