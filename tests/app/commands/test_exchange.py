"""`ercache cache import` and `export` as people and scripts call them."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ercache.manifest import write_manifest
from tests.support.command import Run, command_runner
from tests.support.exchange_files import meld, meld_tuple
from tests.support.feature_files import cosmic_tuple, pickled


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Commands in a folder with a manifest of MELD and a pickle of features."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    write_manifest(meld(), Path("data/manifests/meld.jsonl"))
    Path("MELD_features_raw1.pkl").write_bytes(pickle.dumps(meld_tuple(meld(), "mmgcn"), 2))
    return command_runner(monkeypatch, capsys)


IMPORT = ("cache", "import", "MELD_features_raw1.pkl", "--format", "mmgcn", "--corpus", "meld")


def test_import_prints_utterances_and_features_and_ls_shows_the_unknown_origin(run: Run) -> None:
    answer = run(*IMPORT, "--name", "mm", "--json")
    assert answer.code == 0 and answer.json["utterances"] == 8
    assert answer.json["features"] == ["mm_text", "mm_audio", "mm_visual"]
    assert "data/caches/meld/visual/mm_visual.test.h5" in answer.json["files"]
    assert {row["encoder"] for row in run("cache", "ls", "--json").json} == {"origin unknown"}
    assert run("cache", "verify", "data/caches", "--json").json == {"checked": 9, "bad": []}
    told = run("cache", "info", "data/caches/meld/text/mm_text.dev.h5", "--json").json["provenance"]
    assert told["origin"] == "unknown" and told["imported"]["source"] == "MELD_features_raw1.pkl"


def test_import_names_the_lines_of_params_that_make_the_features_usable(run: Run) -> None:
    lines = [f"mm_{modality}: {{encoder: imported}}" for modality in ("text", "audio", "visual")]
    assert run(*IMPORT, "--name", "mm", "--json").json["params"] == lines
    told = run(*IMPORT, "--name", "mm").err
    assert "add to params.yaml under `features:`" in told and all(f"  {line}" in told for line in lines)
    train = ("train", "--model", "concat", "--corpus", "meld", "--features", "mm_text")
    Path("params.yaml").write_text("features:\n  mm_texts: {encoder: imported}\n")
    refused = run(*train)
    assert refused.code == 2 and "did you mean" not in refused.err
    assert "`mm_text: {encoder: imported}`" in refused.err
    Path("params.yaml").write_text("features:\n" + "".join(f"  {line}\n" for line in lines))
    assert "under `features:`" not in run(*IMPORT, "--name", "mm").err
    accepted = run(*train)
    assert "does not name the feature" not in accepted.err


def test_a_cosmic_file_without_vectors_is_told_as_such(run: Run) -> None:
    pickled(Path("meld.pkl"), cosmic_tuple(vectors=False))
    answer = run("cache", "import", "meld.pkl", "--format", "cosmic", "--corpus", "meld")
    assert answer.code == 2 and "holds sentences and labels of COSMIC, but no vectors" in answer.err
    assert "`ercache init --from meld.pkl`" in answer.err and not Path("data/caches").exists()


@pytest.mark.parametrize(
    ("form", "suffix"),
    [("npz", "npz"), ("safetensors", "safetensors"), ("parquet", "parquet"), ("mmsa", "pkl")],
)
def test_export_writes_the_file_that_it_names_and_lists_what_is_lost(
    run: Run, form: str, suffix: str
) -> None:
    run(*IMPORT, "--name", "mm")
    cache = "data/caches/meld/text/mm_text.train.h5"
    answer = run("cache", "export", cache, "--format", form, "--json")
    assert (
        answer.code == 0 and answer.json["file"] == f"mm_text.train.{suffix}" and answer.json["not_carried"]
    )
    assert (answer.json["utterances"], answer.json["features"]) == (4, ["mm_text"])
    assert run("cache", "export", cache, "--format", form, "--out", "elsewhere/f").code == 0
    assert Path("elsewhere/f").is_file()
    back = run(
        "cache", "import", "elsewhere/f", "--format", form, "--corpus", "meld", "--name", "back", "--json"
    )
    assert back.code == 0 and back.json["utterances"] == 4 and back.json["features"] == ["back"]
    diff = run("cache", "diff", cache, "data/caches/meld/text/back.train.h5", "--json").json
    assert diff["max_abs_diff"] == {"features": 0.0} and diff["only_a"] == diff["only_b"] == []


def test_a_malicious_pickle_is_refused_by_name_with_exit_code_2_and_no_trace(run: Run) -> None:
    class Hostile:
        def __reduce__(self) -> Any:
            return (os.system, ("touch trace",))

    content = list(meld_tuple(meld(), "mmgcn"))
    content[3][0] = np.array([Hostile(), [{"a": Hostile()}]], dtype=object)
    Path("evil.pkl").write_bytes(pickle.dumps(tuple(content)))
    for form in ("mmgcn", "cosmic", "mmsa"):
        answer = run("cache", "import", "evil.pkl", "--format", form, "--corpus", "meld")
        assert answer.code == 2 and "posix.system" in answer.err and "->" in answer.err
    assert sorted(p.name for p in Path().iterdir()) == ["MELD_features_raw1.pkl", "data", "evil.pkl"]
    assert not Path("data/caches").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("import", "absent.pkl", "--format", "mmgcn", "--corpus", "meld"), "no such file"),
        (
            ("import", "MELD_features_raw1.pkl", "--format", "mmgnc", "--corpus", "meld"),
            "did you mean 'mmgcn'",
        ),
        (("import", "MELD_features_raw1.pkl", "--format", "mmgcn", "--corpus", "iemocap"), "ercache scan"),
        (
            ("import", "MELD_features_raw1.pkl", "--format", "mmgcn", "--corpus", "../meld"),
            "not the name of a corpus",
        ),
        (("import", "MELD_features_raw1.pkl", "--format", "mmsa", "--corpus", "meld"), "not an MMSA file"),
        (("import", "MELD_features_raw1.pkl", "--format", "merbench", "--corpus", "meld"), "is a file"),
        (("import", "data", "--format", "mmgcn", "--corpus", "meld"), "is a folder"),
        (("import", "data/manifests", "--format", "merbench", "--corpus", "meld"), "no .npy file"),
        (("import", "MELD_features_raw1.pkl", "--corpus", "meld"), "--format"),
        (("export", "absent.h5", "--format", "npz"), "not found"),
        (("export", "absent.h5", "--format", "pickle"), "unknown format"),
        (("export", "a.h5", "b.h5", "--format", "npz"), "one cache file"),
        (("export", "MELD_features_raw1.pkl", "--format", "npz"), "not a cache file"),
    ],
)
def test_wrong_usage_exits_with_2_and_a_message(run: Run, arguments: tuple[str, ...], told: str) -> None:
    answer = run("cache", *arguments)
    assert answer.code == 2 and told in answer.err and "Traceback" not in answer.err and not answer.out
    assert not Path("data/caches").exists()
