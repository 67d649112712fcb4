"""kill -9 at any instant loses nothing: the rerun makes the same bytes as a run without a kill."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ercache.cache import CacheFile, Entry, Status
from tests.e2e.conftest import BIN, MakeProject, Project
from tests.support.as_on import NOT_HERE, refuses, refusing
from tests.support.hostile_run import alive, family

pytestmark = pytest.mark.e2e

FEATURES = (
    "--features",
    "mfcc,face_hog",
)  # all stages; texts would add seconds of imports to each of many runs
AIMS = 8  # a short stage may be over before the kill arrives: then aim again
STAGES = ("decode", "faces", "encode", "store", "pack")
REFUSED = ("fallocate", "flock=37", "locks=37")  # ENOLCK
CHILD = "child"  # a process below the engine is killed instead


@dataclass(frozen=True)
class Undisturbed:
    """A run without a kill: its trace, how long it took, and the caches that it made."""

    trace: Path
    seconds: float
    caches: dict[str, bytes]


def undisturbed(project: Project) -> Undisturbed:
    trace = project.folder / "undisturbed.jsonl"
    began = time.monotonic()
    assert start(project, trace).wait() == 0
    return Undisturbed(trace, time.monotonic() - began, project.caches())


@pytest.fixture(scope="module")
def whole(make_project: MakeProject) -> Undisturbed:
    """The whole tiny corpus, extracted without a kill."""
    return undisturbed(make_project())


@pytest.fixture(scope="module")
def small(make_small: MakeProject) -> Undisturbed:
    """The first turns of each part, extracted without a kill."""
    return undisturbed(make_small())


def spans(trace: Path) -> list[dict[str, object]]:
    """The whole lines of a trace."""
    if not trace.is_file():
        return []
    return [json.loads(line) for line in trace.read_text().split("\n")[:-1]]


def open_stages(trace: Path) -> set[str]:
    """Stages that had begun and not ended when the trace stopped."""
    count = dict.fromkeys(STAGES, 0)
    for row in spans(trace):
        count[str(row["stage"])] += 1 if row["event"] == "begin" else -1
    return {stage for stage, n in count.items() if n > 0}


def longest(trace: Path, stage: str, count: int = 3) -> list[int]:
    """Which of a stage's beginnings last longest, from 1: a kill arrives some milliseconds after it is sent."""
    begun: dict[object, tuple[int, float]] = {}
    lasted: dict[int, float] = {}
    for row in spans(trace):
        seconds, what = float(str(row["seconds"])), row["what"]
        if row["stage"] != stage:
            continue
        if row["event"] == "begin":
            begun[what] = (len(lasted) + len(begun) + 1, seconds)
        else:
            nth, since = begun.pop(what)
            lasted[nth] = seconds - since
    return sorted(lasted, key=lambda nth: -lasted[nth])[:count]


def start(project: Project, trace: Path, refused: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Begin an extraction, on a machine whose file system refuses the given system calls."""
    command = [str(BIN / "ercache"), "extract", "demo", *FEATURES, "--trace", str(trace)]
    return subprocess.Popen(
        [*refusing(*refused), *command] if refused else command,
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the engine alone; its workers must end by themselves."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def kill_at(project: Project, stage: str, nth: int, trace: Path, refused: Sequence[str] = ()) -> set[str]:
    """Kill a run as soon as a stage begins for the nth time; the stages that were open then."""
    trace.write_text("")
    process = start(project, trace, refused)
    deadline = time.monotonic() + 120
    begun, wanted = 0, f'"stage": "{stage}", "event": "begin"'
    with trace.open() as stream:
        while begun < nth and time.monotonic() < deadline and process.poll() is None:
            new = stream.read()  # only what is new, without a pause: a commit lasts a few milliseconds
            begun += new.count(wanted)
            if not new:
                time.sleep(0.0002)
    kill(process)
    return open_stages(trace)


def kill_child_at(
    project: Project, nth: int, trace: Path, rng: random.Random, refused: Sequence[str] = ()
) -> set[str]:
    """Kill a drawn process below the engine as soon as the nth file is being read; the run then ends by itself."""
    trace.write_text("")
    process = start(project, trace, refused)
    deadline = time.monotonic() + 120
    while begun(trace, "decode") < nth and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    children = [child for child in family(process.pid)[1:] if alive(child) and not is_tracker(child)]
    hit = bool(children) and process.poll() is None
    if hit:
        with contextlib.suppress(psutil.NoSuchProcess):
            rng.choice(children).kill()
    assert process.wait(timeout=600) in (0, 1)
    return {CHILD} if hit else set()


def is_tracker(process: psutil.Process) -> bool:
    """Whether it is multiprocessing's own, which only takes notes; unknown of one that has just ended."""
    try:
        return any("resource_tracker" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return True


def kill_after(project: Project, seconds: float, trace: Path, refused: Sequence[str] = ()) -> set[str]:
    """Kill a run some seconds after its start."""
    process = start(project, trace, refused)
    time.sleep(seconds)
    kill(process)
    return open_stages(trace)


def reset(project: Project) -> None:
    for name in ("store", "data/caches"):
        shutil.rmtree(project.folder / name, ignore_errors=True)


def campaign(
    project: Project,
    without: Undisturbed,
    kills: int,
    seed: int,
    apart: bool = True,
    refused: Sequence[str] = (),
) -> dict[str, int]:
    """Kill runs at drawn instants until every stage was hit; each rerun must give the same bytes.

    The engine is killed, and once in five kills a process below it: a reader of media, or a lane.

    Args:
        apart: whether each kill has an empty store before it and a rerun after it; otherwise a killed run goes on
            where the one before it was killed, and the only rerun follows the last.
        refused: system calls that the file system of the killed runs refuses.

    Returns:
        How many kills fell into each stage (a kill may fall into several, or between them), and on a child.
    """
    trace, expected = project.folder / "trace.jsonl", without.caches
    rng = random.Random(seed)
    hits = dict.fromkeys((*STAGES, CHILD, "between"), 0)
    files = begun(without.trace, "decode")
    plan: list[tuple[str, float]] = [(s, rng.choice(longest(without.trace, s))) for s in STAGES]
    plan += [(CHILD, rng.randint(1, files)) for _ in range(kills // 5)]
    plan += [("", rng.uniform(0.3, 1) * without.seconds) for _ in range(kills - len(plan))]
    for stage, when in plan:
        for aim in range(AIMS):
            if apart or aim:
                reset(project)
            trace.unlink(missing_ok=True)
            if stage == CHILD:
                hit = kill_child_at(project, int(when), trace, rng, refused)
                assert_nothing_less(project.caches(), expected)
            else:
                hit = (
                    kill_at(project, stage, int(when), trace, refused)
                    if stage
                    else kill_after(project, when, trace, refused)
                )
            if not stage or stage in hit:
                break
        for name in hit or {"between"}:
            hits[name] += 1
        if apart:
            assert_mended(project, expected, f"after a kill in {hit or 'between stages'}")
    assert_mended(project, expected, f"after kills {hits}")
    return hits


def assert_mended(project: Project, expected: dict[str, bytes], when: str) -> None:
    """A rerun makes what a run without a kill makes, and leaves nothing else."""
    project.here.ercache("extract", "demo", *FEATURES)
    assert project.caches() == expected, when
    left = [p.name for p in (project.folder / "data/caches").rglob("*") if p.is_file()]
    everything = len(expected) + left.count("coverage.json")
    assert len(left) == everything, "no torn file is left in a folder that DVC tracks"


def assert_nothing_less(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Whatever is `ok` holds what it holds in a run without a kill."""
    for name, content in found.items():
        then, now = entries(expected[name]), entries(content)
        assert now.keys() == then.keys()
        for utterance, entry in now.items():
            assert entry == then[utterance] or entry.status is Status.UNAVAILABLE, f"{name}: {entry}"


def entries(content: bytes) -> dict[str, Entry]:
    """The index of a cache file."""
    with tempfile.NamedTemporaryFile(suffix=".h5") as file:
        Path(file.name).write_bytes(content)
        with CacheFile(Path(file.name)) as cache:
            return {entry.id: entry for entry in cache.entries}


def test_a_kill_in_each_stage_leaves_identical_caches(make_small: MakeProject, small: Undisturbed) -> None:
    hits = campaign(make_small(), small, kills=len(STAGES) + 1, seed=0, apart=False)
    print(f"kills by stage: {hits}")
    assert all(hits[stage] >= 1 for stage in (*STAGES, CHILD)), hits


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_hundred_kills_in_ten_campaigns(make_project: MakeProject, whole: Undisturbed, seed: int) -> None:
    """The second half of the campaigns has a file system without locks and without fallocate."""
    refused = REFUSED if seed > 5 else ()
    if not all(refuses(call.partition("=")[0]) for call in refused):
        pytest.skip(NOT_HERE)
    hits = campaign(make_project(), whole, kills=10, seed=seed, refused=refused)
    print(f"kills by stage: {hits}")
    assert all(hits[stage] >= 1 for stage in (*STAGES, CHILD)), hits


def test_a_killed_lane_is_begun_anew_and_changes_no_byte(make_small: MakeProject, small: Undisturbed) -> None:
    project = make_small()
    trace = project.folder / "trace.jsonl"
    trace.write_text("")
    process = start(project, trace)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and "faces" not in open_stages(trace):
        time.sleep(0.005)
    lanes = [pid for pid in _session(process.pid) if b"spawn_main" in _command(pid)]
    os.kill(lanes[0], signal.SIGKILL)
    assert process.wait() == 0
    assert project.caches() == small.caches


def test_two_runs_on_one_store_at_once_give_the_same_bytes(
    make_small: MakeProject, small: Undisturbed
) -> None:
    one, other = make_small(), make_small()
    shared = Project(other.folder, one.store)
    commands = [["ercache", "extract", "demo", "--features", "mfcc"]] * 2
    running = [
        subprocess.Popen(c, cwd=p.folder, env=p.environment, stdout=subprocess.DEVNULL)
        for c, p in zip(commands, (one, shared), strict=True)
    ]
    assert [process.wait() for process in running] == [0, 0]
    sounds = {name: content for name, content in small.caches.items() if "mfcc" in name}
    assert sounds and one.caches() == shared.caches() == sounds


def test_workers_of_a_killed_engine_end_by_themselves(make_small: MakeProject) -> None:
    project = make_small()
    process = start(project, project.folder / "trace.jsonl")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and "decode" not in open_stages(project.folder / "trace.jsonl"):
        time.sleep(0.01)
    kill(process)
    assert ended(process.pid)


def test_ctrl_c_ends_cleanly_with_130_and_says_how_to_go_on(make_small: MakeProject) -> None:
    project = make_small()
    # A clip a shard: what is finished is handed in many times, and half of the run lies behind the fourth.
    with project.params() as params:
        params["engine"]["shard"] = 1
    trace = project.folder / "trace.jsonl"
    process = subprocess.Popen(
        ["ercache", "extract", "demo", "--features", "mfcc,face_hog", "--trace", str(trace)],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    # The only lane has handed in three shards when it looks for faces a fourth time; there are nine.
    while time.monotonic() < deadline and begun(trace, "faces") < 4:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and out == ""
    assert "run the same command to continue" in err
    assert ended(process.pid)
    answer = project.here.json("extract", "demo", "--features", "mfcc,face_hog")
    assert answer["reused"] > 0, "what was finished before Ctrl-C is kept"


def begun(trace: Path, stage: str) -> int:
    """How often a stage has begun so far."""
    return sum(r["stage"] == stage and r["event"] == "begin" for r in spans(trace))


def ended(session: int) -> bool:
    """Whether all processes of a session end within 30 seconds."""
    deadline = time.monotonic() + 30
    while _session(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    return _session(session) == []


def _command(pid: int) -> bytes:
    return (Path("/proc") / str(pid) / "cmdline").read_bytes()


def _session(session: int) -> list[int]:
    """Processes alive in a session."""
    living = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            living.append(int(entry.name))
    return living
