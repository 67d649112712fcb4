"""What every model of the registry promises."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from ercache.errors import UsageError
from ercache.training.losses import IGNORED, masked_cross_entropy
from fusion.data.batches import Batch
from fusion.data.ragged import Steps
from fusion.models import MODELS, configs
from fusion.models.base import parameters

WIDTHS = {"text": 10, "audio": 6, "visual": 7}
LENGTHS = (3, 7, 1, 5)
every_model = pytest.mark.parametrize("key", list(MODELS))
BLIND = ("majority", "copy_last")  # whatever the features say
every_model_that_looks = pytest.mark.parametrize("key", [key for key in MODELS if key not in BLIND])


ROLES = {role: m for entry in MODELS.values() for m, roles in entry.roles.items() for role in roles}


def widths_of(key: str, *only: str) -> dict[str, int]:
    """Widths of the vectors, or of the first role of every modality; other roles have their own tests."""
    entry = MODELS[key]
    return {entry.roles.get(m, (m,))[0]: WIDTHS[m] for m in only or entry.modalities}


class Recognising(nn.Module):
    """A model that predicts every utterance and does not get their labels."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> torch.Tensor:
        logits: torch.Tensor = self.model(replace(batch, prior_labels=None))
        return logits


def build(key: str, classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    entry = MODELS[key]
    model = entry.build(widths_of(key), classes, entry.resolve("small", {}))
    return model if key == "copy_last" else Recognising(model)


def batch_of(lengths: tuple[int, ...], longest: int, seed: int = 0) -> Batch:
    """Dialogues of these lengths; features depend on the number of the dialogue, padding is random."""
    rank = torch.arange(longest)
    mask = rank < torch.tensor(lengths)[:, None]
    features = {m: torch.full((len(lengths), longest, w), 1e3) for m, w in WIDTHS.items()}
    labels = torch.full(mask.shape, IGNORED)
    for d, length in enumerate(lengths):
        rng = torch.Generator().manual_seed(seed + length)
        for m, w in WIDTHS.items():
            features[m][d, :length] = torch.randn(length, w, generator=rng)
        labels[d, :length] = torch.randint(4, (length,), generator=rng)
    present = {m: mask.clone() for m in WIDTHS}
    heard = labels.roll(1, 1).where(mask & (rank > 1), IGNORED)
    return with_steps(Batch(features, present, mask, (rank % 3).where(mask, 0), labels, heard))


def with_steps(batch: Batch) -> Batch:
    """The same batch with 14 to 20 steps of every role, made from the vectors."""
    steps = {}
    for role, m in ROLES.items():
        if m in batch.features:
            at = batch.present[m].flatten().nonzero().flatten()
            own = torch.arange(20) < (14 + 3 * (at % batch.mask.shape[1] % 3))[:, None]
            values = batch.features[m].flatten(0, 1)[at][:, None] * torch.linspace(1, -1, 20)[:, None]
            steps[role] = Steps(values * own.unsqueeze(-1), own, at, m)
    return replace(batch, steps=steps)


def loss_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The loss of the model: its own objective, if it has one, on top of the cross-entropy."""
    objective = getattr(getattr(model, "model", model), "objective", None)
    if objective is None:
        return masked_cross_entropy(model(batch), batch.labels)[0]
    loss: torch.Tensor = objective(replace(batch, prior_labels=None), masked_cross_entropy)[0]
    return loss


@every_model
@torch.no_grad()
def test_logits_do_not_depend_on_padding(key: str) -> None:
    model = build(key).eval()
    alone, padded = model(batch_of((7,), 7)), model(batch_of((7, 3), 12))
    assert (alone[0] - padded[0, :7]).abs().max() < 1e-5


@every_model
@torch.no_grad()
def test_logits_do_not_depend_on_the_order_in_the_batch(key: str) -> None:
    model = build(key).eval()
    forth, back = batch_of(LENGTHS, 7), batch_of(LENGTHS[::-1], 7)
    difference = (model(forth) - model(back).flip(0))[forth.mask]
    assert difference.abs().max() < 1e-5


@every_model
def test_gradients_reach_every_parameter(key: str) -> None:
    model, x = build(key).eval(), batch_of(LENGTHS, 7)
    loss_of(model, x).backward()  # type: ignore[no-untyped-call]
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A constant added to all keys cancels in the softmax (docs/papers/m2fnet.md, section 11, item 14), so key biases
    # have no gradient: they are a third of in_proj_bias, whose other two thirds have one.
    assert dead == []


@every_model_that_looks
def test_a_toy_set_is_learned_by_heart(key: str) -> None:
    model, x = build(key), batch_of(LENGTHS, 7)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for step in range(120):
        optimizer.zero_grad()
        loss_of(model.train(), x).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 9 and knows(model.eval(), x):
            return
    assert knows(model.eval(), x)


def knows(model: nn.Module, x: Batch) -> bool:
    with torch.no_grad():
        predicted = model(x).argmax(-1)[x.mask]
    return torch.equal(predicted, x.labels[x.mask])


@every_model
def test_a_dialogue_may_lack_all_modalities(key: str) -> None:
    model, x = build(key), batch_of(LENGTHS, 7)
    for m in WIDTHS:
        x.present[m][1] = False
        x.features[m][1] = 0
    x.present["audio"][:] = False
    x.features["audio"][:] = 0
    x = with_steps(x)
    loss, _ = masked_cross_entropy(model(x), x.labels)
    loss.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@every_model
@pytest.mark.parametrize("length", [1, 500])
@torch.no_grad()
def test_very_short_and_very_long_dialogues(key: str, length: int) -> None:
    logits = build(key).eval()(batch_of((length,), length))
    assert logits.shape == (1, length, 4) and torch.isfinite(logits).all()


@every_model_that_looks
@torch.no_grad()
def test_absent_features_differ_from_measured_zeros(key: str) -> None:
    model, x = build(key).eval(), batch_of((5,), 5)
    x.features["audio"][0, 2] = 0
    present = model(with_steps(x))
    x.present["audio"][0, 2] = False
    assert not torch.allclose(model(with_steps(x)), present)


@every_model
def test_one_modality_is_enough(key: str) -> None:
    entry, x = MODELS[key], batch_of((3, 2), 3)
    one = entry.modalities[-1]
    model = entry.build(widths_of(key, one), 4, entry.resolve("small", {}))
    only = replace(x, prior_labels=None, features={one: x.features[one]}, present={one: x.present[one]})
    assert model(with_steps(only)).shape == (2, 3, 4)


@every_model
def test_the_registry_describes_itself(key: str) -> None:
    told = MODELS[key].describe()
    assert told["key"] == key and set(told["parameters"]) == set(MODELS[key].presets)
    assert {s["name"] for s in told["switches"]} == set(configs()[key].model_fields)
    assert all(s["description"] for s in told["switches"])


def test_descriptions_have_parameters_and_rows_of_the_paper() -> None:
    told = MODELS["m2fnet"].describe()
    assert told["parameters"]["paper"] == 62_484_203
    rows = {s["name"]: s["paper_row"] for s in told["switches"]}
    assert rows["fusion_m"] == "Table 5, m = 1..6"
    kinds = {s["name"]: s["choices"] for s in told["switches"]}
    assert kinds["fusion_type"] == ["none", "concat", "mha"] and kinds["fusion_residual"] == [True, False]


def test_unknown_names_and_presets_are_refused() -> None:
    assert "m2fnet" in MODELS and "m3" not in MODELS and len(configs()) == len(MODELS)
    with pytest.raises(KeyError):
        MODELS["m3"]
    with pytest.raises(UsageError, match="unknown preset 'smal'") as told:
        MODELS["concat"].resolve("smal", {})
    assert told.value.hint == "did you mean 'small'?"
    assert parameters(build("concat")) == (23 + 3 + 1) * 64 + (64 + 1) * 4


def test_listing_the_models_does_not_load_torch() -> None:
    code = "import sys, fusion.models as m; list(m.MODELS), list(m.configs()); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
