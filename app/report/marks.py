"""Remarks that the report shows beside a score, for example that the run used random weights."""

from dataclasses import dataclass

from app.report.gather import ReportData
from app.report.runs import Run
from fusion.runs.schema import changes_since


@dataclass(frozen=True)
class Mark:
    """A remark that the report shows beside a score.

    Attributes:
        text: the remark.
        grave: whether the score may be wrong, for example because of random weights.
    """

    text: str
    grave: bool


def marks_of(run: Run, gathered: ReportData) -> tuple[Mark, ...]:
    """Collect all different remarks on the scores of a run, the grave ones first."""
    grave = list(run.record.marks)
    origin = run.record.provenance
    for found, text in ((origin.random_weights, "random weights"), (origin.leak, "leak")):
        if found and not any(text in mark for mark in grave):
            grave.append(text)
    grave += _changes(run, gathered)
    marks = [Mark(text, True) for text in dict.fromkeys(grave)]
    later = [feature for feature, context in origin.context.items() if (context or {}).get("future")]
    if later:
        marks.append(Mark(f"offline: {', '.join(later)} uses later utterances", False))
    return tuple(marks)


def _changes(run: Run, gathered: ReportData) -> list[str]:
    """List what has changed since a run was trained (caches or labels), one text each. Absent files are ignored."""
    record, manifest = run.record, gathered.manifest(run.record.corpus)
    labels = None
    if manifest and (record.split in manifest.splits or manifest.folds_of(record.split)):
        labels = manifest.labels_digest(record.label_set, record.split)
    return changes_since(record, labels, {cache.path: cache.digest for cache in gathered.caches})
