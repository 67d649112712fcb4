"""What a reader must know about a result before quoting it; shown beside the number wherever it stands."""

from dataclasses import dataclass

from app.report.gather import ReportData
from app.report.runs import Run
from fusion.runs.schema import changes_since

NOT_THE_PAPER = "not the paper's profile"


@dataclass(frozen=True)
class Mark:
    """A remark on a result; grave ones doubt its number."""

    text: str
    grave: bool


def marks_of(run: Run, gathered: ReportData) -> tuple[Mark, ...]:
    """Every remark once, the grave first."""
    grave = list(run.record.marks)
    origin = run.record.provenance
    for found, text in ((origin.random_weights, "random weights"), (origin.leak, "leak")):
        if found and not any(text in mark for mark in grave):
            grave.append(text)
    grave += _changes(run, gathered)
    marks = [Mark(text, True) for text in dict.fromkeys(grave) if text != NOT_THE_PAPER]
    later = [feature for feature, context in origin.context.items() if (context or {}).get("future")]
    if later:
        marks.append(Mark(f"offline: {', '.join(later)} looks at later utterances", False))
    if not run.record.paper_profile or NOT_THE_PAPER in run.record.marks:
        marks.append(Mark(NOT_THE_PAPER, False))
    return tuple(marks)


def changes_since(run: Run, gathered: ReportData) -> list[str]:
    """What under the data folder is no longer what the run was trained on; absent files say nothing."""
    record, manifest = run.record, gathered.manifest(run.record.corpus)
    labels = None
    if manifest and (record.split in manifest.splits or manifest.folds_of(record.split)):
        labels = manifest.labels_digest(record.label_set, record.split)
    return changes_since(record, labels, {cache.path: cache.digest for cache in gathered.caches})
