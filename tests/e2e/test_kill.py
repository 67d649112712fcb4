"""kill -9 at any instant loses nothing: the rerun makes the same bytes as a run without a kill."""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from ercache.cache import CacheFile, Entry, Status
from extract.corpora.meld.scan import CLIP_FOLDERS
from tests.e2e.conftest import MakeProject, Project
from tests.support.hostile_run import alive, family

pytestmark = pytest.mark.e2e

FEATURES = (
    "--features",
    "mfcc,face_hog",
)  # all stages; texts would add seconds of imports to each of many runs
AIMS = 8  # a short stage may be over before the kill arrives: then aim again
TURNS = 3  # of each part
STAGES = ("decode", "faces", "encode", "store", "pack")
CHILD = "child"  # a process below the engine is killed instead


@pytest.fixture(scope="module")
def make_small(
    make_project: MakeProject, demo_corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeProject:
    """Projects on the first turns of each part: each of many runs looks for faces in all of its clips."""
    root = tmp_path_factory.mktemp("few") / "demo"
    shutil.copytree(demo_corpus, root)
    for part, folder in CLIP_FOLDERS.items():
        table = root / f"{part}_sent_emo.csv"
        with table.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        named = [header.index(name) for name in ("Dialogue_ID", "Utterance_ID")]
        kept = {"dia{}_utt{}.mp4".format(*(row[place] for place in named)) for row in rows[:TURNS]}
        for clip in (root / folder).iterdir():
            if clip.name not in kept:
                clip.unlink()
        with table.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([header, *rows[:TURNS]])

    def make() -> Project:
        project = make_project()
        place = project.folder / "data" / "raw" / "demo"
        place.unlink()
        place.symlink_to(root)
        return project

    return make


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


def start(project: Project, trace: Path) -> subprocess.Popen[bytes]:
    command = ["ercache", "extract", "demo", *FEATURES, "--trace", str(trace)]
    return subprocess.Popen(
        command,
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


def kill_at(project: Project, stage: str, nth: int, trace: Path) -> set[str]:
    """Kill a run as soon as a stage begins for the nth time; the stages that were open then."""
    trace.write_text("")
    process = start(project, trace)
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


def kill_child_at(project: Project, nth: int, trace: Path, rng: random.Random) -> set[str]:
    """Kill a drawn process below the engine as soon as the nth file is being read; the run then ends by itself."""
    trace.write_text("")
    process = start(project, trace)
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


def kill_after(project: Project, seconds: float, trace: Path) -> set[str]:
    """Kill a run some seconds after its start."""
    process = start(project, trace)
    time.sleep(seconds)
    kill(process)
    return open_stages(trace)


def reset(project: Project) -> None:
    for name in ("store", "data/caches"):
        shutil.rmtree(project.folder / name, ignore_errors=True)


def campaign(project: Project, kills: int, seed: int) -> dict[str, int]:
    """Kill runs at drawn instants until every stage was hit; each rerun must give the same bytes.

    The engine is killed, and once in five kills a process below it: a reader of media, or a lane.

    Returns:
        How many kills fell into each stage (a kill may fall into several, or between them), and on a child.
    """
    trace = project.folder / "trace.jsonl"
    began = time.monotonic()
    assert start(project, trace).wait() == 0
    whole_run = time.monotonic() - began
    expected = project.caches()
    rng = random.Random(seed)
    hits = dict.fromkeys((*STAGES, CHILD, "between"), 0)
    files = begun(trace, "decode")
    plan: list[tuple[str, float]] = [(s, rng.choice(longest(trace, s))) for s in STAGES]
    plan += [(CHILD, rng.randint(1, files)) for _ in range(kills // 5)]
    plan += [("", rng.uniform(0.3, 1) * whole_run) for _ in range(kills - len(plan))]
    for stage, when in plan:
        for _ in range(AIMS):
            reset(project)
            trace.unlink(missing_ok=True)
            if stage == CHILD:
                hit = kill_child_at(project, int(when), trace, rng)
                assert_nothing_less(project.caches(), expected)
            else:
                hit = kill_at(project, stage, int(when), trace) if stage else kill_after(project, when, trace)
            if not stage or stage in hit:
                break
        for name in hit or {"between"}:
            hits[name] += 1
        project.ercache("extract", "demo", *FEATURES)
        assert project.caches() == expected, f"after a kill in {hit or 'between stages'}"
        files = [p.name for p in (project.folder / "data/caches").rglob("*") if p.is_file()]
        whole = len(expected) + files.count("coverage.json")
        assert len(files) == whole, "no torn file is left in a folder that DVC tracks"
    return hits


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


def test_a_kill_in_each_stage_leaves_identical_caches(make_small: MakeProject) -> None:
    hits = campaign(make_small(), kills=len(STAGES) + 2, seed=0)
    print(f"kills by stage: {hits}")
    assert all(hits[stage] >= 1 for stage in (*STAGES, CHILD)), hits


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_hundred_kills_in_ten_campaigns(make_project: MakeProject, seed: int) -> None:
    hits = campaign(make_project(), kills=10, seed=seed)
    print(f"kills by stage: {hits}")
    assert all(hits[stage] >= 1 for stage in (*STAGES, CHILD)), hits


def test_a_killed_lane_is_begun_anew_and_changes_no_byte(make_small: MakeProject) -> None:
    project = make_small()
    project.ercache("extract", "demo", *FEATURES)
    expected = project.caches()
    reset(project)
    trace = project.folder / "trace.jsonl"
    trace.write_text("")
    process = start(project, trace)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and "faces" not in open_stages(trace):
        time.sleep(0.005)
    lanes = [pid for pid in _session(process.pid) if b"spawn_main" in _command(pid)]
    os.kill(lanes[0], signal.SIGKILL)
    assert process.wait() == 0
    assert project.caches() == expected


def test_two_runs_on_one_store_at_once_give_the_same_bytes(make_small: MakeProject) -> None:
    one, other = make_small(), make_small()
    one.ercache("extract", "demo", "--features", "mfcc")
    expected = one.caches()
    reset(one)
    shared = Project(other.folder, one.store)
    commands = [["ercache", "extract", "demo", "--features", "mfcc"]] * 2
    running = [
        subprocess.Popen(c, cwd=p.folder, env=p.environment, stdout=subprocess.DEVNULL)
        for c, p in zip(commands, (one, shared), strict=True)
    ]
    assert [process.wait() for process in running] == [0, 0]
    assert one.caches() == shared.caches() == expected


def test_workers_of_a_killed_engine_end_by_themselves(make_project: MakeProject) -> None:
    project = make_project()
    process = start(project, project.folder / "trace.jsonl")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and "decode" not in open_stages(project.folder / "trace.jsonl"):
        time.sleep(0.01)
    kill(process)
    assert ended(process.pid)


def test_ctrl_c_ends_cleanly_with_130_and_the_rerun_goes_on(make_project: MakeProject) -> None:
    project = make_project()
    # A clip a shard: what is finished is handed in many times, and most of the run lies behind the sixth.
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
    # The only lane has handed in five shards when it looks for faces a sixth time; there are 25.
    while time.monotonic() < deadline and begun(trace, "faces") < 6:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and out == ""
    assert ended(process.pid)
    answer = project.json("extract", "demo", "--features", "mfcc,face_hog")
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
