"""params.yaml: all findings at once, with place, value and the nearest known name."""

from pathlib import Path

import pytest

from ercache.errors import ParamsError, UsageError
from ercache.params.load import load_params
from ercache.params.roots import corpus_root
from ercache.params.schema import Strict


class Hog(Strict):
    frames: int = 6


class Net(Strict):
    dropout: float = 0.5


WRONG = """
faces: {min_face_sise: 20}
engine: {shard: 0}
features:
  a: {encoder: visual/hogg, frames: 3}
  b: {encoder: visual/hog, frame: 3}
profiles: {default: [c]}
experiments:
  x: {model: nett, corpus: demo, features: {text: [aa]}}
  y: {model: net, corpus: demo, features: {text: [a]}, config: {dropuot: 1}, training: {lr: -1}}
"""


def test_all_wrong_entries_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(WRONG)
    with pytest.raises(ParamsError) as caught:
        load_params(path, corpora={}, encoders={"visual/hog": Hog}, models={"net": Net})
    text = str(caught.value)
    for part in (
        "faces.min_face_sise: unknown key; did you mean 'min_face_size'?",
        "engine.shard: Input should be greater than or equal to 1 (got 0)",
        "features.a.encoder: unknown encoder 'visual/hogg'; did you mean 'visual/hog'?",
        "features.b.frame: unknown key; did you mean 'frames'?",
        "profiles.default: unknown feature 'c'",
        "experiments.x.model: unknown model 'nett'; did you mean 'net'?",
        "experiments.x.features: unknown feature 'aa'; did you mean 'a'?",
        "experiments.y.config.dropuot: unknown key; did you mean 'dropout'?",
        "experiments.y.training.lr: Input should be greater than 0 (got -1)",
    ):
        assert part in text
    assert caught.value.exit_code == 2


def test_params_yaml_of_the_project_holds_the_defaults_of_the_code() -> None:
    from ercache.params.schema import EngineParams, FacePolicy, TrainingParams

    params = load_params(Path(__file__).parents[2] / "params.yaml")
    assert params.training == TrainingParams()
    assert params.engine == EngineParams()
    assert params.faces == FacePolicy()


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00"])
def test_a_file_without_a_mapping_gives_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError):
        load_params(tmp_path / "params.yaml")


def test_the_root_comes_from_option_environment_local_file_and_params_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("params", "local", "environment", "option"):
        (tmp_path / name).mkdir()
    (tmp_path / "params.yaml").write_text("roots: {meld: params}")
    params = load_params()
    assert corpus_root("meld", params) == Path("params")
    (tmp_path / "params.local.yaml").write_text("roots: {meld: local}")
    assert corpus_root("meld", params) == Path("local")
    monkeypatch.setenv("ERCACHE_ROOT_MELD", "environment")
    assert corpus_root("meld", params) == Path("environment")
    assert corpus_root("meld", params, Path("option")) == Path("option")
    with pytest.raises(UsageError, match="is not set"):
        corpus_root("iemocap", params)
    with pytest.raises(UsageError, match="not a folder"):
        corpus_root("meld", params, Path("nowhere"))


def test_unknown_corpora_are_reported_with_the_most_similar_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(
        "experiments: {a: {model: m, corpus: melt, features: {text: []}},\n"
        "              b: {model: m, corpus: mine, features: {text: []}}}\n"
        "pretrain: {x: {extractor: e, corpus: meld2}}\n"
    )
    Path("params.local.yaml").write_text("roots: {mled: /x}\nroot: {}\n")
    (tmp_path / "data/manifests").mkdir(parents=True)
    (tmp_path / "data/manifests/mine.jsonl").touch()
    with pytest.raises(ParamsError) as caught:
        load_params(corpora={"meld": Strict})
    told = caught.value.details
    assert "experiments.a.corpus: unknown corpus 'melt'; did you mean 'meld'?" in told
    assert "pretrain.x.corpus: unknown corpus 'meld2'; did you mean 'meld'?" in told
    assert "params.local.yaml: roots: unknown corpus 'mled'; did you mean 'meld'?" in told
    assert "params.local.yaml: root: unknown key; did you mean 'roots'?" in told and len(told) == 4
    Path("params.yaml").unlink()
    with pytest.raises(ParamsError, match="mled"):
        load_params(corpora={"meld": Strict})


def test_a_section_without_entries_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("features:\nengine: # {shard: 4}\nexperiments:\n")
    params = load_params(path)
    assert params.features == {} and params.engine.shard == 16
