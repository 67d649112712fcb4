"""Running plans: what is not done yet goes to the lanes, and what comes back goes to the store."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from extract.engine.alarm import Alarm, Tell
from extract.engine.job import Done, Job, Setup
from extract.engine.plan import Plan
from extract.engine.records import Record, unpack_record
from extract.engine.store import Store
from extract.engine.worker_pool import Lanes, devices_of

Progress = Callable[[str, int, int], None]


class Runner:
    """Runs the shards of some plans whose units are not all done.

    Attributes:
        failed: unit -> its `unavailable` result, which is not stored.
        split: features whose forwards were run one by one, because a forward ended a lane or the memory ran out;
            the one exception to equal bytes.

    Args:
        tell: told at once, in a line, when all utterances of a file or most of a corpus fail alike.
    """

    def __init__(self, setup: Setup, store: Store, tell: Tell = lambda _: None) -> None:
        self.failed: dict[str, Record] = {}
        self.computed: set[str] = set()
        self.media_seconds = 0.0
        self.split: set[str] = set()
        self._setup, self._store = setup, store
        self._alarm = Alarm(setup.features, tell)

    def run(self, plans: Sequence[Plan], done: Sequence[Callable[[str], bool]], progress: Progress) -> None:
        """Compute what is not done; results go to the store, `unavailable` ones to `failed`.

        Args:
            done: for each plan, whether a unit key has its result already.
        """
        jobs: list[Job] = []
        owner: dict[int, tuple[Plan, Callable[[str], bool]]] = {}
        for plan, ready in zip(plans, done, strict=True):
            for shard, rows in zip(plan.shards, plan.rows, strict=True):
                lacking = {
                    name: numbers
                    for name, numbers in rows.items()
                    if not all(ready(plan.unit[name, shard[n].utterance]) for n in numbers)
                }
                # A feature of which anything is lacking is encoded for the whole shard, for equal bytes.
                if lacking:
                    owner[len(jobs)] = plan, ready
                    jobs.append(Job(len(jobs), shard, lacking))
        if not jobs:
            return
        total = sum(len(job.shard) for job in jobs)
        finished = 0
        progress("inputs", finished, total)
        devices = devices_of(self._setup.device, self._setup.engine.lanes)
        with Lanes(self._setup, devices, self._store.get) as lanes:
            for result in lanes.run(jobs):
                job = jobs[result.job]
                self._keep(*owner[job.number], job, result)
                self._store.pause()  # the next shard may take minutes
                finished += len(job.shard)
                progress("inputs", finished, total)
        self._store.commit()

    def _keep(self, plan: Plan, ready: Callable[[str], bool], job: Job, result: Done) -> None:
        self.media_seconds += result.seconds
        unit_of = {(name, row): plan.unit[name, job.shard[row].utterance] for name, row, *_ in result.records}
        # What is there already was encoded along with what its shard lacked.
        new = {place for place, unit in unit_of.items() if not ready(unit)}
        records = [record for record in result.records if record[:2] in new]
        faults = [fault for fault in result.faults if (fault.feature, fault.row) in new]
        self._alarm.look(job, replace(result, records=records, faults=faults))
        self.split |= result.split
        for unit, payload in result.faces.items():
            self._store.put(unit, payload)
        for feature, row, payload, final in records:
            unit = unit_of[feature, row]
            self.computed.add(unit)
            if final:
                self._store.put(unit, payload)
            else:
                self.failed[unit] = unpack_record(payload)
