"""Training of an M2FNet extractor: triplets or cross-entropy, best epoch on validation.

Source: docs/papers/m2fnet.md, section 5.2.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.nets.m2fnet import EMBEDDED, Extractor, normalised, start_from_imagenet
from ercache.params.schema import TrainingParams
from ercache.training.determinism import deterministic, set_seeds
from ercache.training.loop import Epoch, Progress, fit
from ercache.training.optimizers import Stepping
from extract.pretrain.config import ExtractorConfig, ExtractorTraining
from extract.pretrain.examples import Examples, embedded
from extract.pretrain.losses import metric_loss
from extract.pretrain.quality import Embedded, knn_accuracy, verification_auc
from extract.pretrain.triplets import balanced_batches, semi_hard

KNN = "validation_knn_accuracy"
AUC = "validation_auc"
Tick = Callable[[Epoch], None]


@dataclass(frozen=True)
class Trained:
    """The extractor at its best epoch, on the CPU in eval mode, and its past."""

    extractor: nn.Module
    progress: Progress
    score: str


class _Classified(nn.Module):
    """The extractor with a linear layer on z, for the cross-entropy control."""

    def __init__(self, extractor: Extractor, classes: int) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = nn.Linear(EMBEDDED, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.extractor(images))
        return logits


def train_extractor(
    train: Examples,
    dev: Examples,
    config: ExtractorConfig,
    training: ExtractorTraining,
    *,
    imagenet: Mapping[str, Tensor] | None = None,
    identities: bool = False,
    device: str = "cpu",
    threads: int = 1,
    checkpoint: Path | None = None,
    tick: Tick = lambda _: None,
) -> Trained:
    """Train on `train`; the epoch is the best on `dev`, by 5-NN accuracy or, for identities, by verification AUC.

    Args:
        imagenet: tensors of the checkpoint resnet18, for `init: imagenet`.
        identities: the labels are identities, and dev holds others than train.
        threads: of torch; part of what decides the bits.
        checkpoint: file that holds the state of a killed training.
    """
    set_seeds(training.seed)
    extractor = Extractor()
    if config.init == "imagenet":
        start_from_imagenet(extractor, imagenet or {})
    classes = int(train.labels.max()) + 1
    crossed = config.objective == "cross_entropy"
    model = (_Classified(extractor, classes) if crossed else extractor).to(device)
    order_of_images = config.classes or classes
    score = AUC if identities else KNN

    def batches(order: torch.Generator) -> Iterator[tuple[Tensor, Tensor, torch.Generator]]:
        for _ in range(config.passes):
            for rows in balanced_batches(train.labels, order_of_images, config.images, order):
                yield train.batch(rows, order, config.augment), train.labels[rows], order

    def loss(batch: tuple[Tensor, Tensor, torch.Generator]) -> tuple[Tensor, int]:
        images, labels, order = batch
        labels = labels.to(device)
        output = model(normalised(images.to(device)))
        if crossed:
            return F.cross_entropy(output, labels), len(labels)
        triplets = semi_hard(output, labels, order)
        if len(triplets.anchor) < 2:  # no variance of one
            return output.sum(), 0
        roles = [output[rows] for rows in (triplets.anchor, triplets.positive, triplets.negative)]
        return metric_loss(roles[0], roles[1], roles[2], config.loss), len(triplets.anchor)

    def evaluate() -> Mapping[str, float]:
        seen = of(extractor, dev, device)
        if identities:
            return {AUC: verification_auc(seen)}
        return {KNN: knn_accuracy(of(extractor, train, device), seen)}

    with deterministic(threads):
        progress = fit(
            model,
            loop_of(training),
            training.seed,
            batches=batches,
            loss=loss,
            evaluate=evaluate,
            checkpoint=checkpoint,
            score=score,
            stepping=Stepping(
                lambda m: torch.optim.Adam(m.parameters(), training.lr, weight_decay=training.weight_decay)
            ),
            tick=tick,
        )
    return Trained(extractor.cpu().eval(), progress, score)


def loop_of(training: ExtractorTraining) -> TrainingParams:
    """What the common loop reads of it; gradients are not clipped."""
    return TrainingParams(epochs=training.epochs, patience=training.patience, lr=training.lr, clip=math.inf)


def of(extractor: nn.Module, examples: Examples, device: str = "cpu") -> Embedded:
    """The embeddings of examples, without augmentation."""
    was = extractor.training
    extractor.eval()
    values = embedded(extractor, examples.images, device)
    extractor.train(was)
    return Embedded(values.numpy(), examples.labels.numpy())
