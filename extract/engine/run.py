"""Compute what the plans of an extraction ask for: send jobs to worker processes, and write results to the store."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from extract.engine.alarm import Alarm, Tell
from extract.engine.job import JobResult, WorkerJob, WorkerSetup
from extract.engine.plan import Plan
from extract.engine.records import Record, unpack_record
from extract.engine.store import Store
from extract.engine.worker_pool import WorkerPool, devices_of

StageProgress = Callable[[str, int, int], None]  # label, done, total


class Runner:
    """Computes the features that some plans ask for and that are not computed yet, with several worker processes.

    Attributes:
        failed: key of a result -> failure that may be temporary (`unavailable`). It is not stored, so the next run
            tries again.
        computed: keys of the results computed in this run.
        media_seconds: length of the media that were read, seconds.
        run_singly: features whose batches were run one input at a time, because a worker died in a batch or memory ran
            out. This is the only case in which bytes may differ between runs.

    Args:
        setup: settings that all jobs have in common.
        store: the store for results.
        tell: function that gets a warning as soon as all utterances of a file, or most of a corpus, fail for the same
            reason.
    """

    def __init__(self, setup: WorkerSetup, store: Store, tell: Tell = lambda _: None) -> None:
        self.failed: dict[str, Record] = {}
        self.computed: set[str] = set()
        self.media_seconds = 0.0
        self.run_singly: set[str] = set()
        self._setup, self._store = setup, store
        self._alarm = Alarm(setup.features, tell)

    def run(
        self, plans: Sequence[Plan], done: Sequence[Callable[[str], bool]], progress: StageProgress
    ) -> None:
        """Compute all missing results. Final results go to the store; failures that may be temporary go to `failed`.

        Args:
            plans: the plans to carry out.
            done: for each plan, a function that takes a key and says whether its result exists already.
            progress: function that is called with (label, finished inputs, total inputs).
        """
        jobs: list[WorkerJob] = []
        owner: dict[int, tuple[Plan, Callable[[str], bool]]] = {}
        for plan, ready in zip(plans, done, strict=True):
            for shard, rows in zip(plan.shards, plan.rows, strict=True):
                missing = {
                    name: numbers
                    for name, numbers in rows.items()
                    if not all(ready(plan.unit[name, shard[n].utterance]) for n in numbers)
                }
                # If any unit of a feature is missing, the whole shard is encoded, so that batches and bytes stay equal.
                if missing:
                    owner[len(jobs)] = plan, ready
                    jobs.append(WorkerJob(len(jobs), shard, missing))
        if not jobs:
            return
        total = sum(len(job.shard) for job in jobs)
        finished = 0
        progress("inputs", finished, total)
        devices = devices_of(self._setup.device, self._setup.engine.lanes)
        with WorkerPool(self._setup, devices, self._store.get) as pool:
            for result in pool.run(jobs):
                job = jobs[result.job]
                self._keep(*owner[job.number], job, result)
                self._store.commit_if_due()  # the next shard may take minutes
                finished += len(job.shard)
                progress("inputs", finished, total)
        self._store.commit()

    def _keep(self, plan: Plan, ready: Callable[[str], bool], job: WorkerJob, result: JobResult) -> None:
        self.media_seconds += result.seconds
        unit_of = {(name, row): plan.unit[name, job.shard[row].utterance] for name, row, *_ in result.records}
        # Units that existed already were only computed again because their shard was incomplete.
        new = {place for place, unit in unit_of.items() if not ready(unit)}
        records = [record for record in result.records if record[:2] in new]
        faults = [fault for fault in result.faults if (fault.feature, fault.row) in new]
        self._alarm.observe(job, replace(result, records=records, faults=faults))
        self.run_singly |= result.run_singly
        for unit, payload in result.faces.items():
            self._store.put(unit, payload)
        for feature, row, payload, final in records:
            unit = unit_of[feature, row]
            self.computed.add(unit)
            if final:
                self._store.put(unit, payload)
            else:
                self.failed[unit] = unpack_record(payload)
