"""Comparisons agree with examples worked out by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
import pytest
from scipy.stats import binom

from ercache.errors import UsageError
from fusion.evaluation.scored_run import ScoredRun
from fusion.evaluation.significance import bootstrap_p, compare, compare_pair, holm, mcnemar_p, paired_t_p
from fusion.runs.predictions import majority_vote
from fusion.training.run import train_experiment
from tests.support.toy_corpus import toy_params, write_toy

RIGHT, WRONG = [[2, 0], [0, 2]], [[0, 2], [2, 0]]


def outcome(name: str, dialogues: list[list[list[int]]], right: list[bool]) -> ScoredRun:
    return ScoredRun(name, np.array([dialogues]), np.array(right))


def test_mcnemar_is_the_exact_binomial_test() -> None:
    assert mcnemar_p(9, 1) == pytest.approx(2 * (1 + 10) / 2**10)
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(40, 60) == pytest.approx(2 * binom.cdf(40, 100, 0.5))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9]) == [0.9]


def test_bootstrap_p_by_hand() -> None:
    assert bootstrap_p(np.array([-1.0, *[1.0] * 98])) == pytest.approx(2 * 2 / 100)
    assert bootstrap_p(np.zeros(10)) == 1.0


def test_a_pair_by_hand() -> None:
    a = outcome("a", [RIGHT, RIGHT], [True] * 8)
    b = outcome("b", [RIGHT, WRONG], [True] * 4 + [False] * 4)
    row = compare_pair(a, b)
    assert row["difference"] == pytest.approx(0.5) and (row["a"], row["b"]) == ("a", "b")
    # two dialogues: the second is drawn 0, 1 or 2 times with chances 1/4, 1/2, 1/4
    assert row["ci95"] == pytest.approx([0.0, 1.0])
    assert row["p_mcnemar"] == pytest.approx(2 / 2**4) and (row["only_a_right"], row["only_b_right"]) == (
        4,
        0,
    )
    assert row["p"] == pytest.approx(0.5, abs=0.06)


def test_the_bootstrap_is_paired() -> None:
    dialogues = [RIGHT, WRONG] * 10
    row = compare_pair(
        outcome("a", dialogues, [True, False] * 40), outcome("b", dialogues, [True, False] * 40)
    )
    assert row["ci95"] == [0.0, 0.0] and row["p"] == 1.0


def test_each_run_has_its_own_draws_of_seeds() -> None:
    def both(name: str) -> ScoredRun:  # one seed right everywhere, one wrong everywhere
        return ScoredRun(name, np.array([[RIGHT] * 3, [WRONG] * 3]), np.array([True] * 12))

    row = compare_pair(both("a"), both("b"))
    # each run's score is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4, whatever the dialogues
    assert row["difference"] == 0 and row["ci95"] == [-1.0, 1.0] and row["p"] > 0.9


def test_the_majority_of_seeds_and_its_ties() -> None:
    votes = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]])
    chance = np.array([[0.1, 0.8, 0.1], [0.2, 0.5, 0.3], [0.2, 0.3, 0.5]])
    assert majority_vote(votes, chance).tolist() == [0, 2, 2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    data = tmp_path_factory.mktemp("runs")
    write_toy(data)
    found = {}
    for name, features in {"both": ["words", "sound"], "text": ["words"], "audio": ["sound"]}.items():
        modality = {"words": "text", "sound": "audio"}
        params = toy_params(features={modality[f]: [f] for f in features})
        train_experiment("exp", params, data, work=data / "work")
        found[name] = (data / "models/exp").rename(data / name)
    return found


def test_runs_are_compared_in_pairs_and_corrected_together(runs: dict[str, Path]) -> None:
    rows = compare(list(runs.values()))
    assert [(r["a"], r["b"]) for r in rows] == [("both", "text"), ("both", "audio"), ("text", "audio")]
    scores = {
        n: json.loads((p / "run.json").read_text())["test"]["weighted_f1"]["mean"] for n, p in runs.items()
    }
    for row in rows:
        assert row["difference"] == pytest.approx(scores[row["a"]] - scores[row["b"]])
        assert row["ci95"][0] <= row["difference"] <= row["ci95"][1] and 0 < row["p"] <= 1
    told = {"a", "b", "metric", "difference", "ci95", "p", "p_mcnemar", "p_t", "trainings"}
    told |= {"only_a_right", "only_b_right"}
    assert set(rows[0]) == told | {"marks_a", "marks_b"} and rows[0]["marks_a"] == []
    alone = [compare([runs[r["a"]], runs[r["b"]]])[0] for r in rows]
    for key in ("p", "p_mcnemar", "p_t"):
        assert [r[key] for r in rows] == pytest.approx(holm([r[key] for r in alone]))


def test_the_paired_t_test_by_hand() -> None:
    # differences 1, 2, 3: mean 2, deviation 1, t = 2 sqrt(3) with two degrees of freedom
    t_value = 2 * np.sqrt(3)
    expected = 1 - t_value / np.sqrt(2 + t_value**2)  # distribution function of t with two degrees of freedom
    assert paired_t_p([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == pytest.approx(expected)
    assert paired_t_p([0.5], [0.4]) is None
    assert paired_t_p([0.5, 0.6], [0.5, 0.6]) == 1.0 and paired_t_p([0.5, 0.6], [0.4, 0.5]) == 0.0


def test_runs_are_compared_by_the_metric_that_is_asked_for(runs: dict[str, Path]) -> None:
    pair = [runs["both"], runs["audio"]]
    tests = [json.loads((p / "run.json").read_text())["test"] for p in pair]
    for metric in ("macro_f1", "uar", "accuracy"):
        (row,) = compare(pair, metric)
        assert row["metric"] == metric and row["trainings"] == 2
        assert row["difference"] == pytest.approx(tests[0][metric]["mean"] - tests[1][metric]["mean"])
    assert compare(pair)[0]["metric"] == "weighted_f1"
    with pytest.raises(UsageError, match="unknown metric 'uarr'") as told:
        compare(pair, "uarr")
    assert told.value.hint == "did you mean 'uar'?"
    with pytest.raises(UsageError, match="unknown metric 'binary_f1'"):
        compare(pair, "binary_f1")


def test_runs_that_were_selected_by_one_metric_are_compared_by_it(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    folders = []
    for name in ("both", "text"):
        folders.append(tmp_path / name)
        shutil.copytree(runs[name], folders[-1])
        run = json.loads((folders[-1] / "run.json").read_text())
        run["training"]["select"] = "uar"
        (folders[-1] / "run.json").write_text(json.dumps(run))
    assert compare(folders)[0]["metric"] == "uar"
    assert compare([folders[0], runs["text"]])[0]["metric"] == "weighted_f1"


def test_runs_that_cannot_be_compared_are_refused_with_all_reasons(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        compare([runs["both"]])
    with pytest.raises(UsageError, match="holds no run"):
        compare([runs["both"], tmp_path])
    other = tmp_path / "other"
    shutil.copytree(runs["text"], other)
    run = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps({**run, "corpus": "meld", "split": "mine"}))
    with pytest.raises(UsageError, match="not tested on the same utterances") as error:
        compare([runs["both"], other])
    assert len(error.value.details) == 2
    (other / "predictions.parquet").write_bytes(b"x")
    with pytest.raises(UsageError, match="cannot be read"):
        compare([runs["both"], other])


def test_damaged_predictions_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(runs["text"], copy)
    path = copy / "predictions.parquet"
    table = parquet.read_table(path)
    test = pc.field("subset") == "test"
    seed1, place = pc.field("seed") == 1, table.schema.get_field_index("predicted")
    damaged = {
        "lacks the columns label, p_joy": table.drop_columns(["label", "p_joy"]),
        "lacks the columns subset": table.drop_columns(["subset"]),
        "seed 1 has 0 labelled test utterances": table.filter(~(test & seed1)),
        "seed 1 has": table.slice(0, table.num_rows - 3),
        "predicted 'surprise' is no class": table.set_column(
            place, "predicted", pa.array(["surprise"] * table.num_rows)
        ),
        "column p_joy holds no numbers": table.set_column(
            table.schema.get_field_index("p_joy"), "p_joy", table.column("id")
        ),
    }
    for expected, broken in damaged.items():
        parquet.write_table(broken, path)
        with pytest.raises(UsageError) as error:
            compare([runs["both"], copy])
        assert expected in str(error.value)


def test_runs_with_the_same_name_are_named_by_their_paths(runs: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "text"
    shutil.copytree(runs["text"], copy)
    row = compare([runs["text"], copy])[0]
    assert (row["a"], row["b"]) == (str(runs["text"]), str(copy)) and row["difference"] == 0
