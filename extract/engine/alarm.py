"""Warn during a run when all utterances of a file, or most utterances of a corpus, fail for the same reason."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final

from ercache.reasons import Reason
from extract.engine.job import JobResult, WorkerJob
from extract.engine.plan import Feature

Tell = Callable[[str], None]

MIN_PER_FILE: Final = 3  # with fewer failed utterances, a file is not reported
MIN_RESULTS: Final = 20  # results needed before anything is reported about the whole corpus
# Reasons that are normal in a corpus, or that the scan has reported already.
_EXPECTED_REASONS: Final = frozenset(
    {Reason.NO_FACE, Reason.NO_TEXT, Reason.SILENT, Reason.TOO_SHORT, Reason.NOT_IN_CORPUS}
)


class Alarm:
    """Counts during a run the utterances for which a feature could not be computed, and warns of frequent failures.

    It warns once if all utterances of a media file, or most utterances of a corpus, fail for the same reason.
    """

    def __init__(self, features: Mapping[str, Feature], tell: Tell) -> None:
        self._features, self._tell = features, tell
        self._results: Counter[str] = Counter()
        self._faults: Counter[tuple[str, Reason]] = Counter()
        self._details: dict[tuple[str, Reason], str] = {}  # detail of the first such failure
        self._reported: set[object] = set()

    def observe(self, job: WorkerJob, done: JobResult) -> None:
        """Count the results and failures of a finished job, and warn if failures with the same reason are frequent.

        They are frequent if they affect all utterances of a media file in this job (at least 3), or more than half of
        all utterances so far. Reasons that are normal in a corpus, for example a silent utterance, do not count.

        Args:
            job: the job: some utterances, and the features to compute from them.
            done: what the job computed, and what failed.
        """
        self._observe_files(job, done)
        for name, *_ in done.records:
            self._results[name] += 1
        for fault in done.faults:
            if (self._path(job, fault.feature, fault.row), fault.reason) in self._reported:
                continue  # already reported for its file
            self._faults[fault.feature, fault.reason] += 1
            self._details.setdefault((fault.feature, fault.reason), fault.detail)
        for (name, reason), count in self._faults.items():
            if (
                reason in _EXPECTED_REASONS
                or self._results[name] < MIN_RESULTS
                or 2 * count <= self._results[name]
            ):
                continue
            what = f"{name}: {count} of {self._results[name]} utterances so far have no feature"
            self._report_once((name, reason), what, reason, self._details[name, reason])

    def _observe_files(self, job: WorkerJob, done: JobResult) -> None:
        rows: dict[tuple[str, str], set[int]] = defaultdict(set)
        for name, row, *_ in done.records:
            path = self._path(job, name, row)
            if path is not None:
                rows[path, name].add(row)
        for (path, name), numbers in rows.items():
            faults = [
                f
                for f in done.faults
                if f.feature == name and f.row in numbers and f.reason not in _EXPECTED_REASONS
            ]
            reasons = {f.reason for f in faults}
            if len(numbers) >= MIN_PER_FILE and len(faults) == len(numbers) and len(reasons) == 1:
                what = f"{path}: none of its {len(numbers)} utterances so far has a feature"
                self._report_once((path, *reasons), what, faults[0].reason, faults[0].detail)

    def _path(self, job: WorkerJob, feature: str, row: int) -> str | None:
        """Return the path of the media file from which a feature is computed; None for a text feature.

        Args:
            job: the job that computes the feature.
            feature: name of the feature.
            row: index of the utterance in the job.
        """
        source = job.shard[row]
        modality = self._features[feature].spec.modality
        ref = {"audio": source.audio, "visual": source.video}.get(modality)
        return None if ref is None else ref.path

    def _report_once(self, key: object, what: str, reason: Reason, words: str) -> None:
        if key not in self._reported:
            self._reported.add(key)
            self._tell(f"{what}: {reason.value} ({reason.meaning}){': ' + words if words else ''}")
