"""Section of the report about a corpus: sizes of its parts (train, dev, test), label counts, problems of the scan."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from app.report.palette import colours_of
from ercache.manifest import Manifest, Problem, Utterance
from ercache.reasons import Reason

LIST_LIMIT = 50  # longest expandable list; further entries are only counted


@dataclass(frozen=True)
class PartRow:
    """Numbers of dialogues, utterances and speakers in one corpus part (train, dev or test).

    Attributes:
        longest: number of utterances in the longest dialogue.
    """

    name: str
    dialogues: int
    utterances: int
    speakers: int
    longest: int


@dataclass(frozen=True)
class LabelShare:
    """How often a label occurs in one part (train, dev or test) of a corpus.

    Attributes:
        percent: share of the utterances of this part, in percent.
        width: width of the bar in the chart, in percent of the widest bar.
    """

    count: int
    percent: float
    width: float


@dataclass(frozen=True)
class LabelRow:
    """Row of the chart of label counts: how often a label occurs in each corpus part (train, dev, test).

    Attributes:
        colour: colour of the bars; None for the row that counts utterances without a label.
        shares: one `LabelShare` per corpus part.
    """

    label: str
    colour: str | None
    shares: tuple[LabelShare, ...]


@dataclass(frozen=True)
class LabelTable:
    """How often each label of one label set occurs in every part of a corpus (train, dev, test)."""

    name: str
    parts: tuple[str, ...]
    rows: tuple[LabelRow, ...]


@dataclass(frozen=True)
class ReasonCount:
    """How often one reason occurs: for a problem of a scan, or why utterances lack a feature.

    Attributes:
        status: for example `missing` (this is final) or `unavailable` (another run may succeed).
        reason: short name of the reason, such as `no_face`.
        meaning: the reason in words.
        count: number of problems or of utterances.
    """

    status: str
    reason: str
    meaning: str
    count: int


@dataclass(frozen=True)
class CorpusView:
    """What the report shows about a corpus: sizes, labels, splits and the problems that the scan found.

    Attributes:
        label_tables: how often each label occurs, one table per label set.
        splits: for each split its name, and the sizes of its subsets in words.
        reasons: number of problems of the scan for each status and reason, most frequent first.
        problems: the first problems of the scan.
        more: number of further problems, which are not listed.
    """

    name: str
    version: str
    parts: tuple[PartRow, ...]
    total: PartRow
    label_tables: tuple[LabelTable, ...]
    splits: tuple[tuple[str, str], ...]
    reasons: tuple[ReasonCount, ...]
    problems: tuple[Problem, ...]
    more: int


def corpus_view(manifest: Manifest) -> CorpusView:
    """Collect sizes, label counts, splits and scan problems from a manifest, for the report."""
    counts = Counter((p.status, p.reason) for p in manifest.problems)
    return CorpusView(
        name=manifest.corpus,
        version=manifest.version,
        parts=tuple(_part_row(part, manifest.of_part(part)) for part in manifest.parts),
        total=_part_row("all", manifest.utterances),
        label_tables=tuple(_label_table(manifest, name) for name in manifest.label_sets),
        splits=tuple(
            (name, ", ".join(f"{subset} {len(ids):,}" for subset, ids in split.items()))
            for name, split in manifest.splits.items()
        ),
        reasons=tuple(
            ReasonCount(status, reason, meaning_of(reason), n)
            for (status, reason), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ),
        problems=manifest.problems[:LIST_LIMIT],
        more=max(0, len(manifest.problems) - LIST_LIMIT),
    )


def meaning_of(reason: str) -> str:
    """Explain in words what a reason such as `no_face` means for an utterance; "" if ercache has no such reason."""
    return Reason(reason).meaning if reason in list(Reason) else ""


def _part_row(name: str, utterances: Sequence[Utterance]) -> PartRow:
    lengths = Counter(u.dialogue for u in utterances)
    return PartRow(
        name=name,
        dialogues=len(lengths),
        utterances=len(utterances),
        speakers=len({u.speaker for u in utterances}),
        longest=max(lengths.values(), default=0),
    )


def _label_table(manifest: Manifest, name: str) -> LabelTable:
    values: list[str | None] = [*manifest.label_sets[name]]
    counts = {part: Counter(u.labels.get(name) for u in manifest.of_part(part)) for part in manifest.parts}
    if any(count[None] for count in counts.values()):
        values.append(None)
    percents = {
        value: [100 * count[value] / (count.total() or 1) for count in counts.values()] for value in values
    }
    widest = max((p for row in percents.values() for p in row), default=0.0) or 1.0
    colours = colours_of(manifest.label_sets[name])
    rows = [
        LabelRow(
            label="no label" if value is None else value,
            colour=None if value is None else colours[value],
            shares=tuple(
                LabelShare(count[value], percent, 100 * percent / widest)
                for count, percent in zip(counts.values(), percents[value], strict=True)
            ),
        )
        for value in values
    ]
    return LabelTable(name, tuple(counts), tuple(rows))
