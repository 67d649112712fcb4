"""Fine-tune the RoBERTa of M2FNet's text feature: it learns to classify the emotion of each utterance.

Source: docs/papers/m2fnet.md, section 3.1.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ercache.metrics import scores
from ercache.nets.roberta import SIZES, from_checkpoint, roberta
from ercache.params.schema import TrainingParams
from ercache.training.determinism import deterministic, set_seeds
from ercache.training.loop import TrainingHistory, fit
from ercache.training.optimizers import Stepping
from ercache.training.selection import METRIC, SCORE
from ercache.weights import Weights
from extract.encoders.text.tokenization import hidden_states, padded_rows
from extract.pretrain.config import TextConfig, TextTraining
from extract.pretrain.quality import EmbeddingSet
from extract.pretrain.texts import Texts, TextSource
from extract.pretrain.training import Tick, Trained

DROPOUT = 0.1  # of the head, as in the network
READ_AT_ONCE = 32  # utterances in a batch when only states are needed


class _Classified(nn.Module):
    """A RoBERTa with a classifier of emotions on the state of the token `<s>`; only training needs the classifier."""

    def __init__(self, network: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.extractor = network
        self.head = nn.Sequential(
            nn.Dropout(DROPOUT),
            nn.Linear(width, width),
            nn.Tanh(),
            nn.Dropout(DROPOUT),
            nn.Linear(width, classes),
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Compute the emotion logits of B utterances, [B, C] for C classes.

        Args:
            ids: token ids, padded to the longest of the utterances (T tokens), [B, T].
            mask: 1 for tokens, 0 for padding, [B, T].
        """
        states = self.extractor(input_ids=ids, attention_mask=mask).last_hidden_state
        logits: Tensor = self.head(states[:, 0])
        return logits


def train_text(
    source: TextSource,
    config: TextConfig,
    training: TextTraining,
    *,
    device: str = "cpu",
    threads: int = 1,
    checkpoint: Path | None = None,
    tick: Tick = lambda _: None,
) -> Trained:
    """Fine-tune a RoBERTa on the training data; keep the epoch with the best weighted F1 on the validation data.

    Args:
        source: the training and validation data.
        config: parameters of the extractor.
        training: epochs, learning rate and other optimisation parameters.
        device: torch device.
        threads: number of threads of torch; it affects the exact result.
        checkpoint: file for the state of the training run; if it exists, an interrupted run continues from it.
        tick: function that is called after each epoch, with its scores.

    Raises:
        WeightsError: the checkpoint from which the training starts is absent, damaged or of another network.
    """
    set_seeds(training.seed)
    shape, classes = SIZES[config.size], len(source.classes)
    if config.checkpoint is not None:
        network = from_checkpoint(Weights(config.checkpoint), shape, source.tokenizer)
    else:
        network = roberta(shape, source.tokenizer.get_vocab_size())
    model = _Classified(network, shape.width, classes).to(device)

    def batches(order: torch.Generator) -> Iterator[list[int]]:
        return source.train.batches(training.batch, order)

    def loss(rows: list[int]) -> tuple[Tensor, int]:
        ids, mask = padded_rows([source.train.tokens[n] for n in rows])
        labels = source.train.labels[rows].to(device)
        with _mixed(device, training.mixed):
            logits = model(ids.to(device), mask.to(device))
        return F.cross_entropy(logits.float(), labels), len(rows)

    def evaluate() -> Mapping[str, float]:
        found = scores(source.dev.labels.numpy(), _predicted(model, source.dev, device), classes)
        return {SCORE: found[METRIC], "validation_accuracy": found["accuracy"]}

    with deterministic(threads):
        progress: TrainingHistory = fit(
            model,
            TrainingParams(
                epochs=training.epochs, patience=training.patience, lr=training.lr, clip=training.clip
            ),
            training.seed,
            batches=batches,
            loss=loss,
            evaluate=evaluate,
            checkpoint=checkpoint,
            stepping=_stepping(training, len(source.train)),
            tick=tick,
        )
    return Trained(network.cpu().eval(), progress, SCORE)


def states_of(network: nn.Module, texts: Texts, device: str = "cpu") -> EmbeddingSet:
    """Compute the feature vectors of N utterances, D values each, [N, D]; return them with the labels.

    A feature vector is the state of the token `<s>`, as in a feature with the param `pool: cls`.
    """
    order = sorted(range(len(texts)), key=lambda n: len(texts.tokens[n]))
    rows: list[np.ndarray] = [np.empty(0)] * len(texts)
    for start in range(0, len(order), READ_AT_ONCE):
        some = order[start : start + READ_AT_ONCE]
        for n, state in zip(
            some, hidden_states(network, [texts.tokens[n] for n in some], device), strict=True
        ):
            rows[n] = state[0]
    return EmbeddingSet(np.stack(rows), texts.labels.numpy())


def _predicted(model: _Classified, texts: Texts, device: str) -> np.ndarray:
    states = torch.from_numpy(states_of(model.extractor, texts, device).values)
    predicted: np.ndarray = model.head(states.to(device)).argmax(-1).cpu().numpy()
    return predicted


def _stepping(training: TextTraining, utterances: int) -> Stepping:
    """Return how weights are updated: by AdamW, with a learning rate that rises linearly and then falls linearly to 0.

    Norm layers and biases have no weight decay, as in the training of EmoBERTa.
    """
    batches_per_epoch = math.ceil(utterances / training.batch)
    steps = training.epochs * math.ceil(batches_per_epoch / training.accumulate)
    rise = round(training.warmup * steps)

    def optimizer(model: nn.Module) -> Optimizer:
        plain = [p for p in model.parameters() if p.ndim < 2]
        decayed = [p for p in model.parameters() if p.ndim >= 2]
        groups = [
            {"params": decayed, "weight_decay": training.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        return AdamW(groups, lr=training.lr)

    def share(step: int) -> float:
        if step < rise:
            return (step + 1) / max(1, rise)
        return max(0.0, (steps - step) / max(1, steps - rise))

    return Stepping(optimizer, lambda opt: LambdaLR(opt, share), training.accumulate)


def _mixed(device: str, wanted: bool) -> contextlib.AbstractContextManager[object]:
    on_gpu = wanted and device.startswith("cuda")
    return torch.autocast("cuda", dtype=torch.bfloat16) if on_gpu else contextlib.nullcontext()
