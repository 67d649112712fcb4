"""Train one of M2FNet's image extractors with the triplet loss, or for comparison with cross-entropy.

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
    """A trained extractor with the weights of its best epoch, and the scores of all epochs.

    `progress` holds the scores, `score` names the one by which the best epoch was chosen.
    """

    extractor: nn.Module
    progress: TrainingHistory
    score: str


class _Classified(nn.Module):
    """An image extractor with a linear classifier on its embedding; it is used to train with cross-entropy."""

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
    """Train an image extractor, and keep the epoch with the best score on the validation data.

    The score is the accuracy of 5 nearest neighbours. If labels are people, it is the AUC of telling whether two images
    show the same person.

    Args:
        train, dev: examples for training and validation.
        config: parameters of the extractor.
        training: epochs, learning rate and other optimisation parameters.
        imagenet: weights of the checkpoint resnet18, from which `init: imagenet` starts; None for `init: scratch`.
        identities: whether a label says who is shown instead of which emotion; then `dev` and `train` share no person.
        device: torch device.
        threads: number of threads of torch; it affects the exact result.
        checkpoint: file for the state of the training run; if it exists, an interrupted run continues from it.
        tick: function that is called after each epoch, with its scores.
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
    """Convert the parameters of an image extractor's training to those of the training loop that all models share.

    They are epochs, patience and learning rate; gradients are not clipped.
    """
    return TrainingParams(epochs=training.epochs, patience=training.patience, lr=training.lr, clip=math.inf)


def embed_examples(extractor: nn.Module, examples: Examples, device: str = "cpu") -> EmbeddingSet:
    """Compute the embeddings of all examples with an extractor, without augmentation; return them with the labels."""
    was = extractor.training
    extractor.eval()
    values = embed_with(extractor, examples.images, device)
    extractor.train(was)
    return EmbeddingSet(values.numpy(), examples.labels.numpy())
