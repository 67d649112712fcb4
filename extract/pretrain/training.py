"""Train an image extractor of M2FNet with triplets or cross-entropy. The best epoch is chosen on validation data.

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
from ercache.training.loop import EpochReport, TrainingHistory, fit
from ercache.training.optimizers import Stepping
from extract.pretrain.config import ExtractorConfig, ExtractorTraining
from extract.pretrain.examples import Examples, embed_with
from extract.pretrain.metric_losses import metric_loss
from extract.pretrain.quality import EmbeddingSet, knn_accuracy, verification_auc
from extract.pretrain.triplets import balanced_batches, semi_hard

KNN = "validation_knn_accuracy"
AUC = "validation_auc"
Tick = Callable[[EpochReport], None]


@dataclass(frozen=True)
class Trained:
    """A trained extractor at its best epoch, on the CPU in eval mode, with the scores of all epochs."""

    extractor: nn.Module
    progress: TrainingHistory
    score: str


class _Classified(nn.Module):
    """The extractor with a linear classifier on the embedding, for training with cross-entropy."""

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
    """Train an image extractor on `train`; choose the best epoch on `dev`.

    The score on `dev` is the accuracy of 5 nearest neighbours or, for identities, the AUC of verification.

    Args:
        train, dev: examples for training and validation.
        config: parameters of the extractor.
        training: epochs, learning rate and other optimisation parameters.
        imagenet: tensors of the checkpoint resnet18, for `init: imagenet`.
        identities: whether labels are identities of people; then `dev` has other people than `train`.
        device: torch device.
        threads: number of threads of torch; it affects the exact result.
        checkpoint: file with the state of a training run that was killed.
        tick: called after each epoch.
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
        if len(triplets.anchor) < 2:  # one triplet has no variance
            return output.sum(), 0
        roles = [output[rows] for rows in (triplets.anchor, triplets.positive, triplets.negative)]
        return metric_loss(roles[0], roles[1], roles[2], config.loss), len(triplets.anchor)

    def evaluate() -> Mapping[str, float]:
        seen = embed_examples(extractor, dev, device)
        if identities:
            return {AUC: verification_auc(seen)}
        return {KNN: knn_accuracy(embed_examples(extractor, train, device), seen)}

    with deterministic(threads):
        progress = fit(
            model,
            loop_params(training),
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


def loop_params(training: ExtractorTraining) -> TrainingParams:
    """Return the parameters (epochs, learning rate and others) of the training loop that all models share.

    Gradients are not clipped.
    """
    return TrainingParams(epochs=training.epochs, patience=training.patience, lr=training.lr, clip=math.inf)


def embed_examples(extractor: nn.Module, examples: Examples, device: str = "cpu") -> EmbeddingSet:
    """Return the embeddings that an extractor computes for the images of examples, without augmentation."""
    was = extractor.training
    extractor.eval()
    values = embed_with(extractor, examples.images, device)
    extractor.train(was)
    return EmbeddingSet(values.numpy(), examples.labels.numpy())
