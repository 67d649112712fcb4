"""A sweep searches on validation only, logs every trial, and can be resumed."""

import csv
from pathlib import Path
from typing import Any

import pytest

from ercache.errors import UsageError, WorkError
from fusion.search import sweep as module
from fusion.search.sweep import apply_values, sweep
from fusion.training.run import train_experiment
from tests.support.toy_corpus import toy_params, write_toy

SPACE = {"config.dropout": [0.0, 0.5], "training.lr": [0.01, 0.001, 0.0001]}
PARAMS = toy_params(training={"epochs": 3, "batch": 4})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_toy(tmp_path)
    return tmp_path


def rows(data: Path) -> list[dict[str, str]]:
    with (data / "reports/sweeps/exp.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_every_trial_is_logged_and_the_best_is_returned(data: Path) -> None:
    answer = sweep("exp", PARAMS, SPACE, 4, data, seeds=2)
    logged = rows(data)
    assert [r["number"] for r in logged] == ["0", "1", "2", "3"] and answer["trials"] == 4
    best = max(logged, key=lambda r: float(r["score"]))
    assert answer["best"]["validation_weighted_f1"] == float(best["score"])
    assert set(answer["best"]["config"]) == set(SPACE)


def test_a_resumed_sweep_makes_the_same_choices_and_repeats_no_trial(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep("exp", PARAMS, SPACE, 5, data)
    whole = rows(data)
    (data / "reports/sweeps/exp.csv").unlink()
    sweep("exp", PARAMS, SPACE, 2, data)
    trained: list[Any] = []
    train_seed = module.train_seed
    monkeypatch.setattr(module, "train_seed", lambda *a: trained.append(a) or train_seed(*a))
    sweep("exp", PARAMS, SPACE, 5, data)
    assert rows(data) == whole
    assert len(trained) == 3


def test_no_configuration_is_tried_twice_and_a_small_space_ends(data: Path) -> None:
    answer = sweep("exp", PARAMS, {"config.hidden": [4, 8, 8], "config.dropout": [0.1, 0.2]}, 9, data)
    assert answer["trials"] == 4 and len({r["config"] for r in rows(data)}) == 4


def test_test_is_never_read(data: Path) -> None:
    for path in (data / "caches").rglob("*.test.h5"):
        path.unlink()
    assert sweep("exp", PARAMS, SPACE, 1, data)["trials"] == 1


def test_another_search_counts_its_own_trials(data: Path) -> None:
    sweep("exp", PARAMS, SPACE, 2, data)
    sweep("exp", PARAMS, {"config.hidden": [4, 8]}, 1, data)
    assert [r["number"] for r in rows(data)] == ["0", "1", "0"]


def test_a_failing_trial_is_logged_and_the_search_goes_on(data: Path) -> None:
    space: dict[str, list[Any]] = {"config.heads": [1, 7], "training.lr": [0.01, 1e30]}
    params = toy_params(
        model="m2fnet", config={"project": 8, "ffn": 8}, training={"epochs": 3, "batch": 4, "clip": 1e30}
    )
    answer = sweep("exp", params, space, 4, data)
    failed = {r["config"]: r["reason"] for r in rows(data) if r["reason"]}
    assert len(rows(data)) == 4 and len(failed) == 3
    assert all(float(r["score"]) == 0 for r in rows(data) if r["reason"])
    assert any("training loss is" in reason for reason in failed.values())
    assert any("heads" in reason for reason in failed.values())
    assert answer["best"]["config"] == {"config.heads": 1, "training.lr": 0.01}
    assert sweep("exp", params, space, 4, data) == answer


def test_when_every_trial_fails_the_search_says_why(data: Path) -> None:
    params = toy_params(model="m2fnet", config={"project": 8})
    with pytest.raises(WorkError, match="every trial failed") as error:
        sweep("exp", params, {"config.heads": [3, 7]}, 2, data)
    assert len(error.value.details) == 2 and len(rows(data)) == 2


@pytest.mark.parametrize("torn", ["2", '2,abc,"{""conf', "2,abc,{},0.5,0.0,gr\u00f6"])
def test_an_incomplete_line_of_the_log_is_dropped(data: Path, torn: str) -> None:
    sweep("exp", PARAMS, SPACE, 3, data)
    whole = rows(data)
    log = data / "reports/sweeps/exp.csv"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:3]) + torn.encode()[: len(torn)])
    sweep("exp", PARAMS, SPACE, 3, data)
    assert rows(data) == whole and log.read_bytes() == b"".join(lines)


def test_an_older_log_gets_the_column_that_it_lacks(data: Path) -> None:
    sweep("exp", PARAMS, SPACE, 3, data)
    log = data / "reports/sweeps/exp.csv"
    content = log.read_text()
    assert content.splitlines()[0] == "number,search,config,score,std,reason,metric"
    older = content.replace(",score,std,reason,metric", ",validation_weighted_f1,std")
    old = [line.removesuffix(",,") for line in older.splitlines()]
    log.write_text("\n".join(old[:3]) + "\n")
    sweep("exp", PARAMS, SPACE, 3, data)
    assert log.read_text() == content


def test_a_sweep_searches_by_the_metric_that_selects_the_epoch(data: Path) -> None:
    chosen = toy_params(training={"epochs": 3, "batch": 4, "select": "uar"})
    answer = sweep("exp", chosen, SPACE, 3, data)
    logged = rows(data)
    assert answer["metric"] == "uar" and {r["metric"] for r in logged} == {"uar"}
    assert answer["best"]["validation_uar"] == max(float(r["score"]) for r in logged)
    best = apply_values(chosen.experiments["exp"], answer["best"]["config"])
    one = best.model_copy(update={"training": {**best.training, "seeds": 1}})
    trained = train_experiment(
        "exp", chosen.model_copy(update={"experiments": {"exp": one}}), data, work=data
    )
    assert trained["validation"]["uar"]["mean"] == pytest.approx(answer["best"]["validation_uar"])
    sweep("exp", PARAMS, SPACE, 2, data)
    assert [r["metric"] for r in rows(data)] == ["uar", "uar", "uar", "", ""]
    with pytest.raises(UsageError, match="unknown switches"):
        sweep("exp", PARAMS, {"training.select": ["uar", "accuracy"]}, 1, data)


def test_wrong_spaces_are_refused_with_all_problems(data: Path) -> None:
    space = {"config.droput": [0.1], "training.lr": [-1], "training.seeds": [1], "config.hidden": []}
    with pytest.raises(UsageError) as error:
        sweep("exp", PARAMS, space, 1, data)
    text = str(error.value)
    assert "config.droput: no switch of concat; did you mean 'config.dropout'?" in text
    assert (
        "training.lr" in text and "training.seeds: no switch" in text and "config.hidden: no values" in text
    )
    assert error.value.hint == "correct it in params.yaml, under `sweeps`"
    with pytest.raises(UsageError, match="the space is empty"):
        sweep("exp", PARAMS, {}, 1, data)
