"""The alarm: what goes wrong for a whole file or most of a corpus is told at once, once, in the tool's own words."""

from pathlib import Path

import pytest

from ercache.manifest import MediaRef
from ercache.reasons import Reason
from extract.engine.alarm import MIN_PER_FILE, MIN_RESULTS, Alarm
from extract.engine.job import JobResult, RowFailure, WorkerJob
from extract.engine.plan import Feature, InputSource
from tests.support.toy_letters import Letters, Loud, letters

FEATURES = {
    "loud": letters(Path("unused"), "loud", kind=Loud),
    "letters": letters(Path("unused"), "letters", kind=Letters),
}


class Run:
    """An alarm, and what it has told."""

    def __init__(self, features: dict[str, Feature] = FEATURES) -> None:
        self.told: list[str] = []
        self._alarm = Alarm(features, self.told.append)
        self._jobs = 0

    def shard(self, files: list[str], name: str = "loud", **faults: Reason) -> list[str]:
        """What is told when a shard of stretches of some files is done; `row3=...` says what is wrong with row 3."""
        shard = tuple(
            InputSource({"audio": {}}, f"u{n}", audio=MediaRef(path, start=n, end=n + 1.0))
            for n, path in enumerate(files)
        )
        job = WorkerJob(self._jobs, shard, {name: tuple(range(len(files)))})
        self._jobs += 1
        records = [(name, n, b"", True) for n in range(len(files))]
        found = [RowFailure(name, int(row[3:]), reason, f"words of {row}") for row, reason in faults.items()]
        before = len(self.told)
        self._alarm.observe(job, JobResult(job.number, records, {}, 0.0, found, frozenset()))
        return self.told[before:]


def all_rows(count: int, reason: Reason) -> dict[str, Reason]:
    return {f"row{n}": reason for n in range(count)}


def test_a_file_of_which_nothing_can_be_had_is_told_with_the_words_of_the_tool() -> None:
    (line,) = Run().shard(["talk.mp4"] * 4, **all_rows(4, Reason.UNREADABLE))
    assert line == (
        "talk.mp4: none of its 4 utterances so far has a feature: "
        "unreadable (the decoder cannot read the file): words of row0"
    )


def test_a_file_is_told_once_however_many_shards_it_has() -> None:
    run = Run()
    assert len(run.shard(["talk.mp4"] * 4, **all_rows(4, Reason.UNREADABLE))) == 1
    assert run.shard(["talk.mp4"] * 4, **all_rows(4, Reason.UNREADABLE)) == []
    assert len(run.shard(["talk.mp4"] * 4, **all_rows(4, Reason.TIMEOUT))) == 1, "another fault of it is news"


def test_one_good_utterance_keeps_a_file_quiet() -> None:
    assert Run().shard(["talk.mp4"] * 4, **all_rows(3, Reason.UNREADABLE)) == []


def test_different_faults_of_a_file_are_no_alarm() -> None:
    assert (
        Run().shard(["talk.mp4"] * 3, row0=Reason.UNREADABLE, row1=Reason.TIMEOUT, row2=Reason.NO_AUDIO) == []
    )


def test_few_utterances_of_a_file_may_fail_by_accident() -> None:
    few = MIN_PER_FILE - 1
    assert Run().shard(["talk.mp4"] * few, **all_rows(few, Reason.UNREADABLE)) == []


def test_clips_of_one_utterance_each_are_no_file_that_fails() -> None:
    assert Run().shard([f"{n}.mp4" for n in range(4)], **all_rows(4, Reason.UNREADABLE)) == []


@pytest.mark.parametrize("reason", [Reason.NO_FACE, Reason.SILENT, Reason.TOO_SHORT, Reason.NO_TEXT])
def test_what_a_corpus_may_well_have_is_no_alarm(reason: Reason) -> None:
    run = Run()
    for _ in range(MIN_RESULTS):
        assert run.shard(["talk.mp4"] * 4, **all_rows(4, reason)) == []


def test_most_of_a_corpus_is_told_once_and_not_before_there_is_enough_of_it() -> None:
    run = Run()
    lines = [run.shard(["a.wav", "b.wav"], row0=Reason.CRASH, row1=Reason.CRASH) for _ in range(MIN_RESULTS)]
    told = [line for some in lines for line in some]
    assert lines[: MIN_RESULTS // 2 - 1] == [[]] * (MIN_RESULTS // 2 - 1)
    assert told == [
        f"loud: {MIN_RESULTS} of {MIN_RESULTS} utterances so far have no feature:"
        " crash (the worker process died): words of row0"
    ]


def test_half_of_a_corpus_is_not_most_of_it() -> None:
    run = Run()
    for _ in range(MIN_RESULTS):
        assert run.shard(["a.wav", "b.wav"], row0=Reason.CRASH) == []


def test_texts_have_an_alarm_for_the_corpus_and_none_for_files() -> None:
    run = Run()
    assert run.shard(["unused"] * 4, name="letters", **all_rows(4, Reason.FAULT)) == []
    told = run.shard(["unused"] * MIN_RESULTS, name="letters", **all_rows(MIN_RESULTS, Reason.FAULT))
    assert len(told) == 1 and told[0].startswith(
        f"letters: {MIN_RESULTS + 4} of {MIN_RESULTS + 4} utterances"
    )


def test_the_words_are_told_although_the_shard_that_made_it_most_had_none() -> None:
    run = Run()
    for _ in range(3):
        assert run.shard([f"{n}.wav" for n in range(6)], **all_rows(6, Reason.FAULT)) == []
    (line,) = run.shard(["a.wav", "b.wav"])
    assert line.startswith("loud: 18 of 20 ") and line.endswith(": words of row0")


def test_what_was_told_of_files_is_not_told_of_the_corpus_again() -> None:
    run = Run()
    lines = [run.shard([f"{n}.mp4"] * 5, **all_rows(5, Reason.UNREADABLE)) for n in range(6)]
    assert [len(some) for some in lines] == [1] * 6 and all("none of its 5" in some[0] for some in lines)
