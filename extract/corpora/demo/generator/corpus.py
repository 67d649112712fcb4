"""Generate a complete demo corpus: plan its dialogues, make the clips in several processes, write the csv tables."""

import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Literal

from ercache.cpus import cores
from extract.corpora.demo.generator import layout
from extract.corpora.demo.generator.cast import CAST
from extract.corpora.demo.generator.clip import UNFINISHED, write_clip
from extract.corpora.demo.generator.grammar import Author
from extract.corpora.demo.generator.scene import frames, room
from extract.corpora.demo.generator.story import (
    PARTS,
    Broken,
    Part,
    Size,
    StoryLine,
    choose_broken,
    write_story,
)
from extract.corpora.demo.generator.voice import SAMPLE_RATE, SpeechProcess, loudness, perform

_MAX_WORKERS = 8


@dataclass(frozen=True)
class DemoSummary:
    """Facts about a generated demo corpus: directory, number of utterances, seconds of clips, and size in bytes."""

    dir: Path
    utterances: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class _Task:
    """One clip to generate: its utterance and transcript, the path of its file, and how it is broken, if at all."""

    seed: int
    part: Part
    line: StoryLine
    text: str
    path: Path
    broken: Broken | None


def plan(directory: Path, seed: int, size: Size) -> tuple[list[_Task], list[Broken]]:
    """Plan a demo corpus: what is said and shown in each clip, and which clips will be broken deliberately.

    Returns:
        Two lists: all clips in order, and the broken clips.
    """
    story = write_story(seed, size)
    broken = choose_broken(seed, size, story)
    spoiled = {(b.part, b.dialogue, b.utterance): b for b in broken}
    author = Author(seed)
    tasks = [
        _Task(
            seed=seed,
            part=part,
            line=line,
            text=author.write(line.shown["text"]),
            path=layout.clip_path(directory, part, line.dialogue, line.utterance),
            broken=spoiled.get((part, line.dialogue, line.utterance)),
        )
        for part in PARTS
        for line in story[part]
    ]
    return tasks, broken


_speaker: SpeechProcess | None = None  # of a worker process


def _start_worker() -> None:
    global _speaker
    # An interrupt goes to the parent, which lets running clips finish and starts no new ones.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _speaker = SpeechProcess()


def _work(task: _Task) -> float:
    if _speaker is None:
        raise AssertionError("worker was not started")
    return make_clip(task, _speaker)


def make_clip(task: _Task, speaker: SpeechProcess) -> float:
    """Generate the file of a clip, unless it exists already, and return the duration of the clip in seconds."""
    line = task.line
    name = f"{task.seed}/{task.part}/{line.dialogue}/{line.utterance}"
    voice = CAST[line.speaker].voice
    samples = perform(speaker, task.text, voice, line.shown["speech"], Random(f"voice/{name}"))
    if not task.path.exists():
        empty = task.broken is not None and task.broken.kind == "no_face"
        listeners = tuple(person for person in line.people if person != line.speaker)
        people = () if empty else (line.speaker, *listeners)
        background = room(Random(f"room/{task.seed}/{task.part}/{line.dialogue}"))
        pictures = frames(background, people, line.shown["face"], loudness(samples), Random(f"scene/{name}"))
        write_clip(pictures, samples, task.path, task.broken)
    return len(samples) / SAMPLE_RATE


def _make_clips(tasks: list[_Task], workers: int, progress: Callable[[int, int], None] | None) -> list[float]:
    # Start fresh processes: a fork of a parent with threads (torch) may hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker) as pool:
        futures = [pool.submit(_work, task) for task in tasks]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(tasks))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _summary(directory: Path, note: layout.DemoNote) -> DemoSummary:
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    return DemoSummary(directory, note.utterances, note.seconds, size)


def generate(
    directory: Path,
    seed: int = 0,
    size: Literal["tiny", "full"] = "full",
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> DemoSummary:
    """Generate a demo corpus. The same seed and size give the same bytes.

    A complete corpus of the same seed and size is left unchanged; an incomplete one is completed.

    Args:
        directory: where to write the corpus; it must be absent, empty, or contain a demo corpus of this seed and size.
        seed: determines story, sentences, looks of the rooms and small movements.
        size: "full" (60 dialogues, 500 utterances) or "tiny" (6 dialogues, 25 utterances, for tests).
        progress: called with (clips done, clips in total).
        workers: number of processes; None for one per core, at most 8. It does not change any byte.

    Raises:
        UsageError: the directory contains other files, or a demo corpus of another seed, size or generator version.
    """
    directory = Path(directory)
    note = layout.read_note(directory, seed, size)
    tasks, broken = plan(directory, seed, size)
    tables = [layout.csv_path(directory, part) for part in PARTS]
    wanted = [*(task.path for task in tasks), *tables, directory / "README.txt"]
    if note is not None and note.complete and all(path.exists() for path in wanted):
        return _summary(directory, note)
    directory.mkdir(parents=True, exist_ok=True)
    marks = layout.broken_notes(broken)
    layout.write_note(directory, layout.DemoNote(seed, size, layout.VERSION, False, len(tasks), 0.0, marks))
    for part in PARTS:
        (directory / layout.FOLDERS[part]).mkdir(exist_ok=True)
    for leftover in directory.rglob("*.mp4" + UNFINISHED):
        leftover.unlink()
    durations = _make_clips(tasks, workers or max(1, min(_MAX_WORKERS, cores(), len(tasks))), progress)
    for part, path in zip(PARTS, tables, strict=True):
        rows = [(t.line, t.text, d) for t, d in zip(tasks, durations, strict=True) if t.part == part]
        lines, texts, seconds = zip(*rows, strict=True)
        layout.write_text(path, layout.table(part, seed, lines, texts, seconds))
    layout.write_text(directory / "README.txt", layout.readme(seed, size, broken))
    note = layout.DemoNote(seed, size, layout.VERSION, True, len(tasks), round(sum(durations), 2), marks)
    layout.write_note(directory, note)
    return _summary(directory, note)
