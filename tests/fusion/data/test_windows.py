"""Context windows: the targets of each task, and that nothing of a predicted target or after it is seen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ercache.errors import UsageError
from ercache.params.schema import Params
from ercache.training.determinism import set_seeds
from ercache.training.losses import IGNORED
from fusion.data.batches import PaddedBatches, Subset
from fusion.data.windows import ContextWindow, spans_of
from fusion.evaluation.evaluate import evaluate
from fusion.experiment.resolve import experiment_of
from fusion.experiment.source import read_source
from fusion.models import MODELS
from fusion.runs.predict import logits_of
from fusion.training.run import train_experiment
from tests.support.toy_corpus import FEATURES, toy_manifest, toy_params, toy_vectors, write_feature, write_toy

OFFSETS = torch.tensor([0, 3, 4])
views = st.builds(ContextWindow, st.integers(0, 1), st.none() | st.integers(1, 4)).filter(
    lambda window: not window.whole
)


def spans(window: ContextWindow) -> list[tuple[int, int, int]]:
    found = spans_of(window, OFFSETS)
    assert found.targets is not None
    return list(zip(found.starts.tolist(), found.ends.tolist(), found.targets.tolist(), strict=True))


def test_the_target_of_a_prediction_is_the_utterance_after_its_span() -> None:
    assert spans(ContextWindow(ahead=1)) == [(0, 1, 1), (0, 2, 2)]
    assert spans(ContextWindow(ahead=1, history=1)) == [(0, 1, 1), (1, 2, 2)]
    assert spans(ContextWindow(history=2)) == [(0, 1, 0), (0, 2, 1), (1, 3, 2), (3, 4, 3)]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), views)
def test_no_span_leaves_its_dialogue_or_reaches_beyond_its_target(
    lengths: list[int], window: ContextWindow
) -> None:
    offsets = torch.tensor([0, *np.cumsum(lengths)])
    found = spans_of(window, offsets)
    assert found.targets is not None
    dialogue = torch.repeat_interleave(offsets.diff())
    assert torch.equal(dialogue[found.starts], dialogue[found.targets])
    assert torch.equal(found.ends - 1 + window.ahead, found.targets)
    assert (found.lengths >= 1).all() and (found.lengths <= (window.history or 99)).all()
    assert len(found.targets) == sum(n - window.ahead for n in lengths)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder)
    return folder


def params(model: str = "concat", **entry: Any) -> Params:
    return toy_params(model=model, task="epc", **entry)


def test_targets_of_prediction_are_the_labels_of_the_next_utterances(data: Path) -> None:
    source = read_source(data, params().experiments["exp"])
    train = source.subset("train")
    first = train.offsets[:-1]
    assert not train.in_subset[first].any() and (train.labels[first] == IGNORED).all()
    for rows, has_target, batch in PaddedBatches(train, source.window).by_length():
        assert torch.equal(has_target.sum(1), torch.ones(len(has_target), dtype=torch.long))
        assert torch.equal(batch.labels[has_target], train.labels[rows[has_target]])
        assert (batch.labels[~has_target] == IGNORED).all()


def disturbed(subset: Subset, row: int) -> Subset:
    """A copy in which one utterance and all later ones differ: features, presence, speaker, label."""
    features = {m: values.clone() for m, values in subset.features.items()}
    present = {m: has.clone() for m, has in subset.present.items()}
    speakers, labels = subset.speakers.clone(), subset.labels.clone()
    for m in features:
        features[m][row:] = 1e3
        present[m][row:] = ~present[m][row:]
    speakers[row:] += 5
    labels[row:] = (labels[row:].clamp(min=0) + 1) % 3
    known = torch.cat([subset.all_labels[:row], (subset.all_labels[row:].clamp(min=0) + 1) % 3])
    return replace(
        subset, features=features, present=present, speakers=speakers, labels=labels, all_labels=known
    )


@pytest.mark.parametrize(
    "model", [key for key, entry in MODELS.items() if "epc" in entry.tasks and not entry.roles]
)
@pytest.mark.parametrize("history", [None, 2])
def test_a_changed_target_and_future_change_no_prediction(
    data: Path, model: str, history: int | None
) -> None:
    modalities = {m: names for m, names in FEATURES.items() if m in MODELS[model].modalities}
    experiment = experiment_of("exp", params(model, history=history, features=modalities))
    source = read_source(data, experiment.entry)
    dev = source.subset("dev")
    set_seeds(0)
    network = experiment.model.build(dev.widths, 3, experiment.config)
    whole = logits_of(network, PaddedBatches(dev, source.window))
    for row in (1, 5, len(dev.utterances) - 1):
        after = logits_of(network, PaddedBatches(disturbed(dev, row), source.window))
        assert torch.equal(whole[: row + 1].nan_to_num(9), after[: row + 1].nan_to_num(9))


def test_a_feature_that_looks_ahead_is_refused_for_prediction_alone(tmp_path: Path) -> None:
    manifest = write_toy(tmp_path)
    context = {"past": 1, "future": 1, "speaker": True}
    records = {"context": context}
    write_feature(tmp_path, manifest, "words", toy_vectors(manifest, "words"), **records)
    with pytest.raises(UsageError) as told:
        read_source(tmp_path, params().experiments["exp"])
    assert "words sees 1 later utterances" in told.value.details[0]
    read_source(tmp_path, toy_params().experiments["exp"])


def test_a_prediction_run_is_trained_written_and_scored_again(tmp_path: Path) -> None:
    write_toy(tmp_path)
    run = train_experiment("exp", params("bc_lstm", history=3), tmp_path, work=tmp_path / "work")
    assert run["task"] == "epc"
    targets = sum(u.index > 0 and u.part == "test" and u.labels["emotion7"] is not None
                  for u in toy_manifest().utterances)  # fmt: skip
    again = evaluate(tmp_path / "models" / "exp", tmp_path)
    assert again["test"] == run["test"]
    assert sum(map(sum, again["confusion"])) == 2 * targets
