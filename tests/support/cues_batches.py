"""Inputs for tests of the model Cues without caches: narrow models, and batches like those read from caches."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ercache.training.losses import IGNORED
from fusion.data.batches import Batch
from fusion.data.ragged import Steps
from fusion.models import MODELS
from fusion.models.cues.config import CuesConfig
from fusion.models.cues.model import Cues

WIDTHS = {"text": 6, "words": 3, "matrix": 1, "audio": 5, "mel": 64}
TRACKS = {"pitch": 1, "bands": 80}
TINY = {"bert": "bert-base", "vit": "vit-base-in21k", "width": 64, "heads": 2, "depth": 3}


def model_of(widths: dict[str, int] | None = None, classes: int = 4, **switches: Any) -> Cues:
    torch.manual_seed(0)
    small = {"width": 64, "heads": 2, "layers": 1, "ffn": 24, "dropout": 0.0, "mfm_blocks": 0}
    return Cues(widths or WIDTHS, classes, CuesConfig(**{**small, **switches})).eval()


def utterance(
    seed: int, words: Sequence[int] = (2, 1), frames: int = 9, offsets: Sequence[int] = ()
) -> dict[str, Tensor]:
    """Make random features of one utterance: tokens (with `<s>` and `</s>`), word spans, word relations, and frames.

    Args:
        words: number of tokens of each word.
        frames: number of audio frames.
        offsets: which utterance each word belongs to; 0 is the current one. By default, all words belong to it.
    """
    make = torch.Generator().manual_seed(seed)
    ends = torch.tensor(words).cumsum(0) + 1
    of = torch.tensor(offsets or [0] * len(words))
    spans = torch.stack([ends - torch.tensor(words), ends, of], 1)
    upper = torch.randint(0, 3, (len(words), len(words)), generator=make).triu(1)
    return {
        "text": torch.randn(int(ends[-1]) + 1, 6, generator=make),
        "words": spans.int(),
        "matrix": (upper + upper.T).flatten().to(torch.uint8),
        "audio": torch.randn(frames, 5, generator=make),
        "mel": torch.randn(7, 64, generator=make),
    }


def with_tracks(held: dict[str, Tensor], seed: int, steps: int) -> dict[str, Tensor]:
    """Copy the features of an utterance and add pitch classes and mel bands."""
    make = torch.Generator().manual_seed(seed)
    pitch = torch.randint(0, 257, (steps,), generator=make)
    return {**held, "pitch": pitch.int(), "bands": torch.rand(steps, 80, generator=make)}


MODALITY = {role: m for m, roles in MODELS["cues"].roles.items() for role in roles}


def batch_of(dialogues: Sequence[Sequence[dict[str, Tensor]]], epc: bool = False, extra: int = 0) -> Batch:
    """Make a batch of dialogues, with `extra` additional steps of padding."""
    longest = max(map(len, dialogues))
    mask = torch.tensor([[i < len(d) for i in range(longest)] for d in dialogues])
    steps, present = {}, {}
    for role, modality in MODALITY.items():
        held = [
            (r * longest + i, u[role]) for r, d in enumerate(dialogues) for i, u in enumerate(d) if role in u
        ]
        width = max((len(x) for _, x in held), default=1) + extra
        values = (
            torch.stack([F.pad(x, (0, 0) * (x.dim() - 1) + (0, width - len(x))) for _, x in held])
            if held
            else torch.zeros(0, 1, (WIDTHS | TRACKS)[role])
        )
        lengths = torch.tensor([len(x) for _, x in held], dtype=torch.long)
        at = torch.tensor([place for place, _ in held], dtype=torch.long)
        steps[role] = Steps(values, torch.arange(values.shape[1]) < lengths[:, None], at, modality)
        present[modality] = (
            torch.zeros(mask.numel(), dtype=torch.bool).index_fill(0, at, True).view(mask.shape)
        )
    labels = torch.zeros(mask.shape, dtype=torch.long).masked_fill(~mask, IGNORED)
    return Batch({}, present, mask, torch.zeros_like(labels), labels, labels if epc else None, steps)
