"""Every key of the registry through `ercache extract` on real input: CREMA-D's clips, MELD's first dialogues.

The quick half has what needs no checkpoint, and a tiny checkpoint for each whose files say how large its network is;
the long half has all keys at full size, where weights are random: what is tested is the way from a file to a cache.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ercache.cache import Array
from ercache.manifest import read_manifest
from ercache.weights import FOLDER_VARIABLE
from ercache.weights.table import TABLE_VARIABLE
from extract.encoders import ENCODERS, configs
from extract.encoders.visual.openface import COLUMNS
from tests.e2e.conftest import SHARED, MakeProject, Project
from tests.support import tiny_weights

pytestmark = pytest.mark.e2e

CREMAD = SHARED / "media" / "cremad"
MELD = SHARED / "meld"
DIALOGUES = 50
FEW = 2  # dialogues, and clips, of the quick half
needs_clips = pytest.mark.skipif(not CREMAD.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")
needs_texts = pytest.mark.skipif(not MELD.is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")

RUNNABLE = tuple(key for key, kind in ENCODERS.items() if not kind.spec.unavailable)
TEXTS = tuple(key for key in RUNNABLE if key.startswith("text/"))
MEDIA = tuple(key for key in RUNNABLE if not key.startswith("text/"))
RANDOM = ("--random-weights", "0")
CLIPS = ("--root", str(CREMAD))
# Random weights read bytes, so nearly every context is 512 tokens long: all dialogues would take hours.
FEWER = {key: 1 for key in TEXTS if "-ctx-" in key} | {"text/m2fnet-roberta": 5}


def name_of(key: str) -> str:
    return key.replace("/", "_").replace("-", "_")


def declared(keys: Sequence[str], folder: Path, **changes: Any) -> dict[str, Any]:
    """Features of params.yaml; `changes` to every encoder that has such a param."""
    found = {}
    for key in keys:
        known = configs()[key].model_fields
        own = {name: value for name, value in changes.items() if name in known}
        if key == "visual/openface-au":
            own["folder"] = str(folder)
        found[name_of(key)] = {"encoder": key, **own}
    return found


def write_tables(folder: Path) -> None:
    """A table as OpenFace writes it for each clip."""
    head = ", ".join(["frame", "timestamp", "confidence", "success", *COLUMNS])
    for n, clip in enumerate(sorted(CREMAD.glob("*.flv"))):
        rows = [[i, i / 30, 0.9, 1, *[n + i / 10] * len(COLUMNS)] for i in range(40)]
        lines = [head, *(", ".join(map(str, row)) for row in rows)]
        (folder / f"{clip.stem}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def assert_as_declared(key: str, params: Mapping[str, Any], of: Mapping[str, Mapping[str, Array]]) -> None:
    kind = ENCODERS[key]
    specs = kind.arrays(kind.Params(**{k: v for k, v in params.items() if k != "encoder"}))
    for arrays in of.values():
        assert arrays.keys() == {spec.name for spec in specs}
        for spec in specs:
            values = arrays[spec.name]
            assert values.shape[1:] == spec.shape and values.dtype == np.dtype(spec.dtype), (key, spec.name)
            assert np.isfinite(values.astype(np.float64)).all()
            assert spec.kind != "vector" or len(values) == 1
    main = [arrays[specs[0].name] for arrays in of.values()]
    assert any(a.shape != main[0].shape or not np.array_equal(a, main[0]) for a in main[1:]), (
        f"{key}: all are one"
    )


@pytest.fixture(scope="module")
def clips(make_project: MakeProject) -> Project:
    """A project that knows the clips; its store keeps the faces from one key to the next."""
    project = make_project().here
    project.ercache("scan", "cremad", "--root", str(CREMAD))
    return project


@pytest.fixture(scope="module")
def two_clips(make_project: MakeProject) -> Project:
    project = make_project().here
    project.ercache("scan", "cremad", "--root", str(CREMAD))
    named = sorted(u.id for u in read_manifest(project.folder / "data/manifests/cremad.jsonl").utterances)
    assert project.keep("cremad", lambda u: u.id in named[:FEW]) == FEW
    return project


@pytest.fixture(scope="module")
def texts(make_project: MakeProject) -> Callable[[int], Project]:
    """Projects that know the first dialogues of MELD's train part."""
    made: dict[int, Project] = {}

    def project_of(dialogues: int) -> Project:
        if dialogues not in made:
            project = made[dialogues] = make_project().here
            project.ercache("scan", "meld", "--root", str(MELD))
            first: dict[str, None] = {}
            project.keep(
                "meld",
                lambda u: (
                    len(first | {u.dialogue: None}) <= dialogues and not first.update({u.dialogue: None})
                ),
            )
        return made[dialogues]

    return project_of


def extract(project: Project, corpus: str, features: Mapping[str, Any], *options: str) -> dict[str, Any]:
    path = project.folder / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params |= {"features": dict(features), "profiles": {}, "experiments": {}, "pipeline": {}}
    path.write_text(yaml.safe_dump(params), encoding="utf-8")
    answer: dict[str, Any] = project.json("extract", corpus, "--features", ",".join(features), *options)
    assert answer["failed"] == []
    return answer


@needs_clips
def test_what_needs_no_checkpoint_encodes_the_real_clips_and_a_changed_parameter_recomputes_one_feature(
    two_clips: Project,
) -> None:
    keys = ("audio/mfcc", "audio/prosody", "visual/face-crops", "visual/face-hog")
    features = declared(keys, Path())
    answer = extract(two_clips, "cremad", features, *CLIPS)
    assert len(answer["files"]) == len(keys) and answer["done"] == FEW * len(keys)
    for key in keys:
        of = two_clips.values(name_of(key))
        assert len(of) == FEW
        assert_as_declared(key, features[name_of(key)], of)
    features["audio_mfcc"]["n_mfcc"] = 13
    again = extract(two_clips, "cremad", features, *CLIPS)
    assert (again["done"], again["reused"]) == (FEW, FEW * (len(keys) - 1))
    assert next(iter(two_clips.values("audio_mfcc").values()))["frames"].shape[1] == 13


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tiny checkpoints that lie where `ercache weights add` puts them."""
    with tiny_weights.tiny_weights(tmp_path_factory.mktemp("weights")):
        yield


def with_weights(project: Project) -> Project:
    return replace(project, passed=(FOLDER_VARIABLE, TABLE_VARIABLE))


@needs_clips
def test_tiny_checkpoints_encode_the_real_clips(brought: None, two_clips: Project) -> None:
    keys = tuple(key for key in tiny_weights.KEYS if key in MEDIA)
    features = declared(keys, Path())
    project = with_weights(two_clips)
    answer = extract(project, "cremad", features, *CLIPS)
    assert len(answer["files"]) == len(keys) and answer["done"] == FEW * len(keys)
    for key in keys:
        assert_as_declared(key, features[name_of(key)], project.values(name_of(key)))


@pytest.mark.full
@needs_texts
def test_tiny_checkpoints_encode_the_first_dialogues_of_meld(
    brought: None, texts: Callable[[int], Project]
) -> None:
    keys = tuple(key for key in TEXTS if key in tiny_weights.KEYS)
    features = declared((*keys, "text/minilm"), Path())
    project = with_weights(texts(FEW))
    answer = extract(project, "meld", features)
    assert len(answer["files"]) == len(features)
    for key in keys:
        of = project.values(name_of(key))
        assert len(of) >= 8 * FEW
        assert_as_declared(key, features[name_of(key)], of)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("key", MEDIA)
@needs_clips
def test_a_full_network_encodes_the_real_clips(clips: Project, key: str) -> None:
    tables = clips.folder / "tables"
    tables.mkdir(exist_ok=True)
    write_tables(tables)
    features = declared([key], tables)
    answer = extract(clips, "cremad", features, *CLIPS, *RANDOM)
    assert len(answer["files"]) == 1 and answer["done"] == 6
    of = clips.values(name_of(key))
    assert len(of) == 6
    assert_as_declared(key, features[name_of(key)], of)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("key", TEXTS)
@needs_texts
def test_a_full_network_encodes_the_first_dialogues_of_meld(
    texts: Callable[[int], Project], key: str
) -> None:
    dialogues = FEWER.get(key, DIALOGUES)
    project, features = texts(dialogues), declared([key], Path())
    extract(project, "meld", features, *RANDOM)
    of = project.values(name_of(key))
    assert len(of) >= 8 * dialogues
    assert_as_declared(key, features[name_of(key)], of)
