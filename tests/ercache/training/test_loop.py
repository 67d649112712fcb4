"""The loop: chosen on validation, equal bits for equal seeds, and a kill changes nothing."""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ercache.errors import WorkError
from ercache.params.schema import TrainingParams
from ercache.training import loop as training
from ercache.training.determinism import deterministic, set_seeds
from ercache.training.loop import TrainingHistory, fit
from ercache.training.losses import IGNORED, balanced_weights, masked_cross_entropy, penalty
from ercache.training.optimizers import Stepping, optimizer_of
from ercache.training.selection import SCORE

PARAMS = TrainingParams(epochs=8, patience=8, batch=4, lr=0.05, plateau_patience=1)
X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] + 0.5 * X[:, 1] > 0).long()


class Killed(Exception):
    """Stands for a kill."""


def run(
    checkpoint: Path | None = None,
    kill_at: int | None = None,
    seed: int = 0,
    scores: list[float] | None = None,
) -> tuple[TrainingHistory, dict[str, Tensor]]:
    """Train a small network whose step draws from all three random generators."""
    set_seeds(seed)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))

    def batches(order: torch.Generator) -> Iterator[Tensor]:
        yield from torch.randperm(len(X), generator=order).split(PARAMS.batch)

    def loss(rows: Tensor) -> tuple[Tensor, int]:
        noise = random.random() + float(np.random.rand())
        return F.cross_entropy(model(X[rows] * (1 + 0.01 * noise)), Y[rows]), len(rows)

    def evaluate() -> dict[str, float]:
        if scores is not None:
            return {training.SCORE: scores.pop(0)}
        return {training.SCORE: float((model(X).argmax(1) == Y).float().mean())}

    def tick(epoch: training.EpochReport) -> None:
        assert epoch.last == PARAMS.epochs
        if epoch.number == kill_at:
            raise Killed

    with deterministic(1):
        past = fit(
            model,
            PARAMS,
            seed,
            batches=batches,
            loss=loss,
            evaluate=evaluate,
            checkpoint=checkpoint,
            tick=tick,
        )
    return past, model.state_dict()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "kill_at, changes",
    [(2, {}), (5, {}), (8, {}), (5, {"optimizer": "sgd", "momentum": 0.9, "schedule": "cosine"})],
)
def test_a_killed_training_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr("tests.ercache.training.test_loop.PARAMS", PARAMS.model_copy(update=changes))
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "CHECKPOINT_PAUSE", 0)
    past, state = run()
    with pytest.raises(Killed):
        run(tmp_path / "state.pt", kill_at)
    random.seed(99)
    torch.manual_seed(99)
    past_again, state_again = run(tmp_path / "state.pt")
    assert past_again.history == past.history and past_again.best_epoch == past.best_epoch
    assert same(state, state_again)
    finished, _ = run(tmp_path / "state.pt", kill_at=1)  # nothing is left to do, so nothing is killed
    assert finished.history == past.history


def test_seeds_decide_everything() -> None:
    assert same(run(seed=1)[1], run(seed=1)[1])
    assert not same(run(seed=1)[1], run(seed=2)[1])


def test_the_first_best_epoch_on_validation_is_kept_and_patience_ends() -> None:
    past, _ = run(scores=[0.2, 0.6, 0.6, 0.5, 0.1, 0.1, 0.1, 0.1])
    assert past.best_epoch == 2 and past.best_score == 0.6
    impatient = PARAMS.model_copy(update={"patience": 3})
    model = nn.Linear(5, 2)
    scores = [0.5, 0.1, 0.1, 0.1, 0.9]
    past = fit(
        model,
        impatient,
        0,
        batches=lambda _: [X],
        loss=lambda x: (F.cross_entropy(model(x), Y), len(x)),
        evaluate=lambda: {training.SCORE: scores.pop(0)},
    )
    assert [row["epoch"] for row in past.history] == [1, 2, 3, 4] and past.best_epoch == 1
    assert same(dict(past.best), model.state_dict())


def test_the_loss_of_item_19_is_a_mean_over_utterances() -> None:
    probabilities = torch.tensor([[[0.5, 0.5], [0.75, 0.25]], [[0.2, 0.8], [0.5, 0.5]]])
    labels = torch.tensor([[0, 1], [1, IGNORED]])
    loss, count = masked_cross_entropy(probabilities.log(), labels)
    assert float(loss) == pytest.approx(0.767528, abs=1e-6) and count == 3
    padded = F.pad(labels, (0, 4), value=IGNORED), F.pad(probabilities.log(), (0, 0, 0, 4))
    assert float(masked_cross_entropy(padded[1], padded[0])[0]) == pytest.approx(0.767528, abs=1e-6)


def of_probability(p: float, gamma: float) -> float:
    logits = torch.tensor([[[p, 1 - p]]], dtype=torch.float64).log()
    return float(masked_cross_entropy(logits, torch.tensor([[0]]), gamma)[0])


def test_the_focal_loss_of_amuse_item_10() -> None:
    found = [of_probability(p, 1.0) for p in (0.9, 0.5, 0.1)]
    assert found == pytest.approx([0.010536, 0.346574, 2.072327], abs=1e-6)
    found = [of_probability(0.5, gamma) for gamma in (0.5, 0.75, 1.25)]
    assert found == pytest.approx([0.490129, 0.412148, 0.291432], abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.75, 1.0, 1.25, 2.0])
def test_a_certain_prediction_has_a_loss_and_a_gradient(gamma: float) -> None:
    for certain in (200.0, -200.0):  # of the true class, and of another one
        logits = torch.tensor([[[certain, 0.0]]], requires_grad=True)
        loss, _ = masked_cross_entropy(logits, torch.tensor([[0]]), gamma)
        loss.backward()
        assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()
        assert float(loss.detach()) == pytest.approx(max(0.0, -certain))


def test_without_gamma_the_focal_loss_is_cross_entropy_also_weighted() -> None:
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1, 2, IGNORED, 1], [2, 2, IGNORED, 0, 1]])
    weights = torch.tensor([1.0, 2.0, 0.5])
    plain = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), weights, ignore_index=IGNORED)
    for gamma in (0.0, 1e-9):
        found, count = masked_cross_entropy(logits, labels, gamma, weights)
        assert float(found) == pytest.approx(float(plain), abs=1e-6) and count == 8


def test_balanced_weights_give_every_class_the_same_sum() -> None:
    labels = torch.tensor([0, 0, 0, 1, IGNORED, 1, 0])
    assert balanced_weights(labels, 3).tolist() == pytest.approx([6 / 12, 6 / 6, 1.0])


def step(**options: object) -> list[float]:
    """A weight of 2 after one step with gradient 0 from the data."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    fit(
        model,
        TrainingParams.model_validate({"epochs": 1, "lr": 0.1, "weight_decay": 0.5, **options}),
        0,
        batches=lambda _: [X],
        loss=lambda x: (0 * model.weight.sum(), len(x)),
        evaluate=lambda: {training.SCORE: 0.0},
    )
    return [round(value, 6) for value in model.weight.flatten().tolist()]


def test_decay_acts_as_it_is_asked_to() -> None:
    assert step() == [1.9]  # AdamW: w - lr * decay * w
    assert step(optimizer="adam") == [1.9]  # Adam: one normalised step, w - lr
    assert step(optimizer="adam", weight_decay=0.0) == [2.0]
    assert step(l2="squared") == step(l2="norm") == [1.9]  # of the loss' gradient, normalised by AdamW
    assert step(l2="squared", weight_decay=0.0) == [2.0]


@pytest.mark.parametrize(("l2", "expected"), [("squared", 0.001575), ("norm", 0.000687386)])
def test_penalties_of_the_hand_example(l2: str, expected: float) -> None:
    theta = nn.Linear(3, 1, bias=False)
    theta.weight.data = torch.tensor([[1.0, -2.0, 0.5]])
    added = penalty(theta, TrainingParams.model_validate({"l2": l2, "weight_decay": 3e-4}))
    assert added is not None and float(added) == pytest.approx(expected, rel=1e-5)
    assert penalty(theta, TrainingParams()) is None


def test_the_rate_falls_on_a_plateau_and_stays_where_it_is_constant() -> None:
    def last(**options: object) -> float:
        model = nn.Linear(1, 1, bias=False)
        nn.init.constant_(model.weight, 0.0)
        past = fit(
            model,
            TrainingParams.model_validate(
                {"epochs": 6, "lr": 1.0, "weight_decay": 0, "plateau_patience": 0, "clip": None, **options}
            ),
            0,
            batches=lambda _: [X],
            loss=lambda x: (model.weight.sum(), len(x)),
            evaluate=lambda: {training.SCORE: float(model.weight.item() < -5.5)},
        )
        return float(past.last["weight"])

    assert last(schedule="constant") == pytest.approx(-6.0, abs=1e-4)
    assert last() > -3.0
    sgd = {"optimizer": "sgd", "lr": 1.0}  # the gradient is the 1 of the sum
    assert last(**sgd, schedule="steps", milestones=[2, 3]) == pytest.approx(-(1 + 1 + 0.1 + 3 * 0.01))
    cosine = sum((1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in range(6))
    assert last(**sgd, schedule="cosine") == pytest.approx(-cosine)
    rise, fall = [0.25, 0.75], [(1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert last(**sgd, schedule="cosine", warmup=1 / 3) == pytest.approx(-sum(rise + fall))
    # momentum: b_1 = 1, b_n = 0.5 b_(n-1) + (1 - 0.5) 1
    assert last(**sgd, schedule="constant", momentum=0.5, dampening=0.5) == pytest.approx(-6.0)
    assert last(**sgd, schedule="constant", momentum=0.5) == pytest.approx(
        -sum(2 - 0.5**n for n in range(6)), rel=1e-5
    )


def test_a_part_that_a_model_names_learns_slower() -> None:
    model = nn.ModuleDict({"old": nn.Linear(1, 1, bias=False), "new": nn.Linear(1, 1, bias=False)})
    params = TrainingParams(optimizer="sgd", lr=1.0, weight_decay=0)
    optimizer = optimizer_of(model, params, {"old.": 0.1})
    before = {name: float(part.weight) for name, part in model.items()}
    (model["old"].weight + model["new"].weight).sum().backward()
    optimizer.step()
    moved = {name: before[name] - float(part.weight) for name, part in model.items()}
    assert moved == pytest.approx({"old": 0.1, "new": 1.0})


def test_switches_of_newer_trainings_leave_the_records_of_older_ones_alone() -> None:
    plain = TrainingParams().model_dump(mode="json")
    assert not {"momentum", "dampening", "milestones", "modality_dropout"} & set(plain)
    released = TrainingParams(
        optimizer="sgd", momentum=0.9, dampening=0.9, schedule="steps", milestones=(40, 55)
    )
    assert TrainingParams(**released.model_dump(mode="json")) == released


def test_a_loss_that_is_no_number_stops_the_training_with_a_hint() -> None:
    model = nn.Linear(5, 2)
    with pytest.raises(WorkError, match="training loss is nan"):
        fit(
            model,
            PARAMS,
            0,
            batches=lambda _: [X],
            loss=lambda x: (model(x).sum() * float("nan"), len(x)),
            evaluate=lambda: {training.SCORE: 0.0},
        )


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"no state")
    with pytest.raises(WorkError, match="is damaged"):
        run(tmp_path / "state.pt")


def test_settings_of_torch_come_back() -> None:
    def settings() -> tuple[int, bool, bool]:
        debugging: Any = torch.utils.deterministic
        fills = bool(debugging.fill_uninitialized_memory)
        return torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), fills

    before = settings()
    with pytest.raises(RuntimeError, match="inside"), deterministic(1):
        assert settings() == (1, True, False)
        raise RuntimeError("inside")
    assert settings() == before and before[2]


def test_the_last_step_of_an_epoch_is_the_mean_of_its_own_batches() -> None:
    model = nn.Linear(1, 1, bias=False)
    before = float(model.weight.detach())
    stepping = Stepping(lambda model: torch.optim.SGD(model.parameters(), lr=1.0), accumulate=2)
    fit(
        model,
        TrainingParams(epochs=1, clip=None, weight_decay=0),
        0,
        batches=lambda _: [1.0, 3.0, 5.0],
        loss=lambda factor: (factor * model.weight.sum(), 1),
        evaluate=lambda: {SCORE: 0.5},
        stepping=stepping,
    )
    assert float(model.weight.detach()) == pytest.approx(before - (1 + 3) / 2 - 5)
