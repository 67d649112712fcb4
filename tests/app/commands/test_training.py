"""`ercache train` as a user calls it: what it asks for, folds, and every kind of input that cannot be used."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ercache.manifest import Manifest, Utterance, write_manifest
from tests.fusion.data.test_several_labels import several
from tests.fusion.training.test_folds import FOLDS, folded
from tests.support.command import Answer, Run, command_runner
from tests.support.toy_corpus import MODALITY, WIDTHS, toy_manifest, toy_vectors, write_feature, write_toy

MANIFEST = Path("data/manifests/toy.jsonl")
FEATURES = {modality: [feature] for feature, modality in MODALITY.items()}
ENTRY: dict[str, Any] = {"model": "concat", "corpus": "toy", "features": FEATURES, "config": {"hidden": 8}}


def configure(**experiments: dict[str, Any]) -> None:
    params = {
        "features": {name: {"encoder": "imported"} for name in WIDTHS},
        "training": {"seeds": 2, "epochs": 2, "batch": 4},
        "experiments": {"exp": ENTRY, **{name: {**ENTRY, **entry} for name, entry in experiments.items()}},
    }
    Path("params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture
def ercache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A project of toy caches, and its commands: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "200")
    write_toy(Path("data"))
    configure()
    return command_runner(monkeypatch, capsys)


def answer_of(said: Answer) -> Any:
    assert said[0] == 0, said[2]
    return json.loads(said[1])


def test_folds_are_trained_and_reported_one_by_one_and_together(ercache: Run) -> None:
    write_manifest(folded(toy_manifest()), MANIFEST)
    answer = answer_of(ercache("train", "exp", "--folds", "loso", "--json"))
    assert list(answer["folds"]) == list(FOLDS)
    assert all({"test", "validation", "epochs"} <= set(fold) for fold in answer["folds"].values())
    assert (
        set(answer["test"]["weighted_f1"])
        == {"mean", "std", "ci95"}
        == set(answer["over_folds"]["uar"]) | {"ci95"}
    )
    code, out, _ = ercache("train", "exp", "--folds", "loso", "--seeds", "1")
    assert code == 0 and "exp, fold loso/b" in out and "all folds together" in out
    assert answer_of(ercache("evaluate", "data/models/exp", "--json"))["corpus"] == "toy"
    page = Path(answer_of(ercache("report", "--json"))["path"]).read_text()
    assert all(f"test of fold {fold}" in page for fold in FOLDS) and "split “loso”" in page
    assert "3 training runs of 3 folds" in page


SMALL = {"project": 8, "ffn": 8, "head_hidden": 8, "fusion_m": 1}


def test_the_papers_training_is_named_like_a_preset_and_single_keys_change_it(ercache: Run) -> None:
    configure(
        named={"model": "m2fnet", "config": SMALL, "training": "paper"},
        shorter={"model": "m2fnet", "config": SMALL, "training": {"recipe": "paper", "epochs": 2}},
        wrong={"model": "m2fnet", "config": SMALL, "training": {"recipe": "papr"}},
        no_name={"model": "m2fnet", "config": SMALL, "training": {"recipe": 3, "epoch": 2}},
    )
    code, _, err = ercache("train", "named")
    assert code == 2 and "experiments.no_name.training.recipe: not the name of a recipe (got 3)" in err
    assert "experiments.no_name.training.epoch: unknown key; did you mean 'epochs'?" in err
    configure(
        shorter={"model": "m2fnet", "config": SMALL, "training": {"recipe": "paper", "epochs": 2}},
        wrong={"model": "m2fnet", "config": SMALL, "training": "papr"},
    )
    code, _, err = ercache("train", "wrong")
    assert code == 2 and "experiment 'wrong': model m2fnet: unknown training recipe 'papr'" in err
    assert "did you mean 'paper'?" in err
    configure(shorter={"model": "m2fnet", "config": SMALL, "training": {"recipe": "paper", "epochs": 2}})
    answer_of(ercache("train", "shorter", "--seeds", "1", "--json"))
    run = json.loads(Path("data/models/shorter/run.json").read_text())
    assert (run["training"]["epochs"], run["training"]["lr"], run["training"]["batch"]) == (2, 5e-4, 32)
    assert run["seeds"] == [0] and run["training"]["standardize"] is False


def test_evaluate_shows_in_which_points_a_run_deviates_from_its_paper(ercache: Run) -> None:
    configure(small={"model": "m2fnet", "config": SMALL})
    answer_of(ercache("train", "small", "--seeds", "1", "--json"))
    found = answer_of(ercache("evaluate", "data/models/small", "--json"))["deviations"]
    assert "config fusion_m 1, the paper uses 5" in found
    _, out, _ = ercache("evaluate", "data/models/small")
    assert "deviations from the paper" in out and "config fusion_m 1, the paper uses 5" in out
    answer_of(ercache("train", "exp", "--seeds", "1", "--json"))
    assert answer_of(ercache("evaluate", "data/models/exp", "--json"))["deviations"] is None
    assert "deviations" not in ercache("evaluate", "data/models/exp")[1]


def test_reproduce_says_in_which_points_a_row_is_a_stand_in(ercache: Run) -> None:
    configure(base={"model": "m2fnet", "config": SMALL, "training": {"seeds": 1, "epochs": 1}})
    params = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump({**params, "reproduce": {"m2fnet": {"toy": "base"}}}))
    code, out, err = ercache("reproduce", "m2fnet", "2", "--row", "Only Text", "--corpus", "toy")
    assert code == 0 and re.search(r"stand-in, \d+ deviations", out)
    assert "stand-in: 2 Only Text: corpus toy, the paper uses meld and iemocap;" in " ".join(err.split())
    assert "config ffn 8, the paper uses 2048" in out  # one row is shown with all its deviations
    assert "fusion_type" not in out and "no audio features" not in out  # which are the row's own
    (row,) = answer_of(ercache("reproduce", "m2fnet", "2", "--row", "Only Text", "--corpus", "toy", "--json"))
    assert row["deviations"][0] == "corpus toy, the paper uses meld and iemocap" and row["over_folds"] == {}


def test_compare_takes_a_metric_and_shows_the_t_test(ercache: Run) -> None:
    configure(other={"features": {"text": ["words"]}})
    for name in ("exp", "other"):
        answer_of(ercache("train", name, "--json"))
    runs = ("data/models/exp", "data/models/other")
    (row,) = answer_of(ercache("compare", *runs, "--metric", "macro_f1", "--json"))
    assert row["metric"] == "macro_f1" and row["trainings"] == 2 and 0 <= row["p_t"] <= 1
    code, out, _ = ercache("compare", *runs, "--metric", "uar")
    assert code == 0 and "UAR on test" in out and "p t-test" in out
    code, _, err = ercache("compare", *runs, "--metric", "f2")
    assert code == 2 and "unknown metric 'f2'" in err
    code, _, err = ercache("train", "exp", "--json")
    configure(exp={"training": {"select": "nothing"}})
    code, _, err = ercache("train", "exp")
    assert code == 2 and "training.select names no metric that can choose an epoch" in err


def test_models_lists_presets_and_training_recipes(ercache: Run) -> None:
    rows = {row["key"]: row for row in answer_of(ercache("models", "--json"))}
    assert rows["avtca"]["recipes"]["paper"]["select"] == "accuracy"
    assert rows["m2fnet"]["recipes"]["paper_iemocap"]["batch"] == 16
    assert rows["concat"]["recipes"] == {} and "seeds" not in rows["avafn"]["recipes"]["paper"]
    assert "paper_iemocap" in ercache("models")[1]


def test_an_experiment_may_be_given_by_options_alone(ercache: Run) -> None:
    given = (
        "--model",
        "majority",
        "--corpus",
        "toy",
        "--features",
        "words,face",
        "--task",
        "epc",
        "--seeds",
        "3",
    )
    answer = answer_of(ercache("train", *given, "--split", "official", "--json"))
    assert (answer["experiment"], answer["task"], answer["seeds"]) == ("majority_toy", "epc", [0, 1, 2])
    run = json.loads(Path("data/models/majority_toy/run.json").read_text())
    assert run["features"] == {"text": ["words"], "visual": ["face"]}


def test_several_emotions_at_once_have_a_page(ercache: Run) -> None:
    write_manifest(several(toy_manifest()), MANIFEST)
    answer = answer_of(ercache("train", "exp", "--label-set", "e", "--json"))
    assert 0 <= answer["test"]["uar"]["mean"] <= 1
    page = Path(answer_of(ercache("report", "--json"))["path"]).read_text()
    assert "no joy" in page and "no anger" in page and "Confusion matri" in page


def split_of(**change: tuple[str, ...]) -> None:
    manifest = toy_manifest()
    write_manifest(
        replace(manifest, splits={"official": {**manifest.splits["official"], **change}}), MANIFEST
    )


def rewrite(feature: str = "words", vectors: dict[str, Any] | None = None, **provenance: Any) -> None:
    manifest = toy_manifest()
    write_feature(Path("data"), manifest, feature, vectors or toy_vectors(manifest, feature), **provenance)


def relabelled(label: Callable[[Utterance], str | None]) -> Manifest:
    manifest = toy_manifest()
    rows = tuple(replace(u, labels={"emotion7": label(u)}) for u in manifest.utterances)
    return replace(manifest, utterances=rows)


def no_numbers() -> None:
    vectors = toy_vectors(toy_manifest(), "sound")
    vectors["dev_d1_u2"][0, 1], vectors["dev_d2_u0"][0, 0] = np.nan, np.inf
    rewrite("sound", vectors)


def other_text() -> None:
    manifest = toy_manifest()
    for part in manifest.parts:
        one = replace(manifest, utterances=manifest.of_part(part), splits={})
        records = manifest.records_digest("text", part)
        write_feature(Path("data"), one, "words", toy_vectors(manifest, "words"), records=records)
    rows = tuple(replace(u, text="repaired") for u in manifest.utterances)
    write_manifest(replace(manifest, utterances=rows), MANIFEST)


def all_faces_gone() -> None:
    rewrite("face", {"nobody": np.ones((1, 4), "f4")})


BAD: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "a modality that the model does not take": (
        lambda: configure(exp={"model": "avafn", "config": {}, "features": {"text": ["words"]}}),
        ("modality 'text' is not one of audio, visual",),
    ),
    "an absent cache": (
        lambda: Path("data/caches/toy/text/words.dev.h5").unlink(),
        ("words.dev.h5: no such cache file", "ercache extract toy --features words"),
    ),
    "a sequence where a vector is needed": (lambda: rewrite(kind="sequence"), ("no array of kind vector",)),
    "another corpus": (lambda: rewrite(corpus="other"), ("of corpus 'other', not 'toy'",)),
    "another manifest": (other_text, ("text or media in the manifest have changed", "ercache extract toy")),
    "random weights": (lambda: rewrite(weights={"random": True}), ("--allow-random-weights accepts them",)),
    "a leak": (
        lambda: rewrite(weights={"seen": {"toy": ["test"]}}),
        ("has seen test of toy", "--allow-leak"),
    ),
    "an unknown label set": (lambda: configure(exp={"label_set": "emotion"}), ("did you mean 'emotion7'?",)),
    "labels of another task": (
        lambda: write_manifest(relabelled(lambda _: "angst"), MANIFEST),
        ("label 'angst' is not in the label set 'emotion7'",),
    ),
    "an empty subset": (lambda: split_of(dev=()), ("dev is empty",)),
    "a subset without a label": (lambda: split_of(test=("test_d3_u3",)), ("has no 'emotion7' label",)),
    "an utterance in two subsets": (
        lambda: split_of(dev=("train_d1_u1",)),
        ("dev and train share utterances",),
    ),
    "values that are no numbers": (no_numbers, ("NaN or infinite values in dev_d1_u2, dev_d2_u0",)),
    "a modality that nobody has": (all_faces_gone, ("no utterance of train has all features",)),
    "a model that does not do the task": (
        lambda: configure(exp={"model": "copy_last", "config": {}}),
        ("does not do the task 'erc'",),
    ),
    "a feature that sees what is to be predicted": (
        lambda: (configure(exp={"task": "epc"}), rewrite(context={"past": 0, "future": 2})),
        ("words sees 2 later utterances",),
    ),
    "folds and a split": (
        lambda: configure(exp={"folds": "loso", "split": "session5"}),
        ("give either a split or folds",),
    ),
    "folds that are not there": (lambda: configure(exp={"folds": "loso"}), ("unknown folds 'loso'",)),
}


@pytest.mark.parametrize("what", list(BAD))
def test_unusable_input_is_reported_before_any_training(ercache: Run, what: str) -> None:
    spoil, expected = BAD[what]
    spoil()
    code, out, err = ercache("train", "exp")
    assert code == 2 and out == "" and "Traceback" not in err
    assert all(words in err for words in expected), err
    assert not Path("data/models/exp").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "options to build one are missing: --model, --corpus, --features"),
        (("ex",), "did you mean 'exp'?"),
        (("exp", "--split", "oficial"), "did you mean 'official'?"),
        (("exp", "--features", "word"), "did you mean 'words'?"),
        (("exp", "--task", "xyz"), "task: Input should be 'erc' or 'epc'"),
        (("exp", "--folds", "loso", "--split", "x"), "give either a split or folds"),
        (("--model", "concatt", "--corpus", "toy", "--features", "words"), "did you mean 'concat'?"),
    ],
)
def test_unusable_options_are_reported(ercache: Run, arguments: tuple[str, ...], expected: str) -> None:
    code, _, err = ercache("train", *arguments)
    assert code == 2 and expected in err and "Traceback" not in err


def test_a_run_is_refused_when_its_labels_changed(ercache: Run) -> None:
    answer_of(ercache("train", "exp", "--json"))
    manifest = toy_manifest()
    more = {"emotion7": (*manifest.label_sets["emotion7"], "fear")}
    write_manifest(replace(manifest, label_sets=more), MANIFEST)
    code, _, err = ercache("evaluate", "data/models/exp")
    assert code == 2 and "the classes in the manifest have changed since the training" in err


def test_a_class_without_an_example_is_marked_and_the_loss_stays_a_number(ercache: Run) -> None:
    manifest = relabelled(
        lambda u: None if u.part == "train" and u.labels["emotion7"] == "joy" else u.labels["emotion7"]
    )
    write_manifest(manifest, MANIFEST)
    configure(exp={"training": {"class_weights": "balanced", "gamma": 2.0}})
    answer = answer_of(ercache("train", "exp", "--json"))
    assert answer["marks"] == ["class joy has no example in train"]
    curves = Path("data/models/exp/curves.csv").read_text()
    assert "nan" not in curves and "inf" not in curves


def odd_dialogues() -> Manifest:
    """In each part a dialogue of one utterance, and in train one of 500."""
    rng = np.random.default_rng(1)
    rows = []
    for part, lengths in {"train": (1, 500, 3), "dev": (1, 4), "test": (1, 4)}.items():
        for d, length in enumerate(lengths):
            name = f"{part}_d{d}"
            for i in range(length):
                label = {"emotion7": toy_manifest().label_sets["emotion7"][int(rng.integers(3))]}
                rows.append(Utterance(f"{name}_u{i}", name, i, "AB"[i % 2], "t", None, None, label, part))
    split = {part: tuple(u.id for u in rows if u.part == part) for part in ("train", "dev", "test")}
    return replace(toy_manifest(), utterances=tuple(rows), splits={"official": split})


@pytest.mark.parametrize("model", ["dialogue_rnn", "m2fnet", "avafn"])
def test_dialogues_of_one_and_of_500_that_may_lack_everything(ercache: Run, model: str) -> None:
    manifest = odd_dialogues()
    write_manifest(manifest, MANIFEST)
    for feature in WIDTHS:
        vectors = toy_vectors(manifest, feature)
        present = {i: v for i, v in vectors.items() if not i.startswith(("train_d2", "test_d1"))}
        write_feature(Path("data"), manifest, feature, present)
    features = {m: names for m, names in FEATURES.items() if model != "avafn" or m != "text"}
    short = {"seeds": 1, "epochs": 1, "modality_dropout": 0.3}
    configure(exp={"model": model, "config": {}, "features": features, "training": short})
    answer = answer_of(ercache("train", "exp", "--json"))
    assert 0 <= answer["test"]["weighted_f1"]["mean"] <= 1
    run = json.loads(Path("data/models/exp/run.json").read_text())
    assert run["missing"]["test"]["audio"] == 4
    assert "nan" not in Path("data/models/exp/curves.csv").read_text()
