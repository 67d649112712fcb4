"""What a reader must know about a result before quoting it; shown beside the number wherever it stands."""

from dataclasses import dataclass

from app.report.gather import Gathered
from app.report.runs import Run

NOT_THE_PAPER = "not the paper's profile"


@dataclass(frozen=True)
class Mark:
    """A remark on a result; grave ones doubt its number."""

    text: str
    grave: bool


def marks_of(run: Run, gathered: Gathered) -> tuple[Mark, ...]:
    """Every remark once, the grave first."""
    grave = list(run.file.marks)
    origin = run.file.provenance
    for found, text in ((origin.random_weights, "random weights"), (origin.leak, "leak")):
        if found and not any(text in mark for mark in grave):
            grave.append(text)
    grave += changes_since(run, gathered)
    marks = [Mark(text, True) for text in dict.fromkeys(grave) if text != NOT_THE_PAPER]
    later = [feature for feature, reach in origin.context.items() if (reach or {}).get("future")]
    if later:
        marks.append(Mark(f"offline: {', '.join(later)} looks at later utterances", False))
    if not run.file.paper_profile or NOT_THE_PAPER in run.file.marks:
        marks.append(Mark(NOT_THE_PAPER, False))
    return tuple(marks)


def changes_since(run: Run, gathered: Gathered) -> list[str]:
    """What under the data folder is no longer what the run was trained on; absent files say nothing."""
    changed = []
    before, manifest = run.file.provenance, gathered.manifest(run.file.corpus)
    split = run.file.split
    if manifest and before.labels_digest and (split in manifest.splits or manifest.folds_of(split)):
        now = manifest.labels_digest(run.file.label_set, split)
        if now != before.labels_digest:
            changed.append("labels or split changed since the training")
    digests = {cache.path: cache.digest for cache in gathered.caches}
    if any(digests.get(path, digest) != digest for path, digest in before.caches.items()):
        changed.append("features changed since the training")
    return changed
