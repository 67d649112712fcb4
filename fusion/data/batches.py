"""From joined features to tensors: the dialogues of a subset, flat on the device, and padded batches of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ercache.manifest import Manifest, Utterance
from ercache.training.losses import IGNORED
from fusion.data.cache_reader import Modality
from fusion.data.labels import LabelSpace, label_space
from fusion.data.ragged import Ragged, Steps
from fusion.data.windows import DIALOGUES, View, stretches_of

EVALUATION_BATCH = 64  # dialogues; larger ones of mixed lengths would be padding for the most part
TOKENS = 4096  # padded utterances of a batch at most: a few very long dialogues must not fill the memory
PAIRS = 1 << 21  # of utterances of one dialogue in a batch, likewise: attention and graphs grow with them
NUMBERS = 1 << 26  # of a batch's padded steps at most, likewise
POOL = (
    8  # batches whose dialogues are sorted by length together; the more, the less padding and the less chance
)


@dataclass(frozen=True)
class Batch:
    """Padded dialogues, as every model takes them.

    Attributes:
        features: modality -> [B, L, D], standardised; 0 where the modality is absent.
        present: modality -> bool [B, L]; False where it is absent, and on padding.
        mask: bool [B, L]; True for utterances, False for padding.
        speakers: int [B, L]; 0, 1, .. in order of appearance in the dialogue.
        labels: int64 [B, L]; of the utterance that the position speaks of: itself, or in prediction, at the last
            position, the next one; -100 where there is no label, outside the subset, and on padding. Where any number
            of classes may hold at once, [B, L, C] of 1, 0 and -100.
        heard: in prediction, the labels of the utterances that are seen, as `labels`; None in recognition, where they
            are what is asked for.
        steps: role -> what the utterances hold step by step, for a model that names roles; it gets no `features`.
    """

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    mask: Tensor
    speakers: Tensor
    labels: Tensor
    heard: Tensor | None = None
    steps: dict[str, Steps] = field(default_factory=dict)


@dataclass(frozen=True)
class Statistics:
    """Mean and deviation over train, [D] each: of a modality's vectors, or of a role's steps."""

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
        speakers: [N].
        labels: of the utterances inside, [N] or [N, C].
        known: labels of all utterances of the dialogues, whether they are asked for or not; as `labels`.
        sequences: role -> steps of the N utterances.
    """

    name: str
    utterances: tuple[Utterance, ...]
    inside: Tensor
    offsets: Tensor
    features: dict[str, Tensor]
    present: dict[str, Tensor]
    speakers: Tensor
    labels: Tensor
    known: Tensor
    sequences: dict[str, Ragged] = field(default_factory=dict)

    @property
    def lengths(self) -> Tensor:
        """Utterances of each dialogue, [D]."""
        return self.offsets.diff()

    @property
    def widths(self) -> dict[str, int]:
        """D of each modality, and of a step of each role."""
        widths = {name: values.shape[1] for name, values in self.features.items()}
        return widths | {role: steps.width for role, steps in self.sequences.items()}

    def missing(self) -> dict[str, int]:
        """How many utterances of the subset lack each modality, and where there are such, `all` of several."""
        counts = {name: int((self.inside & ~has).sum()) for name, has in self.present.items()}
        if len(counts) < 2:
            return counts
        nothing = int((self.inside & ~torch.stack(list(self.present.values())).any(0)).sum())
        return counts | ({"all": nothing} if nothing else {})

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
    view: View = DIALOGUES,
    drop_unlabelled: bool = False,
    sequences: Mapping[str, Ragged] | None = None,
) -> Subset:
    """The dialogues that hold the ids of a subset.

    Args:
        rows: utterance id -> its row in the modalities.
        view: in prediction, the first utterance of a dialogue (of each of its speakers) follows nothing: it is no
            target.
        drop_unlabelled: leave out what has no label in the label set, instead of keeping it as context.
    """
    space = label_space(manifest, label_set)
    assert space is not None  # an unknown one was refused when the experiment was read
    dialogues = dialogues_of(manifest, set(ids))
    if drop_unlabelled:
        dialogues = _labelled(dialogues, set(ids), space)
    utterances = tuple(u for dialogue in dialogues for u in dialogue)
    wanted = set(ids) - {u.id for dialogue in dialogues for u in _untold(dialogue, view)}
    known = [space.of(u) for u in utterances]
    labels = [label if u.id in wanted else space.nothing for u, label in zip(utterances, known, strict=True)]
    picked = np.array([rows[u.id] for u in utterances])
    own = {role: steps.of(torch.from_numpy(picked)) for role, steps in (sequences or {}).items()}
    return Subset(
        name=name,
        utterances=utterances,
        inside=torch.tensor([u.id in wanted for u in utterances]),
        offsets=torch.tensor([0, *np.cumsum([len(dialogue) for dialogue in dialogues])]),
        features={m: torch.from_numpy(joined.values[picked]) for m, joined in modalities.items()},
        present=present_of(own)
        | {m: torch.from_numpy(joined.present[picked]) for m, joined in modalities.items()},
        speakers=torch.tensor([s for dialogue in dialogues for s in _speakers(dialogue)]),
        labels=torch.tensor(labels),
        known=torch.tensor(known),
        sequences=own,
    )


def present_of(sequences: Mapping[str, Ragged]) -> dict[str, Tensor]:
    """An utterance has a modality when it has steps of any of its roles; which ones, the steps themselves tell."""
    present: dict[str, Tensor] = {}
    for steps in sequences.values():
        present[steps.modality] = steps.present | present.get(steps.modality, steps.present)
    return present


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
    dialogues: Sequence[Sequence[Utterance]], wanted: set[str], space: LabelSpace
) -> list[list[Utterance]]:
    """The dialogues without their unlabelled utterances; without those that then hold none of the wanted ids."""
    left = [[u for u in dialogue if space.known(u)] for dialogue in dialogues]
    return [dialogue for dialogue in left if any(u.id in wanted for u in dialogue)]


def statistics_of(train: Subset) -> Statistics:
    """Mean and deviation over the utterances of train that have the modality, never over context or absent ones."""
    found = {
        role: told
        for role, steps in train.sequences.items()
        if (told := steps.statistics(train.inside.nonzero().flatten())) is not None
    }
    for name, values in train.features.items():
        seen = values[train.present[name] & train.inside].double()
        found[name] = seen.mean(0), seen.std(0, correction=0)
    mean, std = {}, {}
    for name, (centre, spread) in found.items():
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
    sequences = {
        role: replace(steps, mean=statistics.mean.get(role), std=statistics.std.get(role))
        for role, steps in subset.sequences.items()
    }
    return replace(subset, features=features, sequences=sequences)


class Padded:
    """A subset ready to be cut into batches: a batch is one gather a tensor, no loader, no copy of the subset.

    A model sees stretches of utterances at once: dialogues, or what leads up to a target (see `fusion.data.windows`).
    """

    def __init__(self, subset: Subset, view: View = DIALOGUES) -> None:
        self.subset = subset
        self._ahead = view.ahead > 0
        self._stretches = stretches_of(view, subset.offsets, subset.speakers)
        self._lengths: list[int] = self._stretches.lengths.tolist()
        self._numbers = self._numbers_of_utterances()
        known = (subset.labels != IGNORED).view(len(subset.labels), -1).any(1)
        targets = self._stretches.targets
        if targets is None:
            self._labelled: list[int] = sorted(set(torch.repeat_interleave(subset.lengths)[known].tolist()))
        else:
            self._labelled = known[targets].nonzero().flatten().tolist()

    def batch(self, stretches: Sequence[int]) -> Batch:
        """The stretches of these ranks, padded to the longest of them."""
        return self._gathered(stretches)[2]

    def shuffled(self, size: int, order: torch.Generator) -> Iterator[Batch]:
        """The labelled stretches once, in random order, in batches of at most `size` stretches and TOKENS utterances.

        Stretches of similar length share a batch: a random run of POOL batches is sorted by length, and the
        batches then come in random order.
        """
        ranks = [self._labelled[i] for i in torch.randperm(len(self._labelled), generator=order).tolist()]
        cut: list[list[int]] = []
        for start in range(0, len(ranks), size * POOL):
            cut += self._cut(ranks[start : start + size * POOL], size)
        for i in torch.randperm(len(cut), generator=order).tolist():
            yield self.batch(cut[i])

    def by_length(
        self, size: int = EVALUATION_BATCH, labelled: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Batch]]:
        """All stretches once, or the labelled ones, similar lengths together.

        Yields:
            The rows [B, L] of the subset that each position speaks of, where [B, L] it speaks of any, the batch.
        """
        stretches = self._labelled if labelled else range(len(self._lengths))
        for picked in self._cut(stretches, size) if stretches else ():
            yield self._gathered(picked)

    def _cut(self, stretches: Sequence[int], size: int) -> list[list[int]]:
        """Stretches by length, in batches of at most `size` stretches, TOKENS padded utterances, PAIRS and NUMBERS."""
        batches: list[list[int]] = [[]]
        held = most = 0  # utterances of the last batch, numbers of the largest of them
        for d in sorted(stretches, key=self._lengths.__getitem__):  # stable: equals keep their random order
            room = min(size, TOKENS // self._lengths[d], PAIRS // self._lengths[d] ** 2)
            held, most = held + self._lengths[d], max(most, self._numbers[d])
            if batches[-1] and (len(batches[-1]) >= room or held * most > NUMBERS):
                batches.append([])
                held, most = self._lengths[d], self._numbers[d]
            batches[-1].append(d)
        return batches

    def _numbers_of_utterances(self) -> list[int]:
        """How many numbers the steps of the largest utterance of each stretch are."""
        numbers = torch.zeros(len(self.subset.inside), dtype=torch.int64)
        for steps in self.subset.sequences.values():
            numbers += steps.lengths.cpu() * steps.size
        ends = zip(self._stretches.starts.tolist(), self._stretches.ends.tolist(), strict=True)
        return [int(numbers[start:end].max()) for start, end in ends]

    def _gathered(self, stretches: Sequence[int]) -> tuple[Tensor, Tensor, Batch]:
        subset = self.subset
        picked = torch.tensor(stretches, device=subset.offsets.device)
        rows, mask = self._stretches.rows(picked, max(self._lengths[d] for d in stretches))
        spoken, speaks = self._stretches.spoken_of(picked, rows, mask)
        padding = ~mask
        batch = Batch(
            features={m: _filled(values[rows], padding, 0) for m, values in subset.features.items()},
            present={m: values[rows] & mask for m, values in subset.present.items()},
            mask=mask,
            speakers=_filled(subset.speakers[rows], padding, 0),
            labels=_filled(subset.labels[spoken], ~speaks, IGNORED),
            # Only of what was said before the target: a stretch of a prediction ends there.
            heard=_filled(subset.known[rows], padding, IGNORED) if self._ahead else None,
            steps={role: steps.steps(rows, mask) for role, steps in subset.sequences.items()},
        )
        return spoken, speaks, batch


def _filled(values: Tensor, padding: Tensor, fill: int) -> Tensor:
    """Gathered values with the padding overwritten; they are our own copy."""
    return values.masked_fill_(padding.view(*padding.shape, *[1] * (values.dim() - 2)), fill)


def _untold(dialogue: Sequence[Utterance], view: View) -> list[Utterance]:
    """Those that nothing is heard before which they would be predicted from."""
    if not view.same_speaker:
        return list(dialogue[: view.ahead])
    first = {u.speaker: u for u in reversed(dialogue)}
    return list(first.values())


def _speakers(dialogue: Sequence[Utterance]) -> list[int]:
    rank: dict[str, int] = {}
    return [rank.setdefault(u.speaker, len(rank)) for u in dialogue]


def _to(value: Any, device: str) -> Any:
    if isinstance(value, dict):
        return {name: held.to(device) for name, held in value.items()}
    return value.to(device)


def seen(subset: Subset, statistics: Statistics | None, device: str) -> Subset:
    """A subset as the models see it: standardised where asked for, on the device."""
    return (standardized(subset, statistics) if statistics else subset).to(device)
