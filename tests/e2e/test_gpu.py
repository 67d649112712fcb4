"""Where a GPU is at hand: the same features as on the CPU, and the benchmark of extraction with its goal."""

from pathlib import Path

import numpy as np
import pytest

from bench import extract
from ercache.cache import CacheFile
from ercache.params.schema import EngineParams
from tests.e2e.conftest import MakeProject

pytestmark = pytest.mark.e2e
MELD_HOURS = 10 / 60  # goal for MELD's 13,708 clips, from mp4


@pytest.fixture
def cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return "cuda"


def test_features_of_a_gpu_are_those_of_the_cpu(make_project: MakeProject, cuda: str) -> None:
    ours, theirs = make_project(), make_project()
    for project, device in ((ours, "cpu"), (theirs, cuda)):
        project.ercache("extract", "demo", "--features", "minilm,face_hog", "--device", device)
    for name in ("text/minilm.train.h5", "visual/face_hog.train.h5"):
        with (
            CacheFile(ours.folder / "data/caches/demo" / name) as a,
            CacheFile(theirs.folder / "data/caches/demo" / name) as b,
        ):
            assert [e.status for e in a.entries] == [e.status for e in b.entries]
            np.testing.assert_allclose(a.read("pooled")[0], b.read("pooled")[0], atol=2e-3)


@pytest.mark.full
def test_meld_takes_ten_minutes_on_a_gpu(tmp_path: Path, cuda: str) -> None:
    engine = EngineParams(shard=64, batch=64, workers=12)
    figures = extract.measure(tmp_path, 240, "paper", scale=0, engine=engine, device=cuda)
    print({name: value for name, value in figures.items() if not isinstance(value, dict)})
    assert figures["projected_meld_hours"] <= MELD_HOURS
