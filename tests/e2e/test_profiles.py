"""Each paper's profile from real media to the refusal of its random features, through the command line."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from ercache.cache import Array
from ercache.manifest import Utterance
from extract.encoders import ENCODERS
from tests.e2e.conftest import ROOT, MakeProject, Project
from tests.support.papers import GIVEN, PAPERS, ROWS

pytestmark = pytest.mark.e2e

RANDOM = ("--random-weights", "0")
FIRST = {
    "train": 3,
    "dev": 1,
    "test": 2,
}  # utterances of the first dialogue of a part; nothing is broken there
VECTORS = {  # what a pooled model can take of each profile
    "m2fnet": {"text": ["m2fnet_text_meld"], "audio": ["m2fnet_audio_meld"], "visual": ["m2fnet_visual"]},
    "avafn": {"audio": ["avafn_wav2vec2"], "visual": ["avafn_dan"]},
    "avtca": {"audio": ["avtca_mfcc"], "visual": ["avtca_efficientface"]},
    "amuse": {"text": ["amuse_mpnet"], "audio": ["amuse_passt"], "visual": ["amuse_jaa", "amuse_back"]},
    "cues": {"text": ["cues_kwrt"], "audio": ["cues_wavlm", "cues_mel_target", "cues_mel_window"]},
}


def few_clips(make_project: MakeProject) -> Project:
    """A project whose manifest has but six utterances, in all three parts."""
    project = make_project()
    project.ercache("scan", "demo")

    def wanted(u: Utterance) -> bool:
        return u.dialogue.endswith("dia0") and u.index < FIRST[u.part]

    assert project.keep("demo", wanted) == sum(FIRST.values())
    with project.params() as params:
        params["engine"]["shard"] = 2  # what is stored at the kill is whole shards
    return project


def names_of(paper: str) -> list[str]:
    content = yaml.safe_load((ROOT / "papers" / f"{paper}.yaml").read_text())
    return list(content["features"])


def encoder_of(project: Project, paper: str) -> dict[str, str]:
    content = yaml.safe_load((project.folder / "papers" / f"{paper}.yaml").read_text())
    return {name: entry["encoder"] for name, entry in content["features"].items()}


def forget(project: Project) -> None:
    for name in ("store", "data/caches"):
        shutil.rmtree(project.folder / name)


def committed(trace: Path) -> bool:
    """Whether anything is on disk."""
    return trace.is_file() and '"stage": "store", "event": "end"' in trace.read_text()


def kill_when_something_is_stored(project: Project, command: list[str], trace: Path) -> None:
    """Run a command and kill it as soon as the first shard's results are on disk."""
    process = subprocess.Popen(
        [*command, "--trace", str(trace)],
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and not committed(trace):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def assert_as_on_the_page(name: str, of: dict[str, dict[str, Array]]) -> None:
    for arrays in of.values():
        for array, (shape, dtype) in GIVEN[name].items():
            values = arrays[array]
            assert values.shape[1:] == shape and values.dtype == np.dtype(dtype), (name, array)
            assert np.isfinite(values.astype(np.float32)).all()
            least, most = ROWS.get(name, {}).get(array, (1, 512))
            assert least <= len(values) <= most or array == "matrix", (name, array, len(values))
    first, second, *_ = [arrays[next(iter(GIVEN[name]))] for arrays in of.values()]
    assert first.shape != second.shape or not np.array_equal(first, second), f"{name}: all clips are one"


def assert_close(encoder: str, a: dict[str, dict[str, Array]], b: dict[str, dict[str, Array]]) -> None:
    assert a.keys() == b.keys()
    tolerance = ENCODERS[encoder].spec.tolerance
    for utterance, arrays in a.items():
        for name, values in arrays.items():
            one, other = (v.astype(np.float64) for v in (values, b[utterance][name]))
            half = 2**-10 if values.dtype == np.float16 else 0  # two neighbours that lie about one number
            limit = (tolerance + half) * max(1, np.abs(one).max(initial=0))
            assert np.abs(one - other).max(initial=0) <= limit, (encoder, utterance, name)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("profile", PAPERS)
def test_a_papers_profile_runs_from_clips_to_the_refusal_of_its_random_features(
    make_project: MakeProject, profile: str
) -> None:
    project = few_clips(make_project)
    project.add_papers()
    names = names_of(profile)
    command = ["extract", "demo", "--features", ",".join(names), *RANDOM]
    answer = project.json(*command)
    assert answer["failed"] == [] and len(answer["files"]) == 3 * len(names)
    found = {name: project.values(name) for name in names}
    for name, of in found.items():
        assert len(of) == 6
        assert_as_on_the_page(name, of)
    expected = project.caches()

    forget(project)
    kill_when_something_is_stored(project, ["ercache", *command], project.folder / "trace.jsonl")
    assert project.caches() == {}
    again = project.json(*command)
    assert again["reused"] > 0 and again["done"] + again["reused"] == answer["done"]
    assert project.caches() == expected

    forget(project)
    with project.params() as params:
        params["engine"]["batch"] = 1
    project.ercache(*command)
    encoders = encoder_of(project, profile)
    for name in names:
        assert_close(encoders[name], found[name], project.values(name))

    with project.params() as params:
        params["experiments"] = {
            "exp": {
                "model": "concat",
                "corpus": "demo",
                "features": VECTORS[profile],
                "training": {"seeds": 1, "epochs": 2},
            }
        }
    refused = project.ercache("train", "exp", code=2)
    assert (
        refused.stdout == ""
        and "made with random weights (--allow-random-weights accepts them)" in refused.stderr
    )
    assert not (project.folder / "data/models/exp").exists()
    run = project.json("train", "exp", "--allow-random-weights")
    assert "random weights" in run["marks"]


def test_a_profile_of_faces_and_sound_runs_on_a_clip(make_project: MakeProject) -> None:
    """The dearest networks stay out of the quick tests; a papers' policy of faces and one network do not."""
    project = make_project()
    project.add_papers()
    names = names_of("avtca")
    answer = project.json("extract", "demo", "--features", ",".join(names), *RANDOM, "--limit", "2")
    assert answer["failed"] == [] and len(answer["files"]) == 3
    for name in names:
        of = project.values(name, "data/partial")
        assert len(of) == 2
        assert_as_on_the_page(name, of)
    info = project.json("cache", "info", next(f for f in answer["files"] if "efficientface" in f))[
        "provenance"
    ]
    assert info["weights"] == {"id": "efficientface", "random": True, "seed": 0}
    assert json.dumps(info["faces"]["params"]).count("0.7") >= 3
