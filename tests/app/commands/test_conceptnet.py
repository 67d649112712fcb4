"""ConceptNet's dump from the command line to a matrix of words and its provenance."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ercache import weights
from ercache.cache import CacheFile
from ercache.digests import digest_of_file
from ercache.manifest import Manifest, Utterance, write_manifest
from ercache.nets.text_shapes import Shape
from extract.encoders import ENCODERS
from extract.encoders.text.kwrt import ENTRY as KWRT
from tests.support.command import Run, command_runner

DUMP = "conceptnet-assertions-5.7.0.csv.gz"
PARAMS = """
features:
  own: {encoder: text/kwrt}
  net: {encoder: text/kwrt, knowledge: conceptnet}
profiles: {default: [net, own]}
engine: {lanes: 1, threads: 1}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Commands in a folder with one utterance to extract and no checkpoint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    monkeypatch.setitem(ENCODERS.known, "text/kwrt", replace(KWRT, shape=Shape(32, 1, 2, 48, 400)))
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    said = Utterance("u0", "d", 0, "A", "Zebras hate fires and umbrellas.", None, None, {}, "train")
    write_manifest(Manifest("meld", "1", {}, {}, (said,)), Path("data/manifests/meld.jsonl"))
    return command_runner(monkeypatch, capfd)


def write_dump(path: Path, *pairs: tuple[str, str]) -> Path:
    rows = [f"/a/x\t/r/IsA\t/c/en/{a}\t/c/en/{b}/n\t{{}}\n" for a, b in pairs]
    path.write_bytes(gzip.compress("".join(rows).encode()))
    return path


def test_a_dump_is_converted_once_and_enters_matrix_and_provenance(run: Run, tmp_path: Path) -> None:
    code, out, err = run("extract", "meld", "--random-weights", "1")
    assert code == 2 and out == "" and f"ercache weights convert conceptnet {DUMP}" in err

    dump = write_dump(tmp_path / DUMP, ("zebra", "umbrella"), ("zebra", "fire"))
    code, out, _ = run("weights", "convert", "conceptnet", str(dump), "--json")
    assert code == 0
    told = json.loads(out)[0]
    assert Path(told["file"]).name == "relations.tsv" and told["sha256"] == digest_of_file(Path(told["file"]))

    assert run("extract", "meld", "--random-weights", "1")[0] == 0
    matrices = {}
    for name in ("net", "own"):
        with CacheFile(Path(f"data/caches/meld/text/{name}.train.h5")) as cache:
            found = cache["u0"]
            matrices[name] = found["matrix"].reshape(found["size"][0], -1)
            beside = cache.provenance["weights"].get("beside")
        if name == "net":
            assert beside["conceptnet"]["sha256"] == {"relations.tsv": told["sha256"]}
            assert beside["conceptnet"]["converted_from"] == {DUMP: digest_of_file(dump)}
        else:
            assert beside is None
    # zebras, hate, fires, and, umbrellas: a zebra is a fire and an umbrella there; ours knows none of these pairs
    np.testing.assert_array_equal(np.flatnonzero(matrices["net"][0]), [2, 4])
    assert matrices["own"][0].sum() == 0


def test_a_file_that_is_not_the_dump_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    (tmp_path / DUMP).write_bytes(b"no archive")
    code, out, err = run("weights", "convert", "conceptnet", DUMP)
    assert code == 2 and out == "" and "not readable as ConceptNet" in err and "Traceback" not in err
    assert not list((tmp_path / "weights").rglob("relations.tsv"))


def test_another_dump_than_the_first_is_refused(run: Run, tmp_path: Path) -> None:
    assert run("weights", "convert", "conceptnet", str(write_dump(tmp_path / DUMP, ("a", "b"))))[0] == 0
    code, _, err = run("weights", "convert", "conceptnet", str(write_dump(tmp_path / DUMP, ("a", "c"))))
    assert code == 2 and "than the one that was added before" in err
