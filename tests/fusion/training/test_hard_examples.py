"""Utterances of a pool that flip join the next epoch; no others of the pool are trained on."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ercache.training.losses import IGNORED
from fusion.data.batches import Batch, Subset
from fusion.data.ragged import Ragged
from fusion.data.windows import WHOLE_DIALOGUES
from fusion.training import hard_examples
from fusion.training.hard_examples import HardExampleBatches, Pool, draw_pool, join_subsets


class Flipping:
    """A model whose predictions flip for utterances with an even number, and that checks that it is in eval mode."""

    training = True

    def flips(self, batch: Batch) -> Tensor:
        assert not self.training
        return batch.features["text"][..., 0] % 2 == 0

    def train(self, mode: bool = True) -> None:
        self.training = mode


def subset(dialogues: int, first: int = 0, length: int = 4) -> Subset:
    """Dialogues whose utterances have their number as the only feature; the third of each has no label."""
    n = dialogues * length
    numbers = torch.arange(first, first + n, dtype=torch.float32)[:, None]
    labels = torch.zeros(n, dtype=torch.int64)
    labels[2::length] = IGNORED
    everyone = torch.ones(n, dtype=torch.bool)
    one = torch.ones(n, dtype=torch.int64)
    steps = {"words": Ragged("text", numbers, one.cumsum(0) - 1, one, torch.zeros(1), torch.ones(1))}
    offsets = torch.arange(0, n + 1, length)
    return Subset(
        "train", (), everyone, offsets, {"text": numbers}, {"text": everyone}, one, labels, labels, steps
    )


def epoch(mined: HardExampleBatches, seed: int = 0) -> tuple[set[int], set[int]]:
    """Numbers of the utterances in an epoch, and of those with a label."""
    seen, asked = set(), set()
    for batch in mined.shuffled(3, torch.Generator().manual_seed(seed)):
        numbers = batch.features["text"][..., 0].long()
        assert torch.equal(batch.steps["words"].values.flatten(), batch.features["text"][batch.mask][:, 0])
        seen |= set(numbers[batch.mask].tolist())
        asked |= set(numbers[batch.labels != IGNORED].tolist())
    return seen, asked


def mined(behind: int, share: float | None = 0.25) -> HardExampleBatches:
    order = torch.Generator().manual_seed(0)
    model = Flipping()
    made = HardExampleBatches(
        model, model.flips, Pool(share), subset(8), subset(2, 100), WHOLE_DIALOGUES, order
    )
    made.on_epoch_start(behind)
    return made


def test_a_share_of_train_is_left_out_until_something_in_it_flips() -> None:
    train = subset(8)
    held = set(draw_pool(train, 0.25, torch.Generator().manual_seed(0)).nonzero().flatten().tolist())
    labelled = set((train.labels != IGNORED).nonzero().flatten().tolist())
    assert len(held) == 8 and len({n // 4 for n in held}) == 2
    assert epoch(mined(0)) == (set(range(32)) - held, labelled - held)
    told = {n for n in held if n % 4 == 0}  # the other even one has no label
    assert epoch(mined(1)) == (set(range(32)), labelled - held | told)


def test_validation_joins_only_if_it_is_the_pool() -> None:
    labelled = {n for n in range(32) if n % 4 != 2}
    assert epoch(mined(0, None)) == (set(range(32)), labelled)
    seen, asked = epoch(mined(1, None))
    assert asked == labelled | {100, 104} and seen == set(range(32)) | set(range(100, 108))


def test_the_flipped_utterances_of_an_epoch_are_random_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard_examples, "MAX_FLIPPED", 1)
    drawn = [epoch(mined(1), seed)[1] for seed in (0, 0, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1] and len({len(asked) for asked in drawn}) == 1
    assert len({frozenset(asked) for asked in drawn}) == 2


def test_a_pool_of_less_than_a_dialogue_is_empty() -> None:
    assert epoch(mined(1, 0.1))[0] == set(range(32))


def test_joined_subsets_are_their_dialogues_one_after_the_other() -> None:
    both = join_subsets(subset(2), replace(subset(1, 100, 3), name="dev"))
    assert both.lengths.tolist() == [4, 4, 3] and both.name == "train"
    steps = both.sequences["words"]
    assert steps.values[steps.starts, 0].tolist() == [*range(8), 100, 101, 102] and steps.std is not None
