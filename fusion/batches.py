"""From joined features to tensors: the dialogues of a subset, flat on the device, and padded batches of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ercache.manifest import Manifest, Utterance
from ercache.training import IGNORED
from fusion.features import Modality

EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Batch:
    """Padded dialogues, as every model takes them.

    Attributes:
        features: modality -> [B, L, D], standardised; 0 where the modality is absent.
        present: modality -> bool [B, L]; False where it is absent, and on padding.
        mask: bool [B, L]; True for utterances, False for padding.
        speakers: int [B, L]; 0, 1, .. in order of appearance in the dialogue.
        labels: int64 [B, L]; -100 where there is no label, outside the subset, and on padding.
    """

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    mask: Tensor
    speakers: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation of each modality over the utterances of train that have it, [D] each."""

    mean: dict[str, Tensor]
    std: dict[str, Tensor]


@dataclass(frozen=True)
class Subset:
    """The dialogues of one subset of a split, utterances one after the other.

    A dialogue comes whole: utterances that are unlabelled or belong to another subset are its context and carry
    no label. Where unlabelled ones were dropped, a dialogue holds those with a label, of whichever subset they are.

    Attributes:
        utterances: of all dialogues, N.
        inside: bool [N]; the utterance belongs to the subset.
        offsets: dialogue d owns utterances offsets[d]:offsets[d + 1], [D + 1].
        features, present: modality -> [N, D], [N].
        speakers, labels: [N].
    """

    name: str
    utterances: tuple[Utterance, ...]
    inside: Tensor
    offsets: Tensor
    features: dict[str, Tensor]
    present: dict[str, Tensor]
    speakers: Tensor
    labels: Tensor

    @property
    def lengths(self) -> Tensor:
        """Utterances of each dialogue, [D]."""
        return self.offsets.diff()

    @property
    def widths(self) -> dict[str, int]:
        """D of each modality."""
        return {name: values.shape[1] for name, values in self.features.items()}

    def missing(self) -> dict[str, int]:
        """How many utterances of the subset lack each modality."""
        return {name: int((self.inside & ~has).sum()) for name, has in self.present.items()}

    def to(self, device: str) -> "Subset":
        """The same on a device."""
        fields: dict[str, Any] = {
            name: _to(value, device)
            for name, value in vars(self).items()
            if name not in ("name", "utterances")
        }
        return Subset(self.name, self.utterances, **fields)


def make_subset(
    manifest: Manifest,
    name: str,
    ids: Sequence[str],
    label_set: str,
    rows: Mapping[str, int],
    modalities: Mapping[str, Modality],
    drop_unlabelled: bool = False,
) -> Subset:
    """The dialogues that hold the ids of a subset.

    Args:
        rows: utterance id -> its row in the modalities.
        drop_unlabelled: leave out what has no label in the label set, instead of keeping it as context.
    """
    wanted = set(ids)
    rank = {value: c for c, value in enumerate(manifest.label_sets[label_set])}
    dialogues = dialogues_of(manifest, wanted)
    if drop_unlabelled:
        dialogues = _labelled(dialogues, wanted, label_set)
    utterances = tuple(u for dialogue in dialogues for u in dialogue)
    labels = [
        rank.get(u.labels.get(label_set) or "", IGNORED) if u.id in wanted else IGNORED for u in utterances
    ]
    picked = np.array([rows[u.id] for u in utterances])
    return Subset(
        name=name,
        utterances=utterances,
        inside=torch.tensor([u.id in wanted for u in utterances]),
        offsets=torch.tensor([0, *np.cumsum([len(dialogue) for dialogue in dialogues])]),
        features={m: torch.from_numpy(joined.values[picked]) for m, joined in modalities.items()},
        present={m: torch.from_numpy(joined.present[picked]) for m, joined in modalities.items()},
        speakers=torch.tensor([s for dialogue in dialogues for s in _speakers(dialogue)]),
        labels=torch.tensor(labels),
    )


def dialogues_of(manifest: Manifest, ids: set[str]) -> list[list[Utterance]]:
    """The whole dialogues, in manifest order, that hold at least one of the ids."""
    dialogues: dict[tuple[str, str], list[Utterance]] = {}
    for u in manifest.utterances:
        dialogues.setdefault((u.part, u.dialogue), []).append(u)
    return [
        sorted(dialogue, key=lambda u: u.index)
        for dialogue in dialogues.values()
        if any(u.id in ids for u in dialogue)
    ]


def _labelled(
    dialogues: Sequence[Sequence[Utterance]], wanted: set[str], label_set: str
) -> list[list[Utterance]]:
    """The dialogues without their unlabelled utterances; without those that then hold none of the wanted ids."""
    left = [[u for u in dialogue if u.labels.get(label_set) is not None] for dialogue in dialogues]
    return [dialogue for dialogue in left if any(u.id in wanted for u in dialogue)]


def statistics_of(train: Subset) -> Statistics:
    """Mean and deviation over the utterances of train that have the modality, never over context or absent ones."""
    mean, std = {}, {}
    for name, values in train.features.items():
        seen = values[train.present[name] & train.inside].double()
        centre, spread = seen.mean(0), seen.std(0, correction=0)
        # A dimension that does not vary in train would blow up the least deviation elsewhere.
        constant = spread <= 1e-6 * centre.abs().clamp(min=1)
        mean[name] = centre.float()
        std[name] = spread.masked_fill(constant, 1.0).float()
    return Statistics(mean, std)


def standardized(subset: Subset, statistics: Statistics) -> Subset:
    """z-scores; what is absent is 0 afterwards, and its presence mask says so."""
    features = {
        name: ((values - statistics.mean[name]) / statistics.std[name]).where(
            subset.present[name][:, None], 0
        )
        for name, values in subset.features.items()
    }
    return Subset(**{**vars(subset), "features": features})


class Padded:
    """A subset ready to be cut into batches: one gather a tensor and batch, no loader."""

    def __init__(self, subset: Subset) -> None:
        self.subset = subset
        lengths, device = subset.lengths, subset.offsets.device
        size = len(subset.utterances)
        position = torch.arange(int(lengths.max()), device=device)
        rows = subset.offsets[:-1, None] + position  # [D, L]
        self._mask = position < lengths[:, None]
        self._rows = rows.where(self._mask, size)  # row N is the padding
        self._lengths: list[int] = lengths.tolist()
        self._features = {m: torch.cat([v, v.new_zeros(1, v.shape[1])]) for m, v in subset.features.items()}
        self._present = {m: torch.cat([v, v.new_zeros(1)]) for m, v in subset.present.items()}
        self._speakers = torch.cat([subset.speakers, subset.speakers.new_zeros(1)])
        self._labels = torch.cat([subset.labels, subset.labels.new_full((1,), IGNORED)])
        self._labelled: list[int] = (self._labels[self._rows] != IGNORED).any(1).nonzero().flatten().tolist()

    def batch(self, dialogues: Sequence[int]) -> Batch:
        """The dialogues of these ranks, padded to the longest of them."""
        longest = max(self._lengths[d] for d in dialogues)
        picked = torch.tensor(dialogues, device=self._rows.device)
        rows = self._rows[picked, :longest]
        return Batch(
            features={m: values[rows] for m, values in self._features.items()},
            present={m: values[rows] for m, values in self._present.items()},
            mask=self._mask[picked, :longest],
            speakers=self._speakers[rows],
            labels=self._labels[rows],
        )

    def shuffled(self, size: int, order: torch.Generator) -> Iterator[Batch]:
        """The labelled dialogues once, in random order, in batches of at most `size`."""
        ranks = [self._labelled[i] for i in torch.randperm(len(self._labelled), generator=order).tolist()]
        for start in range(0, len(ranks), size):
            yield self.batch(ranks[start : start + size])

    def by_length(self, size: int = EVALUATION_BATCH) -> Iterator[tuple[Tensor, Batch]]:
        """All dialogues once, similar lengths together; each batch with its utterances' rows [B, L] in the subset."""
        ranks = sorted(range(len(self._lengths)), key=lambda d: (self._lengths[d], d))
        for start in range(0, len(ranks), size):
            picked = ranks[start : start + size]
            batch = self.batch(picked)
            yield self._rows[picked, : batch.mask.shape[1]], batch


def _speakers(dialogue: Sequence[Utterance]) -> list[int]:
    rank: dict[str, int] = {}
    return [rank.setdefault(u.speaker, len(rank)) for u in dialogue]


def _to(value: Any, device: str) -> Any:
    if isinstance(value, dict):
        return {name: tensor.to(device) for name, tensor in value.items()}
    return value.to(device)
