"""Experiments of params.yaml are checked together, before one of them is trained."""

import pytest

from ercache.errors import ParamsError
from fusion.experiment.resolve import check_experiments
from tests.support.toy_corpus import toy_params


def test_everything_wrong_with_any_experiment_is_told_at_once() -> None:
    params = toy_params()
    (name,) = params.experiments
    good = params.experiments[name]
    check_experiments(params)
    wrong = {
        "metric": {"training": {"select": "weighted_f2"}},
        "recipe": {"training": {"recipe": "papier"}, "model": "m2fnet"},
        "modality": {"features": {"text": []}},
    }
    entries = {
        key: type(good).model_validate({**good.model_dump(exclude_unset=True), **changes})
        for key, changes in wrong.items()
    }
    with pytest.raises(ParamsError) as caught:
        check_experiments(params.model_copy(update={"experiments": {name: good, **entries}}))
    assert caught.value.message == "params.yaml: 3 experiments cannot be used" and caught.value.exit_code == 2
    metric, recipe, modality = caught.value.details
    assert "experiment 'metric'" in metric and "did you mean 'weighted_f1'?" in metric
    assert (
        "experiment 'recipe': model m2fnet: unknown training recipe 'papier'; did you mean 'paper'?" in recipe
    )
    assert "experiment 'modality'" in modality and "modality 'text' names no feature" in modality
