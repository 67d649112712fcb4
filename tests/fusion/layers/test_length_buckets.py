"""Length buckets, and LSTMs over padded and packed sequences."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fusion.data.batches import Batch
from fusion.layers import length_buckets as module
from fusion.layers import masked
from fusion.layers.length_buckets import MIN_BUCKET, MIN_RATIO, buckets_of, map_by_bucket
from fusion.layers.masked import run_lstm
from fusion.models.amuse.peripheral import lstm
from tests.fusion.models.test_amuse import batch_of as amuse_batch
from tests.fusion.models.test_amuse import model_of as amuse_model
from tests.fusion.models.test_amuse import subset_of
from tests.support.cues_batches import batch_of as cues_batch
from tests.support.cues_batches import model_of, utterance

lengths_of = st.lists(st.integers(0, 200), max_size=300).map(
    lambda found: torch.tensor(found, dtype=torch.int64)
)


@given(lengths_of)
def test_every_utterance_is_in_one_bucket_and_buckets_are_large_or_of_similar_lengths(
    lengths: Tensor,
) -> None:
    groups = buckets_of(lengths)
    assert sorted(torch.cat(groups).tolist()) == list(range(len(lengths)))
    for group, behind in zip(groups, [*groups[1:], None], strict=True):
        if behind is None:
            continue
        assert len(group) >= MIN_BUCKET
        assert int(lengths[group].min()) >= int(lengths[behind].max())
        assert int(lengths[behind].max()) < MIN_RATIO * int(lengths[group].max())
        assert all(int(n) >= MIN_RATIO * int(lengths[group].max()) for n in lengths[group[MIN_BUCKET:]])


@given(lengths_of)
def test_results_come_in_the_order_of_the_utterances(lengths: Tensor) -> None:
    calls: list[int] = []

    def run(ranks: Tensor) -> list[Tensor]:
        calls.append(len(ranks))
        return [ranks * 2, lengths[ranks].unsqueeze(1).expand(-1, 3)]

    double, wide = map_by_bucket(lengths, run)
    assert double.tolist() == [2 * rank for rank in range(len(lengths))]
    assert torch.equal(wide, lengths.unsqueeze(1).expand(-1, 3))
    assert sum(calls) == len(lengths) and len(calls) == len(buckets_of(lengths))


def test_short_utterances_are_not_padded_to_the_longest() -> None:
    lengths = torch.tensor([100] + [10] * 200 + [9] * 100)
    padded = sum(len(group) * int(lengths[group].max()) for group in buckets_of(lengths))
    assert padded < 0.25 * len(lengths) * 100


def test_no_utterances_make_one_empty_bucket() -> None:
    assert [group.tolist() for group in buckets_of(torch.zeros(0, dtype=torch.int64))] == [[]]


def cues() -> tuple[nn.Module, Batch]:
    dialogues = [
        [utterance(10 * d + n, (1, 2, 1)[: n % 3 + 1], 3 + 7 * n) for n in range(4)] for d in range(3)
    ]
    return model_of(), cues_batch(dialogues)


def amuse() -> tuple[nn.Module, Batch]:
    lacking = {"audio": [0, 5, 7], "text": [1, 5], "visual": [5, 6]}
    return amuse_model(joint=True), amuse_batch(subset_of((5, 2, 1, 3), lacking=lacking))


@pytest.mark.parametrize("made", [cues, amuse])
def test_buckets_change_no_logits_and_no_gradients(
    monkeypatch: pytest.MonkeyPatch, made: Callable[[], tuple[nn.Module, Batch]]
) -> None:
    found, groups = [], []

    def counted(lengths: Tensor) -> list[Tensor]:
        groups.append(len(buckets_of(lengths)))
        return buckets_of(lengths)

    monkeypatch.setattr(module, "buckets_of", counted)
    for least in (1, 1000):
        monkeypatch.setattr(module, "MIN_BUCKET", least)
        model, batch = made()
        logits = model(batch)
        logits.square().sum().backward()
        assert all(
            p.grad is not None
            for name, p in model.named_parameters()
            if not name.startswith("descriptors.towers.Q")
        )
        found.append([logits, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert groups[0] > groups[1] == 1
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("both_ways", [False, True])
def test_an_unpacked_lstm_equals_a_packed_one(both_ways: bool) -> None:
    torch.manual_seed(0)
    network = lstm(5, 4, both_ways)
    x, lengths = torch.randn(6, 7, 5), torch.tensor([7, 1, 3, 0, 2, 5])
    found = []
    for run in (run_lstm, masked._packed):
        network.zero_grad()
        states = run(network, x, lengths)
        states.square().sum().backward()
        found.append([states, *(p.grad.clone() for p in network.parameters() if p.grad is not None)])
        nothing = run(network, x, torch.zeros(6, dtype=torch.int64))
        assert nothing.shape == states.shape and not nothing.any() and not states[3].any()
    assert len(found[0]) == (9 if both_ways else 5)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*found, strict=True))
    x[1, 1:] = torch.nan  # padding takes no part, whatever it holds
    assert torch.equal(run_lstm(network, x, lengths), found[0][0])
