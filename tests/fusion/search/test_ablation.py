"""Ablation of open choices: each value alone, on validation, logged, and nothing trained twice."""

from pathlib import Path
from typing import Any

import pytest

from ercache.errors import UsageError
from fusion.search import sweep as sweeps
from fusion.search.ablation import ablate_open_choices
from fusion.search.sweep import apply_values
from tests.support.toy_corpus import toy_params, write_toy

SPACE = {"config.dropout": [0.0, 0.5], "training.lr": [0.01, 0.001]}
PARAMS = toy_params(config={"dropout": 0.0}, training={"epochs": 2, "batch": 4, "seeds": 2, "lr": 0.01})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_toy(tmp_path)
    for path in (tmp_path / "caches").rglob("*.test.h5"):
        path.unlink()  # test is never read
    return tmp_path


def test_each_value_of_a_switch_is_tried_alone_and_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[Any] = []
    train_seed = sweeps.train_seed
    monkeypatch.setattr(sweeps, "train_seed", lambda *a: trained.append(a[0].entry) or train_seed(*a))
    found = ablate_open_choices("exp", PARAMS, SPACE, data)
    # what the experiment has itself (dropout 0, lr 0.01) is its first row, and no reading of its own
    assert [t.config for t in found] == [{}, {"config.dropout": 0.5}, {"training.lr": 0.001}]
    assert trained == [apply_values(PARAMS.experiments["exp"], t.config) for t in found for _ in range(2)]
    assert ablate_open_choices("exp", PARAMS, SPACE, data) == found and len(trained) == 6


def test_an_unknown_switch_is_refused(data: Path) -> None:
    with pytest.raises(UsageError, match="search space"):
        ablate_open_choices("exp", PARAMS, {"config.droput": [0.1]}, data)
