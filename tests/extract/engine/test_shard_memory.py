"""The memory of a lane is bounded by a param, whatever its shard holds; what it makes hardly depends on that param."""

from pathlib import Path

import numpy as np
import pytest

from ercache.cache import CacheFile
from ercache.digests import digest_of_file
from ercache.manifest import Manifest, MediaRef, Utterance
from ercache.params.schema import EngineParams
from extract.engine import extract_corpus
from tests.support.toy_letters import Loud, letters
from tests.support.toy_pictures import HEIGHT, WIDTH, read_large, views

CLIPS = 16  # of a shard


def corpus(root: Path) -> Manifest:
    """A shard of stretches of one film, each with its sound in a file of its own."""
    film = root / "film.mp4"
    film.write_text("film")
    rows = []
    for n in range(CLIPS):
        (root / f"{n}.wav").write_text(f"sound {n}")
        video = MediaRef(film.name, start=n, end=n + 1.0, sha256=digest_of_file(film))
        audio = MediaRef(f"{n}.wav", sha256=digest_of_file(root / f"{n}.wav"))
        rows.append(Utterance(f"u{n}", "d", n, "Ann", "", video, audio, {}, "train"))
    return Manifest("toy", "1", {}, {}, tuple(rows))


def extract(folder: Path, memory: float, frames: int, name: str) -> tuple[list[bytes], float]:
    """Bytes of the caches, and megabytes that the lane took for its work."""
    out = folder / name
    out.mkdir()
    features = [views(folder, frames), letters(folder, "loud", kind=Loud)]
    engine = EngineParams(shard=CLIPS, lanes=1, memory=memory)
    result = extract_corpus(
        corpus(folder), features, engine, store=out / "store", out=out, root=folder, read=read_large
    )
    assert result.failed == []
    return [path.read_bytes() for path in result.files], float((folder / "taken").read_text())


@pytest.mark.parametrize("frames", [6, pytest.param(24, marks=pytest.mark.full)])
def test_a_lane_holds_a_few_clips_of_its_shard_and_not_all(tmp_path: Path, frames: int) -> None:
    clip = 3e-6 * HEIGHT * WIDTH * frames
    _, few = extract(tmp_path, clip, frames, "few")
    # Two that are encoded, two read ahead, one that arrives and is unpacked.
    assert few < 6 * clip
    if frames == 6:
        _, all_of_them = extract(tmp_path, 100 * clip, frames, "all")
        assert all_of_them > CLIPS * clip


def test_equal_params_give_equal_bytes_and_another_bound_gives_other_groups_within_the_tolerance(
    tmp_path: Path,
) -> None:
    clip = 3e-6 * HEIGHT * WIDTH
    runs = {"small": 2 * clip, "again": 2 * clip, "large": 100 * clip}
    found = {name: extract(tmp_path, memory, 1, name)[0] for name, memory in runs.items()}
    assert found["small"] == found["again"]
    path = "toy/visual/views.train.h5"
    with CacheFile(tmp_path / "small" / path) as a, CacheFile(tmp_path / "large" / path) as b:
        for utterance in a.row:
            x, y = a[utterance]["pooled"], b[utterance]["pooled"]
            assert np.abs(x - y).max() <= a.provenance["tolerance"] * max(1, np.abs(x).max())
