"""Makes tensors from features: the flat tensors of a subset (train, dev or test), and padded batches of dialogues."""

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
    """A batch of padded dialogues: the input of every model.

    Sizes: B dialogues (or context windows), L utterances, D features of a modality, C classes.

    Attributes:
        features: modality -> standardised features [B, L, D]; 0 where the modality is absent.
        present: modality -> bool [B, L]; False where the modality is absent, and on padding.
        mask: bool [B, L]; True for utterances, False for padding.
        speakers: int [B, L]; index of the speaker in the dialogue, from 0 in order of appearance.
        labels: int64 [B, L]; class index of each position's target. In recognition (ERC) the target is the utterance
            itself. In prediction (EPC) only the last position has a target: the next utterance. -100 means no label:
            an unlabelled utterance, an utterance outside the subset, or padding. In a multi-label task, int64
            [B, L, C] with 1 (present), 0 (absent) and -100 (no label).
        prior_labels: the labels of the context utterances, in the same form as `labels`. Only prediction (EPC) has
            them. In recognition this field is None, because these labels would be the answer.
        steps: role (an input of the model) -> steps (words, frames or segments) of the utterances. Filled only for
            models that take sequences; the `features` of such a batch are empty.
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
    """Mean and standard deviation of the features over the training utterances, to z-score features with them.

    Attributes:
        mean, std: modality -> tensor of the shape of one feature vector, for pooled features. For sequences: role (an
            input of the model) -> tensor of the shape of one step.
    """

    mean: dict[str, Tensor]
    std: dict[str, Tensor]


@dataclass(frozen=True)
class Subset:
    """The dialogues of one subset (train, dev or test) of a split, as flat tensors over their N utterances.

    Dialogues are complete: an utterance that is unlabelled or belongs to another subset stays as context, with the
    label -100. With `drop_unlabelled` in the experiment, unlabelled utterances are left out; labelled utterances of
    other subsets stay.

    Sizes: N utterances, D values of a feature vector, C classes.

    Attributes:
        name: name of the subset.
        utterances: the N utterances, dialogue after dialogue.
        in_subset: bool [N]; whether the utterance belongs to the subset.
        offsets: [number of dialogues + 1]; dialogue d owns the utterances offsets[d]:offsets[d + 1].
        features: modality -> pooled features [N, D].
        present: modality -> bool [N]; whether the utterance has the modality.
        speakers: [N]; index of the speaker in the dialogue.
        labels: class indices [N], or [N, C] in a multi-label task; -100 for utterances outside the subset.
        all_labels: the labels of all N utterances, also of those outside the subset, in the same form as `labels`.
        sequences: role (an input of the model) -> steps of the N utterances.
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
        """Number of utterances of each dialogue, int [number of dialogues]."""
        return self.offsets.diff()

    @property
    def widths(self) -> dict[str, int]:
        """Size of each input of the model.

        For pooled features: modality -> size of the feature vector. For sequences: role (an input) -> size of a step.
        """
        widths = {name: values.shape[1] for name, values in self.features.items()}
        return widths | {role: steps.width for role, steps in self.sequences.items()}

    def missing(self) -> dict[str, int]:
        """Count, for each modality, the subset's utterances without it: modality -> number of utterances.

        The key `all` counts utterances without any modality. It exists only if there are two or more modalities and
        the count is above 0.
        """
        counts = {name: int((self.in_subset & ~has).sum()) for name, has in self.present.items()}
        if len(counts) < 2:
            return counts
        nothing = int((self.in_subset & ~torch.stack(list(self.present.values())).any(0)).sum())
        return counts | ({"all": nothing} if nothing else {})

    def to(self, device: str) -> "Subset":
        """Return a copy of the subset with all tensors on a torch device, such as `cpu` or `cuda:0`."""
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
    """Make a subset (train, dev or test) from all dialogues that hold at least one of its utterances.

    Args:
        manifest: the corpus.
        name: name of the subset.
        ids: ids of the utterances that belong to the subset.
        label_set: name of a label set, or of a family of label sets (multi-label).
        rows: utterance id -> row index in `modalities` and `sequences`.
        modalities: modality -> pooled features.
        window: context window of the task. In prediction (EPC), utterances without earlier context are not predicted:
            the first one of a dialogue, or with `window.same_speaker` the first one of each speaker.
        drop_unlabelled: leave out utterances without a label, instead of keeping them as context.
        sequences: role (an input of the model) -> steps, for a model that takes sequences.
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
    """Return which of N utterances have each modality: modality -> bool [N].

    An utterance has a modality if at least one role (input of the model) of this modality has steps for the utterance.
    """
    present: dict[str, Tensor] = {}
    for steps in sequences.values():
        present[steps.modality] = steps.present | present.get(steps.modality, steps.present)
    return present


def dialogues_of(manifest: Manifest, ids: set[str]) -> list[list[Utterance]]:
    """Return all dialogues that hold an utterance whose id is in `ids`: whole dialogues, in manifest order."""
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
    """Remove all unlabelled utterances; then remove the dialogues without any utterance whose id is in `wanted`."""
    left = [[u for u in dialogue if space.has_label(u)] for dialogue in dialogues]
    return [dialogue for dialogue in left if any(u.id in wanted for u in dialogue)]


def statistics_of(train: Subset) -> Statistics:
    """Compute the mean and standard deviation of each modality's features (for sequences, over all steps).

    Only training utterances that have the modality count. Context utterances of other subsets do not count.
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
    """Return the subset with z-scored features: (value - mean) / standard deviation; 0 where a modality is absent.

    Sequences are not changed here: they are z-scored when their steps are gathered into batches.
    """
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
    """Cuts a subset (train, dev or test) into padded batches. The subset itself is not copied.

    A row of a batch is a span of consecutive utterances: a whole dialogue, or the context of one target utterance
    (see `fusion.data.windows`).
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
        """Make a batch of the spans (dialogues or context windows) with the indices `spans`, padded to the longest."""
        return self._gathered(spans)[2]

    def shuffled(self, size: int, order: torch.Generator) -> Iterator[Batch]:
        """Yield the batches of one training epoch: every span (dialogue or context window) with a label, once.

        The order is random. A batch has at most `size` spans; batches of long spans have fewer, to limit memory. To
        save padding, spans of similar length share a batch: SORTED_BATCHES * `size` random spans are sorted by length,
        and then cut into batches.
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
        """Yield the batches of an evaluation: every span (dialogue or context window) once, similar lengths together.

        Args:
            size: greatest number of spans in a batch.
            labelled: yield only spans that have a label.

        Yields:
            Three values for each batch of B spans, padded to L positions: `target` int [B, L], the index (in the
            subset) of the utterance that each position predicts; `has_target` bool [B, L], whether the position
            predicts an utterance (if not, ignore `target` there); and the batch itself.
        """
        spans = self._labelled if labelled else range(len(self._lengths))
        for picked in self._cut(spans, size) if spans else ():
            yield self._gathered(picked)

    def _cut(self, spans: Sequence[int], size: int) -> list[list[int]]:
        """Sort spans (dialogues, or windows of dialogues) by length, and divide the sorted list into batches.

        A batch has at most `size` spans, and fewer if they would exceed the limits of memory at the top of this file.
        """
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
        """Return, for each span, how many numbers the steps of its largest utterance hold; this limits batch sizes."""
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
    """Set padded positions of `values` to `fill`, in place, and return `values` (a gathered copy of the features)."""
    return values.masked_fill_(padding.view(*padding.shape, *[1] * (values.dim() - 2)), fill)


def _without_history(dialogue: Sequence[Utterance], window: ContextWindow) -> list[Utterance]:
    """Return the utterances of a dialogue that cannot be predicted (EPC), because they have no earlier context."""
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
    """Return a copy of a subset on a torch device. Features are z-scored with `statistics`, unless this is None."""
    return (standardized(subset, statistics) if statistics else subset).to(device)
