"""`ercache cache diff` and `ercache cache gc` as a user calls them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.console import params
from app.features import features_of
from ercache.cache import ArraySpec, Entry, Status, content_digest
from ercache.cache_writer import write_cache
from ercache.compare import max_abs_difference
from ercache.errors import CacheError, UsageError
from ercache.manifest import Manifest, MediaRef, Utterance, write_manifest
from extract.engine import Store
from extract.engine.plan import make_plan
from extract.engine.records import Record, pack_record

Rows = Sequence[Sequence[float]]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["cache", *arguments], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def cache(path: Path, rows: dict[str, Rows | str], name: str = "tokens") -> Path:
    """A cache file; a text in place of rows is a reason."""
    arrays = {u: {name: np.array(r, "f4")} for u, r in rows.items() if not isinstance(r, str)}
    entries = [
        Entry(u, Status.OK, "", 1, "", content_digest(arrays[u]))
        if u in arrays
        else Entry(u, Status.MISSING, str(r))
        for u, r in rows.items()
    ]
    spec = ArraySpec(name, "sequence", ("token", "dim"), (2,))
    write_cache(path, [spec], entries, arrays, {"corpus": "toy", "part": "train", "feature": "f"})
    return path


def diff(a: Path, b: Path) -> Any:
    return json.loads(run("diff", str(a), str(b), "--json"))


def test_equal_caches_are_equal_in_any_order_of_utterances(tmp_path: Path) -> None:
    a = cache(tmp_path / "a.h5", {"u0": [[1, 2]], "u1": "no_face", "u2": [[3, 4], [5, 6]]})
    b = cache(tmp_path / "b.h5", {"u2": [[3, 4], [5, 6]], "u1": "no_face", "u0": [[1, 2]]})
    found = diff(a, b)
    assert found["equal"] and found["max_abs_diff"] == {"tokens": 0.0} and found["compared"] == 2
    assert (found["only_a"], found["only_b"], found["status"], found["differing"]) == ([], [], [], {})


def test_a_difference_is_listed_by_utterance_and_array_and_is_no_failure(tmp_path: Path) -> None:
    a = cache(
        tmp_path / "a.h5", {"u0": [[1, 2]], "u1": [[0, 0]], "u2": "no_face", "u3": "silent", "old": [[1, 1]]}
    )
    b = cache(
        tmp_path / "b.h5", {"u0": [[1, 2.5]], "u1": [[-3, 0]], "u2": [[1, 1]], "u3": "silent", "new": "x"}
    )
    found = diff(a, b)
    assert (found["only_a"], found["only_b"], found["equal"]) == (["old"], ["new"], False)
    assert found["status"] == [{"utterance": "u2", "a": "missing: no_face", "b": "ok"}]
    assert found["max_abs_diff"] == {"tokens": 3.0} and found["differing"] == {"u0": 0.5, "u1": 3.0}
    shown = run("diff", str(a), str(b))
    assert "differs by 3" in shown and "missing: no_face" in shown
    assert shown.index("differs by 3") < shown.index("differs by 0.5"), "the largest first"


def test_arrays_of_different_shapes_or_names_are_listed_and_not_compared(tmp_path: Path) -> None:
    a = cache(tmp_path / "a.h5", {"u0": [[1, 2]], "u1": [[1, 2]]})
    b = cache(tmp_path / "b.h5", {"u0": [[1, 2], [3, 4]], "u1": [[1, 2]]})
    found = diff(a, b)
    (unlike,) = found["unlike"]
    assert unlike == {"utterance": "u0", "array": "tokens", "why": "shapes [1, 2] and [2, 2]"}
    assert found["max_abs_diff"] == {"tokens": 0.0} and not found["equal"]
    other = diff(a, cache(tmp_path / "c.h5", {"u0": [[1, 2]]}, "pooled"))
    assert (other["arrays_only_a"], other["arrays_only_b"]) == (["tokens"], ["pooled"])
    assert other["max_abs_diff"] == {} and not other["equal"]


def test_a_vector_and_a_sequence_of_one_name_are_compared_where_they_can_be(tmp_path: Path) -> None:
    spec = ArraySpec("tokens", "vector", ("utterance", "dim"), (2,), "float16")
    values = {u: {"tokens": np.array([[1, 2]], "f2")} for u in ("u0", "u1", "u9")}
    entries = [Entry(u, Status.OK, "", 1, "", content_digest(a)) for u, a in values.items()]
    about = {"corpus": "other", "part": "all", "feature": "g"}
    write_cache(tmp_path / "vector.h5", [spec], entries, values, about)
    sequence = cache(tmp_path / "sequence.h5", {"u0": [[1, 2.5]], "u1": [[1, 2], [3, 4]], "u2": "no_face"})
    found = diff(tmp_path / "vector.h5", sequence)
    assert (found["only_a"], found["only_b"], found["compared"]) == (["u9"], ["u2"], 2)
    assert found["max_abs_diff"] == {"tokens": 0.5} and found["differing"] == {"u0": 0.5}
    assert found["unlike"] == [{"utterance": "u1", "array": "tokens", "why": "shapes [1, 2] and [2, 2]"}]


def test_differences_of_integers_do_not_overflow_and_nan_is_reported() -> None:
    def largest(a: list[float], b: list[float], dtype: str) -> float | str:
        return max_abs_difference(np.array(a, dtype), np.array(b, dtype))

    nan, inf = float("nan"), float("inf")
    assert largest([0, 255], [255, 254], "u1") == 255
    assert largest([nan, inf, 1], [nan, inf, 2], "f4") == 1
    assert largest([nan], [1], "f4") == largest([inf], [-inf], "f4") == "values that are not finite in both"
    assert largest([], [], "f4") == 0
    assert largest([60000], [-60000], "f2") == 120000, "beyond the range of float16"


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    a = cache(tmp_path / "a.h5", {"u0": [[1, 2]]})
    with pytest.raises(CacheError, match="absent"):
        run("diff", str(a), str(tmp_path / "absent.h5"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml, a manifest of two sounds, and a store: one result is needed, two are not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    (tmp_path / "params.yaml").write_text("features: {mfcc: {encoder: audio/mfcc}}\n")
    rows = tuple(
        Utterance(
            n, "d", i, "Ann", "text", None, MediaRef(f"{n}.wav", sha256=sha(n)), {"emotion7": "joy"}, "all"
        )
        for i, n in enumerate("ab")
    )
    manifest = Manifest("demo", "1", {}, {"emotion7": ("joy",)}, rows)
    write_manifest(manifest, tmp_path / "data" / "manifests" / "demo.jsonl")
    loaded = params()
    plan = make_plan(manifest, rows, features_of(loaded, ["mfcc"]), loaded.engine)
    with Store(tmp_path / "store") as store:
        for name in (str(plan.keys["mfcc"]["a"]), sha("x"), sha("y")):
            store.put(name, pack_record(Record({"pooled": np.zeros((1, 2), "f4")}, 1)))
    return tmp_path


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_gc_counts_and_frees_only_with_yes(project: Path) -> None:
    (segment,) = (project / "store").glob("*.seg")
    size = segment.stat().st_size
    found = json.loads(run("gc", "--json"))
    assert (found["records"], found["bytes"], found["kept"]) == (2, size * 2 // 3, 1)
    assert found["why"] == {"unneeded": 2} and not found["freed"]
    told = CliRunner().invoke(cli, ["cache", "gc"]).stderr
    assert "2 records" in told and segment.exists()
    assert "All projects share this store" in told and "(demo)" in told
    assert json.loads(run("gc", "--yes", "--json"))["freed"]
    assert sum(p.stat().st_size for p in (project / "store").glob("*.seg")) == size // 3
    assert json.loads(run("gc", "--json"))["records"] == 0


def test_gc_works_without_the_weights_of_a_feature_and_prints_a_note(project: Path) -> None:
    untrained = "untrained: {encoder: audio/mel-resnet18, pretrained: nowhere}"
    training = "pretrain: {nowhere: {extractor: audio/mel-resnet18, corpus: demo}}"
    features = f"features: {{mfcc: {{encoder: audio/mfcc}}, {untrained}}}"
    (project / "params.yaml").write_text(f"{features}\n{training}\n")
    result = CliRunner().invoke(cli, ["cache", "gc", "--json"])
    assert result.exit_code == 0 and "weights of untrained are absent" in result.stderr
    assert json.loads(result.stdout)["kept"] == 1


@pytest.mark.parametrize("lacking", ["params.yaml", "data/manifests/demo.jsonl"])
def test_gc_refuses_to_run_without_params_or_manifests(project: Path, lacking: str) -> None:
    (project / lacking).unlink()
    with pytest.raises(UsageError):
        run("gc", "--yes")
    assert len(list((project / "store").glob("*.seg"))) == 1
