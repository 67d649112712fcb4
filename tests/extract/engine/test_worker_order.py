"""The order in which workers take jobs: each reads on in its long recording, and none decodes another's part."""

from ercache.manifest import MediaRef
from extract.engine.job import WorkerJob
from extract.engine.plan import InputSource
from extract.engine.worker_pool import next_job


def job(number: int, path: str) -> WorkerJob:
    return WorkerJob(number, (InputSource({}, f"u{number}", video=MediaRef(path)),), {})


def without(jobs: list[WorkerJob], *numbers: int) -> list[WorkerJob]:
    return [j for j in jobs if j.number not in numbers]


LONG = [job(n, "film.ts") for n in range(8)]
CLIPS = [job(n, f"{n}.mp4") for n in range(4)]


def test_short_files_are_taken_in_order() -> None:
    assert next_job(CLIPS, None, []) == 0
    assert CLIPS[next_job(CLIPS[1:], None, CLIPS[:1]) + 1].number == 1


def test_a_worker_reads_on_in_its_recording() -> None:
    waiting = without(LONG, 0, 4)
    assert waiting[next_job(waiting, LONG[0], [LONG[4]])].number == 1
    assert waiting[next_job(waiting, LONG[4], [LONG[0]])].number == 5


def test_a_second_worker_takes_the_second_half_of_a_recording() -> None:
    waiting = LONG[1:]
    assert waiting[next_job(waiting, None, LONG[:1])].number == 4


def test_a_worker_prefers_a_file_that_nobody_reads() -> None:
    waiting = [*LONG[1:], job(8, "other.ts")]
    assert waiting[next_job(waiting, None, LONG[:1])].number == 8


def test_a_worker_whose_part_is_read_helps_with_the_other() -> None:
    waiting = LONG[2:4]
    assert waiting[next_job(waiting, LONG[7], [LONG[1]])].number == 3
