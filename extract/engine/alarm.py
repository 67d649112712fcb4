"""What is told while a run goes on: that all utterances of a file, or most of a corpus, fail alike."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from ercache.reasons import Reason
from extract.engine.job import Done, Job
from extract.engine.plan import Feature

Tell = Callable[[str], None]

MANY: Final = 3  # utterances of one file that fail alike are no accident any more
MOST: Final = 20  # results before a word on the whole corpus
# What a corpus may well have by itself, and a scan has told.
_USUAL: Final = frozenset(
    {Reason.NO_FACE, Reason.NO_TEXT, Reason.SILENT, Reason.TOO_SHORT, Reason.NOT_IN_CORPUS}
)


class Alarm:
    """Looks at the results of jobs as they come, and tells each fault of a file or of the corpus once."""

    def __init__(self, features: Mapping[str, Feature], tell: Tell) -> None:
        self._features, self._tell = features, tell
        self._results: Counter[str] = Counter()
        self._faults: Counter[tuple[str, Reason]] = Counter()
        self._words: dict[tuple[str, Reason], str] = {}  # of the first such fault
        self._told: set[object] = set()

    def look(self, job: Job, done: Done) -> None:
        """Look at what came of a job."""
        self._look_at_files(job, done)
        for name, *_ in done.records:
            self._results[name] += 1
        for fault in done.faults:
            if (self._path(job, fault.feature, fault.row), fault.reason) in self._told:
                continue  # said of its file
            self._faults[fault.feature, fault.reason] += 1
            self._words.setdefault((fault.feature, fault.reason), fault.detail)
        for (name, reason), count in self._faults.items():
            if reason in _USUAL or self._results[name] < MOST or 2 * count <= self._results[name]:
                continue
            what = f"{name}: {count} of {self._results[name]} utterances so far cannot be had"
            self._once((name, reason), what, reason, self._words[name, reason])

    def _look_at_files(self, job: Job, done: Done) -> None:
        rows: dict[tuple[str, str], set[int]] = defaultdict(set)
        for name, row, *_ in done.records:
            path = self._path(job, name, row)
            if path is not None:
                rows[path, name].add(row)
        for (path, name), numbers in rows.items():
            faults = [
                f for f in done.faults if f.feature == name and f.row in numbers and f.reason not in _USUAL
            ]
            reasons = {f.reason for f in faults}
            if len(numbers) >= MANY and len(faults) == len(numbers) and len(reasons) == 1:
                what = f"{path}: none of its {len(numbers)} utterances so far can be had"
                self._once((path, *reasons), what, faults[0].reason, faults[0].detail)

    def _path(self, job: Job, feature: str, row: int) -> str | None:
        """The file that a row of a feature is read from; None for a text."""
        source = job.shard[row]
        modality = self._features[feature].spec.modality
        ref = {"audio": source.audio, "visual": source.video}.get(modality)
        return None if ref is None else ref.path

    def _once(self, key: object, what: str, reason: Reason, words: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._tell(f"{what}: {reason.value} ({reason.meaning}){': ' + words if words else ''}")
