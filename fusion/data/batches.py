"""From joined features to tensors: the dialogues of a subset, flat on the device, and their padded batches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ercache.manifest import Manifest, Utterance
from ercache.training.losses import IGNORED
from fusion.data.cache_reader import ModalityFeatures
from fusion.data.labels import LabelSpace, label_space
from fusion.data.ragged import Ragged, Steps
from fusion.data.windows import WHOLE_DIALOGUES, ContextWindow, spans_of

EVALUATION_BATCH = 64  # dialogues; a larger batch of mixed lengths would consist mostly of padding
MAX_UTTERANCES = 4096  # padded utterances in a batch: a few very long dialogues must not fill the memory
MAX_PAIRS = 1 << 21  # pairs of utterances in a batch: the memory of attention and graphs grows with them
MAX_NUMBERS = 1 << 26  # numbers in the padded steps of a batch
SORTED_BATCHES = 8  # batches sorted by length together; more of them: less padding, but less random batches


@dataclass(frozen=True)
class Batch:
    """Padded dialogues: the input of every model.

    B dialogues (or context windows), L utterances, D features, C classes.

    Attributes:
        features: modality -> [B, L, D], standardised; 0 where the modality is absent.
        present: modality -> bool [B, L]; False where the modality is absent, and on padding.
        mask: bool [B, L]; True for utterances, False for padding.
        speakers: int [B, L]; 0, 1, .. in order of appearance in the dialogue.
        labels: int64 [B, L]; the label of each position's target. In recognition (ERC) the target is the utterance
            itself. In prediction (EPC) only the last position has a target, the next utterance. -100 means no label:
            an unlabelled utterance, one outside the subset, or padding. A multi-label task has [B, L, C] with the
            values 1, 0 and -100.
        prior_labels: the labels of the context, in the same form as `labels`. Only prediction has them. In recognition
            they are None, because they are the answer.
        steps: role -> the steps (words, frames, segments) of the utterances. Only a model that names roles gets
            them; its `features` are empty.
    """

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    mask: Tensor
    speakers: Tensor
    labels: Tensor
    prior_labels: Tensor | None = None
    steps: dict[str, Steps] = field(default_factory=dict)


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation over train, [D] each, by modality (of its vectors) or by role (of its steps)."""

    mean: dict[str, Tensor]
    std: dict[str, Tensor]


@dataclass(frozen=True)
class Subset:
    """The dialogues of one subset of a split, as flat tensors over all utterances.

    Dialogues are complete. An utterance that is unlabelled or belongs to another subset stays as context; its label
    is -100. With `drop_unlabelled` the unlabelled utterances are left out; the labelled ones of other subsets stay.

    Attributes:
        utterances: the N utterances, dialogue after dialogue.
        in_subset: bool [N]; whether the utterance belongs to the subset.
        offsets: [number of dialogues + 1]; dialogue d owns the utterances offsets[d]:offsets[d + 1].
        features: modality -> [N, D].
        present: modality -> bool [N].
        speakers: [N].
        labels: [N] or [N, C]; -100 for utterances outside the subset.
        all_labels: the labels of all utterances, in the subset or not, in the same form as `labels`.
        sequences: role -> steps of the N utterances.
    """

    name: str
    utterances: tuple[Utterance, ...]
    in_subset: Tensor
    offsets: Tensor
    features: dict[str, Tensor]
    present: dict[str, Tensor]
    speakers: Tensor
    labels: Tensor
    all_labels: Tensor
    sequences: dict[str, Ragged] = field(default_factory=dict)

    @property
    def lengths(self) -> Tensor:
        """Number of utterances of each dialogue, [number of dialogues]."""
        return self.offsets.diff()

    @property
    def widths(self) -> dict[str, int]:
        """Feature size D by modality, and the size of a step by role."""
        widths = {name: values.shape[1] for name, values in self.features.items()}
        return widths | {role: steps.width for role, steps in self.sequences.items()}

    def missing(self) -> dict[str, int]:
        """Modality -> number of the subset's utterances without it; `all` counts those without any modality.

        `all` is there only for two or more modalities, and only if it is not 0.
        """
        counts = {name: int((self.in_subset & ~has).sum()) for name, has in self.present.items()}
        if len(counts) < 2:
            return counts
        nothing = int((self.in_subset & ~torch.stack(list(self.present.values())).any(0)).sum())
        return counts | ({"all": nothing} if nothing else {})

    def to(self, device: str) -> "Subset":
        """Return a copy on the device."""
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
    modalities: Mapping[str, ModalityFeatures],
    window: ContextWindow = WHOLE_DIALOGUES,
    drop_unlabelled: bool = False,
    sequences: Mapping[str, Ragged] | None = None,
) -> Subset:
    """Make the subset of all dialogues that hold at least one of the ids.

    Args:
        manifest: the corpus.
        name: name of the subset.
        ids: ids of the utterances that belong to the subset.
        label_set: label set, or family of label sets.
        rows: utterance id -> its row in `modalities` and `sequences`.
        modalities: modality -> pooled features.
        window: context window of the task. In prediction an utterance without context is no target: the first of a
            dialogue, or the first of each speaker if the target is the speaker's own next utterance.
        drop_unlabelled: leave out utterances without a label, instead of keeping them as context.
        sequences: role -> steps, for a model that names roles.
    """
    space = label_space(manifest, label_set)
    assert space is not None  # reading the experiment refuses an unknown label set
    dialogues = dialogues_of(manifest, set(ids))
    if drop_unlabelled:
        dialogues = _labelled(dialogues, set(ids), space)
    utterances = tuple(u for dialogue in dialogues for u in dialogue)
    wanted = set(ids) - {u.id for dialogue in dialogues for u in _without_history(dialogue, window)}
    known = [space.label_of(u) for u in utterances]
    labels = [label if u.id in wanted else space.no_label for u, label in zip(utterances, known, strict=True)]
    picked = np.array([rows[u.id] for u in utterances])
    own = {role: steps.select(torch.from_numpy(picked)) for role, steps in (sequences or {}).items()}
    return Subset(
        name=name,
        utterances=utterances,
        in_subset=torch.tensor([u.id in wanted for u in utterances]),
        offsets=torch.tensor([0, *np.cumsum([len(dialogue) for dialogue in dialogues])]),
        features={m: torch.from_numpy(joined.values[picked]) for m, joined in modalities.items()},
        present=present_of(own)
        | {m: torch.from_numpy(joined.present[picked]) for m, joined in modalities.items()},
        speakers=torch.tensor([s for dialogue in dialogues for s in _speakers(dialogue)]),
        labels=torch.tensor(labels),
        all_labels=torch.tensor(known),
        sequences=own,
    )


def present_of(sequences: Mapping[str, Ragged]) -> dict[str, Tensor]:
    """Modality -> bool [N]: an utterance has a modality if it has steps of at least one of its roles."""
    present: dict[str, Tensor] = {}
    for steps in sequences.values():
        present[steps.modality] = steps.present | present.get(steps.modality, steps.present)
    return present


def dialogues_of(manifest: Manifest, ids: set[str]) -> list[list[Utterance]]:
    """Return the complete dialogues that hold at least one of the ids, in manifest order."""
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
    """Remove the unlabelled utterances, then the dialogues that hold none of the wanted ids any more."""
    left = [[u for u in dialogue if space.has_label(u)] for dialogue in dialogues]
    return [dialogue for dialogue in left if any(u.id in wanted for u in dialogue)]


def statistics_of(train: Subset) -> Statistics:
    """Mean and standard deviation over the utterances of train that have the modality.

    Context utterances outside train and utterances without the modality do not count.
    """
    found = {
        role: moments
        for role, steps in train.sequences.items()
        if (moments := steps.statistics(train.in_subset.nonzero().flatten())) is not None
    }
    for name, values in train.features.items():
        own = values[train.present[name] & train.in_subset].double()
        found[name] = own.mean(0), own.std(0, correction=0)
    mean, std = {}, {}
    for name, (centre, spread) in found.items():
        # Dividing by a deviation near 0 would turn the smallest change in dev or test into a huge value.
        constant = spread <= 1e-6 * centre.abs().clamp(min=1)
        mean[name] = centre.float()
        std[name] = spread.masked_fill(constant, 1.0).float()
    return Statistics(mean, std)


def standardized(subset: Subset, statistics: Statistics) -> Subset:
    """Replace features by their z-scores. Absent ones become 0; `present` still tells them apart."""
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


class PaddedBatches:
    """Cuts a subset into padded batches, with one gather for each tensor and no copy of the subset.

    A row of a batch is a span of utterances: a whole dialogue, or the context of one target (`fusion.data.windows`).
    """

    def __init__(self, subset: Subset, window: ContextWindow = WHOLE_DIALOGUES) -> None:
        self.subset = subset
        self._ahead = window.ahead > 0
        self._spans = spans_of(window, subset.offsets, subset.speakers)
        self._lengths: list[int] = self._spans.lengths.tolist()
        self._numbers = self._numbers_of_utterances()
        known = (subset.labels != IGNORED).view(len(subset.labels), -1).any(1)
        targets = self._spans.targets
        if targets is None:
            self._labelled: list[int] = sorted(set(torch.repeat_interleave(subset.lengths)[known].tolist()))
        else:
            self._labelled = known[targets].nonzero().flatten().tolist()

    def batch(self, spans: Sequence[int]) -> Batch:
        """Return the batch of some spans, by number, padded to the longest of them."""
        return self._gathered(spans)[2]

    def shuffled(self, size: int, order: torch.Generator) -> Iterator[Batch]:
        """Yield each span that has a label once, in random order and in batches of at most `size` spans.

        Spans of similar length share a batch: SORTED_BATCHES batches of random spans are sorted by length together,
        and the resulting batches come in random order. Long spans make smaller batches (see the bounds above).
        """
        ranks = [self._labelled[i] for i in torch.randperm(len(self._labelled), generator=order).tolist()]
        cut: list[list[int]] = []
        for start in range(0, len(ranks), size * SORTED_BATCHES):
            cut += self._cut(ranks[start : start + size * SORTED_BATCHES], size)
        for i in torch.randperm(len(cut), generator=order).tolist():
            yield self.batch(cut[i])

    def by_length(
        self, size: int = EVALUATION_BATCH, labelled: bool = False
    ) -> Iterator[tuple[Tensor, Tensor, Batch]]:
        """Yield each span once, spans of similar length together.

        Args:
            size: spans in a batch at most.
            labelled: only the spans that have a label.

        Yields:
            `target` int [B, L], the row in the subset of the utterance that each position predicts;
            `has_target` bool [B, L], whether the position predicts any (`target` means nothing where it does not);
            and the batch.
        """
        spans = self._labelled if labelled else range(len(self._lengths))
        for picked in self._cut(spans, size) if spans else ():
            yield self._gathered(picked)

    def _cut(self, spans: Sequence[int], size: int) -> list[list[int]]:
        """Sort spans by length and cut them into batches of at most `size` spans that respect the bounds above."""
        batches: list[list[int]] = [[]]
        held = most = 0  # utterances of the last batch; numbers in its largest utterance
        for d in sorted(
            spans, key=self._lengths.__getitem__
        ):  # stable: equal lengths keep their random order
            room = min(size, MAX_UTTERANCES // self._lengths[d], MAX_PAIRS // self._lengths[d] ** 2)
            held, most = held + self._lengths[d], max(most, self._numbers[d])
            if batches[-1] and (len(batches[-1]) >= room or held * most > MAX_NUMBERS):
                batches.append([])
                held, most = self._lengths[d], self._numbers[d]
            batches[-1].append(d)
        return batches

    def _numbers_of_utterances(self) -> list[int]:
        """For each span: how many numbers the steps of its largest utterance hold."""
        numbers = torch.zeros(len(self.subset.in_subset), dtype=torch.int64)
        for steps in self.subset.sequences.values():
            numbers += steps.lengths.cpu() * steps.size
        ends = zip(self._spans.starts.tolist(), self._spans.ends.tolist(), strict=True)
        return [int(numbers[start:end].max()) for start, end in ends]

    def _gathered(self, spans: Sequence[int]) -> tuple[Tensor, Tensor, Batch]:
        subset = self.subset
        picked = torch.tensor(spans, device=subset.offsets.device)
        rows, mask = self._spans.rows(picked, max(self._lengths[d] for d in spans))
        target, has_target = self._spans.target_rows(picked, rows, mask)
        padding = ~mask
        batch = Batch(
            features={m: _filled(values[rows], padding, 0) for m, values in subset.features.items()},
            present={m: values[rows] & mask for m, values in subset.present.items()},
            mask=mask,
            speakers=_filled(subset.speakers[rows], padding, 0),
            labels=_filled(subset.labels[target], ~has_target, IGNORED),
            # In prediction a span ends before its target, so the target's own label is not among these.
            prior_labels=_filled(subset.all_labels[rows], padding, IGNORED) if self._ahead else None,
            steps={role: steps.gather(rows, mask) for role, steps in subset.sequences.items()},
        )
        return target, has_target, batch


def _filled(values: Tensor, padding: Tensor, fill: int) -> Tensor:
    """Overwrite the padding of gathered values in place (a gather has made a copy already)."""
    return values.masked_fill_(padding.view(*padding.shape, *[1] * (values.dim() - 2)), fill)


def _without_history(dialogue: Sequence[Utterance], window: ContextWindow) -> list[Utterance]:
    """The utterances of a dialogue that have no context to be predicted from."""
    if not window.same_speaker:
        return list(dialogue[: window.ahead])
    first = {u.speaker: u for u in reversed(dialogue)}
    return list(first.values())


def _speakers(dialogue: Sequence[Utterance]) -> list[int]:
    rank: dict[str, int] = {}
    return [rank.setdefault(u.speaker, len(rank)) for u in dialogue]


def _to(value: Any, device: str) -> Any:
    if isinstance(value, dict):
        return {name: held.to(device) for name, held in value.items()}
    return value.to(device)


def standardized_on_device(subset: Subset, statistics: Statistics | None, device: str) -> Subset:
    """Return the subset as the models see it: standardised (without statistics: unchanged), on the device."""
    return (standardized(subset, statistics) if statistics else subset).to(device)
