"""AMuSE compared with its page (docs/papers/amuse.md): examples by hand, sizes, a literal reference, invariances.

Items of its list that speak of media and corpora (17 to 19, 21) are tested with encoders and corpora; explanations (25)
are not here yet.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ercache.errors import UsageError
from ercache.manifest import read_manifest, write_manifest
from ercache.params.schema import Params, TrainingParams
from ercache.training.losses import masked_cross_entropy
from fusion.data.batches import Batch, PaddedBatches, Subset
from fusion.data.ragged import Ragged, Steps
from fusion.data.stages import Pool, Stage
from fusion.data.windows import WHOLE_DIALOGUES, ContextWindow
from fusion.evaluation.evaluate import evaluate
from fusion.experiment.resolve import experiment_of
from fusion.layers.label_losses import printed_focal
from fusion.layers.masked import length_mask, run_lstm
from fusion.models import MODELS
from fusion.models.amuse import model as amuse
from fusion.models.amuse.config import AmuseConfig, marks_of
from fusion.models.amuse.contrast import contrastive_loss, draw_negatives, nce
from fusion.models.amuse.mixing import closed_form, mix, mix_modalities
from fusion.models.amuse.model import Amuse
from fusion.models.amuse.peripheral import Injection, SelfAttention, Stream
from fusion.models.base import parameters
from fusion.papers import read_paper
from fusion.training import seed as seeds
from fusion.training.run import train_experiment
from fusion.training.seed import Datasets, TrainedSeed
from tests.support.toy_corpus import toy_manifest, toy_params, toy_vectors, write_feature

ENTRY = MODELS["amuse"]
STAGE = Stage(TrainingParams(), WHOLE_DIALOGUES)
WIDTHS = {"text": 6, "audio": 5, "face": 7, "back": 4}
MODALITY = {role: m for m, roles in ENTRY.roles.items() for role in roles}
LITTLE: dict[str, Any] = {
    "text_dim": 8, "audio_dim": 6, "visual_dim": 10, "text_lstm": 3, "audio_lstm": 4, "visual_lstm": 5,
    "man_dim": 8, "man_heads": 2, "man_layers": 2, "context_dim": 6, "man_epochs": 2,
}  # fmt: skip


def model_of(roles: tuple[str, ...] = tuple(WIDTHS), seed: int = 0, stage: int = 1, **switches: Any) -> Amuse:
    torch.manual_seed(seed)
    config = AmuseConfig(**{**LITTLE, **switches})
    model = Amuse({r: WIDTHS[r] for r in roles}, 3, config).eval()
    model.stage.fill_(stage)
    return model


def subset_of(
    dialogues: tuple[int, ...] = (5, 2, 1), seed: int = 0, lacking: dict[str, list[int]] | None = None
) -> Subset:
    """Conversations with all roles; `lacking`: modality -> utterances without it."""
    draws = torch.Generator().manual_seed(seed)
    n = sum(dialogues)
    sequences, present = {}, {}
    for role, width in WIDTHS.items():
        gone = (lacking or {}).get(MODALITY[role], [])
        lengths = torch.randint(1, 5, (n,), generator=draws)
        lengths[gone] = 0
        values = torch.randn(int(lengths.sum()), width, generator=draws)
        sequences[role] = Ragged(MODALITY[role], values, lengths.cumsum(0) - lengths, lengths)
        present[MODALITY[role]] = lengths > 0
    labels = torch.randint(3, (n,), generator=draws)
    offsets = torch.tensor([0, *torch.tensor(dialogues).cumsum(0).tolist()])
    inside = torch.ones(n, dtype=torch.bool)
    speakers = torch.tensor([(0, 1, 0, 2, 1)[i % 5] for size in dialogues for i in range(size)])
    return Subset("train", (), inside, offsets, {}, present, speakers, labels, labels, sequences)


def batch_of(subset: Subset, ranks: list[int] | None = None) -> Batch:
    return PaddedBatches(subset).batch(range(len(subset.lengths)) if ranks is None else ranks)


def test_item_1_shapes_of_one_utterance() -> None:
    model = Amuse(ENTRY.widths, 7, AmuseConfig()).eval()
    lengths = {"text": 7, "face": 8, "back": 8, "audio": 7}
    sequences = {
        r: Ragged(MODALITY[r], torch.randn(t, ENTRY.widths[r]), torch.tensor([0]), torch.tensor([t]))
        for r, t in lengths.items()
    }
    subset = replace(subset_of((1,)), sequences=sequences)
    batch = batch_of(subset)
    shapes: dict[str, torch.Size] = {}
    for m, encoder in model.descriptors.encoders.items():
        encoder.register_forward_hook(lambda _, __, out, name=m: shapes.__setitem__(name, out.values.shape))
    with torch.no_grad():
        _, present, f, heads = model.descriptors(batch)
        assert shapes == {"text": (1, 7, 768), "visual": (1, 16, 512), "audio": (1, 7, 768)}
        assert [x.shape for x in f] == [(1, 256)] * 3
        A = model.fused(f, present, heads)
        assert A.shape == (1, 768) and model.W.in_features == 512 and model(batch).shape == (1, 1, 7)


@pytest.mark.parametrize(
    "classes, preset, switches, expected",
    [
        (7, "base", {}, 54_528_380),
        (6, "base", {}, 54_527_096),
        (7, "small", {}, 4_639_948),
        (7, "base", {"score_scale": "none"}, 54_528_380 - 96),
        # A map for each of 4 layers, 4 heads and the two that each modality is injected into.
        (7, "base", {"score_scale": "fixed_linear"}, 54_528_380 - 96 + 32 * (128**2 + 16**2 + 61**2)),
        (7, "base", {"direction": "uni", "context": "dialogue", "fusion": "concat"}, None),
    ],
)
def test_item_2_parameter_counts(
    classes: int, preset: str, switches: dict[str, Any], expected: int | None
) -> None:
    with torch.device("meta"):
        found = parameters(ENTRY.build(ENTRY.widths, classes, ENTRY.resolve(preset, switches)))
    if expected is None:  # one forward LSTM of 256, and half the classifier
        expected = 54_528_380 - 2 * 919_552 - 3_591 + 4 * 256 * (768 + 256 + 2) + 257 * 7
    assert found == expected


def identity(layer: SelfAttention | nn.Linear) -> None:
    linear = layer.linear if isinstance(layer, SelfAttention) else layer
    with torch.no_grad():
        linear.weight.copy_(torch.eye(linear.out_features))
        if linear.bias is not None:
            linear.bias.zero_()


@torch.no_grad()
def test_item_3_self_attention_by_hand() -> None:
    layer = SelfAttention(2, 0.0)
    identity(layer)
    w, mask = torch.tensor([[[1.0, 0], [0, 1], [1, 1]]]), torch.ones(1, 3, dtype=torch.bool)
    once = layer(w, mask)
    wanted = [[0.802224, 0.598888], [0.598888, 0.802224], [0.751745, 0.751745]]
    assert torch.allclose(once, torch.tensor([wanted]), atol=1e-6)
    twice = layer(once, mask).mean(1)
    assert torch.allclose(twice, torch.tensor([[0.718214, 0.718214]]), atol=1e-6)


@torch.no_grad()
def test_item_4_injection_by_hand() -> None:
    q, one = torch.tensor([[[1.0, 2]]]), torch.ones(1, 2, dtype=torch.bool)
    injection = Injection(2, 2, 1, "affine", 0)
    identity(injection.W_K)
    identity(injection.W_V)
    v = injection(q, Stream(torch.eye(2)[None], one))
    a = injection(q, Stream(torch.tensor([[[2.0, 0], [0, 0]]]), one))
    assert torch.allclose(v, torch.tensor([[[0.330238, 0.669762]]]), atol=1e-6)
    assert torch.allclose(a, torch.tensor([[[1.608859, 0]]]), atol=1e-6)
    assert torch.allclose(q + (v + a) / 3, torch.tensor([[[1.646366, 2.223254]]]), atol=1e-6)
    injection.i = 8
    v = injection(q, Stream(torch.eye(2)[None], one))
    assert torch.allclose(v, torch.tensor([[[0.412521, 0.587479]]]), atol=1e-6)


def test_item_5_mixtures_by_hand() -> None:
    f = [torch.tensor([[1.0, 0]]), torch.tensor([[0.0, 1]]), torch.tensor([[1.0, 1]])]  # t, v, a
    pairs = [(i, m) for m in range(3) for i in range(3) if i != m]
    third = 2 / 3
    for value, expected in (
        (0.0, [third, 0, 0, third, third, third]),
        (0.5, [0.5, 1 / 3, 1 / 3, 0.5, 0.5, 0.5]),
        (third, [4 / 9] * 6),
    ):
        found = mix_modalities(f, {pair: torch.tensor(value) for pair in pairs})
        assert torch.allclose(found, torch.tensor([expected]))
    r = (0.2, 0.5, 0.8)
    found = mix_modalities(f, {(i, m): torch.tensor(r[i]) for i, m in pairs})
    assert torch.allclose(found, torch.tensor([[0.5, 0.4 + 0.1 / 3, 1 / 3, 0.6, 0.5, 0.6]]))


U = torch.tensor([[1.0, 0, -1], [0, 1, 1], [0.5, 0.5, 0]])
OWN, OTHER = torch.tensor([[0.5, 0.25, 1]]), torch.tensor([[1.0, -1, 2]])


def test_item_6_coefficients_by_hand() -> None:
    p = (OWN @ U.T).softmax(1)
    assert torch.allclose(p, torch.tensor([[0.109248, 0.628679, 0.262073]]), atol=1e-6)
    alpha = closed_form(OWN, OTHER, U, p, p.argmax(1), 0.2)
    assert torch.allclose(alpha, torch.tensor([[0.273861, 0.109545, 0]]), atol=1e-6)
    assert torch.allclose(mix(OWN, OTHER, alpha), torch.tensor([[0.636931, 0.113069, 1]]), atol=1e-6)
    against = closed_form(OWN, OTHER, U, p, p.argmax(1), 0.2, -1)
    assert torch.allclose(against, torch.tensor([[0, 0, 0.273861]]), atol=1e-6)


def test_item_7_the_rule_is_the_gradient_of_either_loss_and_never_leaves_its_bounds() -> None:
    own = OWN.clone().requires_grad_(True)
    gradients = []
    for gamma in (0.0, 1.0):
        logits = own @ U.T
        loss, _ = masked_cross_entropy(logits[None], torch.tensor([[1]]), gamma)
        gradients.append(torch.autograd.grad(loss, own)[0])
    G = torch.tensor([[0.240284, -0.240284, -0.480569]])
    assert torch.allclose(gradients[0], G, atol=1e-6) and torch.allclose(
        gradients[1], 0.663112 * G, atol=1e-6
    )
    make = torch.Generator().manual_seed(0)
    own, other, weights = (torch.randn(n, 5, generator=make, dtype=torch.float64) for n in (50, 50, 3))
    p = (own @ weights.T).softmax(1)
    alpha = closed_form(own, other, weights, p, p.argmax(1), 0.2)
    assert bool(((alpha >= 0) & (alpha <= 1)).all()) and not alpha.requires_grad
    direction = (p - nn.functional.one_hot(p.argmax(1), 3)) @ weights
    step = 0.2 * (other - own).norm(dim=1, keepdim=True) * direction / direction.norm(dim=1, keepdim=True)
    inside = (step / (other - own) > 0) & (step / (other - own) < 1)
    assert torch.allclose((mix(own, other, alpha) - own)[inside], step[inside], atol=1e-6) and inside.any()
    assert closed_form(own, own, weights, p, p.argmax(1), 0.2).abs().max() == 0


@torch.no_grad()
def test_item_8_labels_are_never_read_outside_of_training() -> None:
    batch = batch_of(subset_of())
    other = replace(batch, labels=batch.labels.where(batch.labels < 0, (batch.labels + 1) % 3))
    for label_train in ("pseudo", "gold"):
        model = model_of(label_train=label_train)
        assert torch.equal(model(batch), model(other))
        assert torch.equal(model._logits(batch, *model._described(batch), gold=True), model(batch))
    model.train()
    model.drop.p = 0.0
    told = [model._logits(b, *model._described(b), gold=True) for b in (batch, other)]
    assert not torch.equal(*told)


def test_item_9_a_chain_by_hand() -> None:
    model = model_of(("text", "audio", "face"), alpha_form="chain")
    f = {m: torch.eye(3)[n][None] for n, m in enumerate(("audio", "visual", "text"))}
    values = iter([0.25, 0.8])
    u = model._chained(
        [f[m] for m in model.modalities],
        torch.ones(1, 3, dtype=torch.bool),
        lambda *_: torch.tensor(next(values)),
    )
    assert torch.allclose(u, torch.tensor([[0.2, 0.6, 0.2]]))
    lone = torch.tensor([[m == "visual" for m in model.modalities]])
    u = model._chained([f[m] for m in model.modalities], lone, lambda *_: torch.tensor(0.5))
    assert torch.equal(u, f["visual"])


def test_item_10_the_focal_loss_by_hand() -> None:
    def focal(p: float, gamma: float) -> float:
        logits = torch.tensor([[[math.log(p), math.log(1 - p)]]])
        return float(masked_cross_entropy(logits, torch.tensor([[0]]), gamma)[0])

    for p, expected in ((0.9, 0.010536), (0.5, 0.346574), (0.1, 2.072327)):
        assert focal(p, 1.0) == pytest.approx(expected, abs=1e-6)
        assert focal(p, 0.0) == pytest.approx(-math.log(p), abs=1e-6)
    for gamma, expected in ((0.5, 0.490129), (0.75, 0.412148), (1.25, 0.291432)):
        assert focal(0.5, gamma) == pytest.approx(expected, abs=1e-6)
    for p in (0.9, 0.1):  # as printed, right and wrong cost the same
        logits = torch.tensor([[[math.log(p), math.log(1 - p)]]])
        printed, count = printed_focal(logits, torch.tensor([[0]]), 1.0)
        assert float(printed) == pytest.approx(0.09, abs=1e-6) and count == 1


def test_item_11_the_contrastive_loss_by_hand() -> None:
    s, negatives = torch.tensor([0.8]), torch.tensor([[0.1, -0.2]])
    drawn = torch.ones(1, 2, dtype=torch.bool)
    loss = nce(s, negatives, drawn, torch.tensor(1.2), 0.5, "posterior", 3)
    assert float(loss) == pytest.approx(1.052819, abs=1e-6)
    e = [math.exp(x / 0.5) for x in (0.8, 0.1, -0.2)]
    assert float(nce(s, negatives, drawn, torch.tensor(1.2), 0.5, "infonce", 3)) == pytest.approx(
        -math.log(e[0] / sum(e)), abs=1e-6
    )
    four = torch.ones(1, 4, dtype=torch.bool)
    for P, expected in ((0.9, -3.726567), (0.1, -8.987763)):  # as printed, lower for worse
        similar = torch.tensor([0.5 * math.log(P)])
        printed = nce(similar, torch.zeros(1, 4), four, torch.tensor(1.0), 0.5, "printed", 3)
        assert float(printed) == pytest.approx(expected, abs=1e-6)
    for form in ("posterior", "infonce", "printed"):
        assert float(nce(s, negatives, ~drawn, torch.tensor(1.2), 0.5, form, 3)) == 0  # type: ignore[arg-type]


def test_item_12_losses_of_uninformative_descriptors() -> None:
    f = [torch.ones(40, 4)] * 3
    ace = contrastive_loss(f, torch.ones(40, 3, dtype=torch.bool), 40, 32, 0.1)
    assert float(ace) == pytest.approx(8.962401, abs=1e-4)
    for classes, expected in ((7, 1.667923), (6, 1.493133)):
        loss, _ = masked_cross_entropy(torch.zeros(1, 1, classes), torch.tensor([[0]]), 1.0)
        assert float(loss) == pytest.approx(expected, abs=1e-6)
    drawn = draw_negatives(10, 4, torch.device("cpu"))
    assert drawn.sum(1).tolist() == [4] * 10 and not drawn.diagonal().any()
    assert not draw_negatives(1, 4, torch.device("cpu")).any()


@torch.no_grad()
def test_item_13_padding_of_words_frames_segments_and_utterances_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subset = subset_of((4,), lacking={"audio": [1]})
    batch = batch_of(subset)
    junk = torch.Generator().manual_seed(1)

    def padded(steps: Steps) -> Steps:
        values = torch.cat([steps.values, torch.zeros(len(steps.values), 3, steps.values.shape[2])], 1)
        mask = torch.cat([steps.mask, torch.zeros(len(steps.mask), 3, dtype=torch.bool)], 1)
        noise = torch.randn(values.shape, generator=junk)
        return replace(steps, values=values.where(mask.unsqueeze(-1), noise), mask=mask)

    wide = replace(batch, steps={role: padded(steps) for role, steps in batch.steps.items()})
    mask = torch.nn.functional.pad(batch.mask, (0, 2))
    long = replace(
        wide,
        mask=mask,
        speakers=torch.nn.functional.pad(batch.speakers, (0, 2)),
        labels=torch.nn.functional.pad(batch.labels, (0, 2), value=-100),
    )
    for switches in ({}, {"score_scale": "fixed_linear"}, {"peripheral": "evolving"}):
        model = model_of(**switches)
        found: dict[str, list[Tensor]] = {name: [] for name in (*model.descriptors.encoders, *model.contexts)}
        for name, part in model.descriptors.encoders.items():
            part.register_forward_hook(lambda _, __, out, to=found[name]: to.append(out.values[out.mask]))
        names = {id(part): name for name, part in model.contexts.items()}

        def heard(
            network: nn.LSTM, x: Tensor, lengths: Tensor, names: Any = names, found: Any = found
        ) -> Tensor:
            states = run_lstm(network, x, lengths)
            found[names[id(network)]].append(states[length_mask(lengths, x.shape[1])])
            return states

        monkeypatch.setattr(amuse, "run_lstm", heard)
        told = []
        for given in (batch, wide, long):
            _, present, f, heads = described = model.descriptors(given)
            told.append([*f, model.fused(f, present, heads), model._logits(given, *described)[:, :4]])
        for one, *others in [*zip(*told, strict=True), *found.values()]:
            assert all(torch.allclose(one, other, atol=1e-5) for other in others)
        assert len(found) == 5 and all(len(outputs) == 3 for outputs in found.values())


SETTINGS: list[dict[str, Any]] = [
    {}, {"stage": 0}, {"alpha_form": "chain"}, {"alpha": "random"}, {"alpha": "equal"}, {"fusion": "concat"},
    {"man": False, "fusion": "concat"}, {"peripheral": "evolving"}, {"score_scale": "none"}, {"context": "speaker"},
    {"score_scale": "fixed_linear"},
    {"context": "dialogue"}, {"direction": "uni"}, {"sign": -1}, {"eps": 0.5}, {"sa_layers": 1}, {"man_layers": 1},
]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("switches", SETTINGS, ids=str)
def test_items_13_and_16_a_dialogue_does_not_depend_on_its_batch_or_on_what_is_absent(
    switches: dict[str, Any],
) -> None:
    subset = subset_of((5, 2, 1, 3), lacking={"audio": [0, 5, 7], "text": [1, 5], "visual": [5, 6]})
    model = model_of(**switches)
    batched, turned = model(batch_of(subset)), model(batch_of(subset, [3, 2, 1, 0]))
    assert batched.isfinite().all()
    for rank, length in enumerate(subset.lengths.tolist()):
        alone = model(batch_of(subset, [rank]))[0]
        assert torch.allclose(batched[rank, :length], alone, atol=1e-5)
        assert torch.allclose(turned[3 - rank, :length], alone, atol=1e-5)


@torch.no_grad()
def test_item_14_the_order_of_peripheral_steps_does_not_matter() -> None:
    towers = model_of().descriptors.towers
    assert towers is not None
    mask = torch.arange(6)[None] < 5
    f = [Stream(torch.randn(1, 6, d) * mask.unsqueeze(-1), mask) for d in (8, 10, 6)]
    before = towers(f)
    order = torch.tensor([3, 0, 4, 2, 1, 5])
    for n in range(3):
        turned = [Stream(x.values[:, order], x.mask[:, order]) if i == n else x for i, x in enumerate(f)]
        for a, b in zip(before, towers(turned), strict=True):
            assert torch.allclose(a, b, atol=1e-5)


@torch.no_grad()
def test_item_15_contexts_of_speakers_and_of_the_dialogue() -> None:
    speakers, mask = torch.tensor([[0, 1, 0, 2, 1]]), torch.ones(1, 5, dtype=torch.bool)
    A = torch.randn(1, 5, 24)
    changed = A.clone()
    changed[0, 1] += 1
    for use, moved in (("speaker", [1, 4]), ("dialogue", [0, 1, 2, 3, 4])):
        model = model_of(context=use)
        before, after = model.classified(A, speakers, mask), model.classified(changed, speakers, mask)
        assert (before != after).any(-1)[0].nonzero().flatten().tolist() == moved
        renamed = model.classified(A, torch.tensor([[2, 0, 2, 1, 0]]), mask)
        assert torch.allclose(renamed, before, atol=1e-6)


@torch.no_grad()
def test_item_16_an_absent_modality_injects_and_mixes_nothing() -> None:
    lacking = subset_of((3,), lacking={"audio": [0, 1, 2]})
    model = model_of()
    _, present, f, _ = model.descriptors(batch_of(lacking))
    names = model.modalities
    assert present.any(0).tolist() == [name != "audio" for name in names]
    assert not f[names.index("audio")].any()
    with torch.no_grad():
        for name, parameter in model.descriptors.named_parameters():
            if "encoders.audio" in name or "2_to_" in name:
                parameter.add_(1)
    after = model.descriptors(batch_of(lacking))[2]
    assert names[2] == "audio" and all(torch.equal(x, y) for x, y in zip(f, after, strict=True))
    batch = batch_of(lacking)
    loss = model.attention_loss(batch, *model.descriptors(batch))
    assert loss.isfinite()
    one = model_of(("text",))
    _, present, (g,), heads = one.descriptors(batch)
    assert torch.equal(one.fused([g], present, heads), g) and one(batch).isfinite().all()


@torch.no_grad()
def test_pictures_without_a_face_are_no_steps_and_never_zeros() -> None:
    subset = subset_of((3,))
    face, back = subset.sequences["face"], subset.sequences["back"]
    faceless = face.lengths.clone()
    faceless[1] = 0  # no face in any picture: `amuse_jaa` is missing there, `amuse_back` is not
    batch = batch_of(replace(subset, sequences={**subset.sequences, "face": replace(face, lengths=faceless)}))
    assert batch.steps["face"].places.tolist() == [0, 2] and bool(batch.present["visual"].all())
    model = model_of()
    streams: list[Stream] = []
    encoder = model.descriptors.encoders["visual"]
    encoder.register_forward_hook(lambda _, __, out: streams.append(out))
    assert model(batch).isfinite().all()
    valid = streams[0].mask.sum(1)
    assert torch.equal(valid, faceless + back.lengths)
    start, length = int(back.starts[1]), int(back.lengths[1])
    alone = (back.values[None, start : start + length], torch.tensor([length]))
    nothing = (torch.zeros(1, 1, WIDTHS["face"]), torch.tensor([0]))
    wanted = encoder([nothing, alone]).values[0, 1:]
    assert torch.allclose(streams[0].values[1, streams[0].mask[1]], wanted, atol=1e-6)


ROWS: list[dict[str, Any]] = [
    {"man": False, "fusion": "concat"}, {"fusion": "concat"}, {"alpha": "random"}, {"alpha": "equal"},
    {"alpha_form": "chain"}, *({"gamma": gamma} for gamma in (0.5, 0.75, 1.25)),
    *({"man_layers": h} for h in (1, 3, 4, 5)), {"direction": "uni"}, {"context": "dialogue"}, {"context": "speaker"},
    {"lambda_ace": 0}, {"focal": False}, {"nce": "infonce"}, {"nce": "printed", "allow_broken": True},
    {"focal_form": "printed", "allow_broken": True}, {"score_scale": "none"}, {"score_scale": "fixed_linear"},
    {"peripheral": "evolving"}, {"sign": -1}, {"label_train": "gold"}, {"mining": "off"}, {"mining": "val_pool"},
]  # fmt: skip


@pytest.mark.parametrize("switches", ROWS, ids=str)
def test_item_22_every_row_of_switches_is_trained_and_is_another_model(switches: dict[str, Any]) -> None:
    batch = batch_of(subset_of())

    def told(stage: int, **given: Any) -> tuple[float, float]:
        model = model_of(stage=stage, **given).train()
        loss, _ = model.objective(batch, masked_cross_entropy)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()), float(
            sum(p.grad.norm() for p in model.parameters() if p.grad is not None)
        )

    stages = (1,) if switches.get("man") is False else (0, 1)
    trained = [told(stage, **switches) for stage in stages]
    assert all(math.isfinite(x) for pair in trained for x in pair)
    assert trained == [told(stage, **switches) for stage in stages]  # a seed tells everything
    pools = {"off": None, "val_pool": Pool(None)}
    if "mining" in switches:
        assert [*model_of(**switches).stages(STAGE)][-1].pool == pools[switches["mining"]]
    elif switches != {"man_layers": LITTLE["man_layers"]}:
        assert trained != [told(stage) for stage in stages]


def test_item_22_the_rows_of_the_paper_are_switches_and_broken_forms_are_asked_for() -> None:
    rows = [row for table in read_paper("amuse").tables for row in table.rows if row.model]
    assert len(rows) == 9 + 9 + 1 + 3 + 4 + 4
    for row in rows:
        assert AmuseConfig(**row.config).model_dump().items() >= row.config.items()
    with pytest.raises(ValidationError, match="fusion: concat"):
        AmuseConfig(man=False)
    for name in ("nce", "focal_form"):
        with pytest.raises(ValidationError, match=f"{name}: printed is a broken formula; allow_broken: true"):
            AmuseConfig(**{name: "printed"})


def test_item_22_equal_seeds_and_caches_give_equal_bytes(caches: Path) -> None:
    config = {**LITTLE, "man_epochs": 1, "eps": 0.9, "pool": 0.4}
    found = []
    for work in ("a", "b"):
        train_experiment("exp", params_of(config, 3), caches, work=caches / work)
        folder = caches / "models/exp"
        found.append({str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()})
    assert found[0] == found[1] and "seed0/model.safetensors" in found[0]


@torch.no_grad()
def test_a_map_of_places_is_inside_the_softmax_and_passes_over_padding() -> None:
    draws = torch.Generator().manual_seed(0)
    q, f = (torch.randn(1, n, 2, generator=draws) for n in (3, 5))
    injection = Injection(2, 2, 1, "fixed_linear", 4)
    plain = Injection(2, 2, 1, "none", 0)
    plain.load_state_dict(injection.state_dict(), strict=False)
    mask = torch.tensor([[True, False, True, False, True]])  # faces and backgrounds have padding each
    assert torch.allclose(injection(q, Stream(f, mask)), plain(q, Stream(f, mask)), atol=1e-6)
    assert injection.map is not None
    injection.map.copy_(torch.randn(1, 4, 4, generator=draws))
    valid = f[0, mask[0]]
    K, V = (valid @ W.weight.T for W in (injection.W_K, injection.W_V))
    wanted = ((q[0] @ K.T / math.sqrt(2)) @ injection.map[0, :3, :3].T).softmax(1) @ V
    assert torch.allclose(injection(q, Stream(f, mask))[0], wanted, atol=1e-6)
    with pytest.raises(UsageError, match="`score_scale: fixed_linear` allows 4 steps, but a sequence has 5"):
        injection(q, Stream(f, torch.ones_like(mask)))


def test_item_23_stages_train_what_is_theirs() -> None:
    batch = batch_of(subset_of())

    def trained(**switches: Any) -> set[str]:
        model = model_of(**switches).train()
        model.objective(batch, masked_cross_entropy)[0].backward()  # type: ignore[no-untyped-call]
        return {
            name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()
        }

    assert trained(stage=0) == {"descriptors"}
    assert trained() == {"contexts", "W"}
    assert trained(joint=True) == trained(man=False, fusion="concat") == {"descriptors", "contexts", "W"}
    model = model_of().train()
    assert not torch.equal(model_of(stage=0)(batch), model_of()(batch))
    state = model.state_dict()
    again = model_of(stage=0)
    again.load_state_dict(state)  # a run's weights know their stage
    assert int(again.stage) == 1 and model.descriptors.training


@dataclass
class Epoch:
    """Utterances in the batches of an epoch, those of them with a label, and the longest dialogue."""

    seen: set[int]
    asked: set[int]
    length: int = 0


def epochs_of(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path | None = None, **switches: Any
) -> tuple[list[Epoch], TrainedSeed]:
    """Two epochs of stage A and three of stage B; utterances of validation are numbered from 1000."""
    subsets = {}
    for name, seed, first in (("train", 0, 0), ("dev", 1, 1000)):
        subset = subset_of((5, 2, 1, 6, 4, 3), seed)
        words = subset.sequences["text"]
        numbered = words.values.clone()  # the first number of a word says whose it is
        numbered[:, 0] = torch.repeat_interleave(words.lengths).float() + first
        sequences = {**subset.sequences, "text": replace(words, values=numbered)}
        everyone: Any = tuple(range(first, first + 21))
        subsets[name] = replace(subset, name=name, utterances=everyone, sequences=sequences)
    epochs = [Epoch(set(), set())]
    objective, scores = Amuse.objective, seeds.validation_scores

    def watched(model: Amuse, batch: Batch, measure: Any) -> Any:
        words = batch.steps["text"]
        numbers = words.values[:, 0, 0].int()
        epochs[-1].seen.update(numbers.tolist())
        epochs[-1].asked.update(numbers[batch.labels.flatten()[words.places] >= 0].tolist())
        epochs[-1].length = max(epochs[-1].length, batch.mask.shape[1])
        return objective(model, batch, measure)

    def scored(*given: Any) -> dict[str, float]:
        epochs.append(Epoch(set(), set()))
        return scores(*given)

    with monkeypatch.context() as patched:
        patched.setattr(Amuse, "objective", watched)
        patched.setattr(seeds, "validation_scores", scored)
        patched.setattr(Amuse, "flips", lambda _, batch: batch.mask)  # all that may join does
        entry = toy_params(
            model="amuse",
            features={"text": ["words"], "audio": ["sound"], "visual": ["face", "face"]},
            config={**LITTLE, "pool": 0.34, "man_lr": 0.02, "man_batch": 8, **switches},
            training={"epochs": 3, "patience": 3, "lr": 0.1, "standardize": False},
        )
        datasets = Datasets(subsets["train"], subsets["dev"], None)
        trained = seeds.train_seed(experiment_of("exp", entry), datasets, 3, 0, checkpoint)
    return epochs[:-1], trained


def test_item_23_stage_b_leaves_stage_a_as_its_best_epoch_was_unless_it_is_joint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for joint in (False, True):
        place = tmp_path / f"{joint}.pt"
        epochs, trained = epochs_of(monkeypatch, place, joint=joint)
        before = torch.load(place, weights_only=True)["progress"]["best"]
        after = trained.progress.best
        assert len(epochs) == len(trained.progress.history) == 5 and trained.progress.best_epoch > 2
        assert [row["epoch"] for row in trained.progress.history] == [1, 2, 3, 4, 5]
        assert [epoch.length for epoch in epochs] == [1, 1, 6, 6, 6]  # utterances, then dialogues
        own = [name for name in before if name.startswith("descriptors.")]
        same = [torch.equal(before[name], after[name]) for name in own]
        assert not any(same) if joint else all(same)
        assert not torch.equal(before["W.weight"], after["W.weight"])
    again = epochs_of(monkeypatch, place, joint=True)[1]  # from the states of both stages
    assert all(torch.equal(after[name], value) for name, value in again.progress.best.items())


def test_item_24_only_a_pool_of_validation_ever_shows_training_an_utterance_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everyone = set(range(21))
    epochs, _ = epochs_of(monkeypatch)
    assert all(epoch.asked == everyone for epoch in epochs if epoch is not epochs[2])
    left = everyone - epochs[2].seen  # the first of stage B: nothing has flipped yet
    assert 0 < len(left) < 21 and epochs[2].asked == epochs[2].seen
    epochs, _ = epochs_of(monkeypatch, mining="val_pool")
    validation = set(range(1000, 1021))
    assert [epoch.asked for epoch in epochs] == [everyone] * 3 + [everyone | validation] * 2


@torch.no_grad()
def test_what_flips_is_what_a_longer_step_predicts_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amuse, "FARTHER", 100.0)
    batch = batch_of(subset_of((5, 2, 1, 6, 4, 3)))
    near, far = (model_of(eps=eps) for eps in (0.01, 1.0))
    always = near(batch)[batch.mask].mean(0)  # without it no class is the most probable of all utterances
    for model in (near, far):
        model.W.bias.sub_(always)
    flipped = near.flips(batch) & batch.mask
    assert flipped.any() and torch.equal(
        flipped, (near(batch).argmax(-1) != far(batch).argmax(-1)) & batch.mask
    )


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    """The toy corpus with one step of text and audio for each utterance."""
    manifest = toy_manifest()
    write_manifest(manifest, tmp_path / "manifests" / "toy.jsonl")
    for feature in ("words", "sound"):
        write_feature(tmp_path, manifest, feature, toy_vectors(manifest, feature), kind="sequence")
    return tmp_path


def params_of(config: dict[str, Any], epochs: int) -> Params:
    return toy_params(
        model="amuse",
        features={"text": ["words"], "audio": ["sound"]},
        config=config,
        training={"epochs": epochs, "seeds": 1, "lr": 0.01},
    )


def test_item_22_a_run_is_tested_without_a_modality_that_it_was_trained_with(caches: Path) -> None:
    train_experiment(
        "exp",
        params_of({**LITTLE, "man_epochs": 0, "dropout": 0.0, "joint": True}, 12),
        caches,
        work=caches / "work",
    )
    folder = caches / "models/exp"
    whole, deaf = (evaluate(folder, caches, lacking=gone) for gone in ((), ["audio"]))
    assert deaf["lacking"] == ["audio"] and deaf["test"] != whole["test"]
    manifest = read_manifest(caches / "manifests/toy.jsonl")
    write_feature(caches, manifest, "sound", {}, kind="sequence")
    assert evaluate(folder, caches)["test"] == deaf["test"]  # as if the caches had none
    with pytest.raises(UsageError, match="has no modality 'sound'"):
        evaluate(folder, caches, lacking=["sound"])


def test_item_24_a_pool_of_validation_is_stamped_on_the_result(caches: Path) -> None:
    for mining, marks in (("train_pool", []), ("val_pool", marks_of(AmuseConfig(mining="val_pool")))):
        config = {**LITTLE, "man_epochs": 0, "mining": mining}
        answer = train_experiment("exp", params_of(config, 2), caches, work=caches / "work")
        assert answer["marks"] == evaluate(caches / "models/exp", caches)["marks"] == marks
    assert "contaminated" in marks[0]
    assert "contaminated" in json.loads((caches / "models/exp/metrics.json").read_text())["marks"]


def test_item_20_the_published_rows_are_the_cells_of_their_classes() -> None:
    """Weighted F1 of MELD's seven classes, and of the five of the paper's 5-CLS (docs/papers/amuse.md, section 7)."""
    cells = {
        "neutral": (0.8469, 1256), "surprise": (0.7283, 281), "sadness": (0.4632, 208), "joy": (0.6481, 402),
        "anger": (0.6574, 345), "fear": (0.0674, 50), "disgust": (0.0891, 68),
    }  # fmt: skip

    def weighted(names: list[str]) -> float:
        f1, support = zip(*(cells[name] for name in names), strict=True)
        return sum(f * n for f, n in zip(f1, support, strict=True)) / sum(support)

    assert weighted(list(cells)) == pytest.approx(0.713208, abs=1e-6)
    assert weighted(list(cells)[:5]) == pytest.approx(0.743196, abs=1e-6)
    (row,) = (r for r in read_paper("amuse").select("1")[0].rows if r.name == "AMuSE, T+A+V")
    assert row.published["meld"]["weighted_f1"] == pytest.approx(100 * weighted(list(cells)), abs=5e-3)


@torch.no_grad()
@pytest.mark.parametrize("history", [None, 2])
@pytest.mark.parametrize("stage", [0, 1])
def test_a_changed_target_and_future_change_no_bit_of_a_prediction(history: int | None, stage: int) -> None:
    """Words, frames, audio, label and speaker of the target and all later utterances change. One target a batch."""
    model, window = model_of(stage=stage), ContextWindow(ahead=1, history=history)

    def predictions(subset: Subset) -> list[Tensor]:
        padded = PaddedBatches(subset, window)
        batches = [padded.batch([k]) for k in range(5)]  # of the five targets of the first dialogue
        return [model(batch)[0, int(batch.mask.sum()) - 1] for batch in batches]

    before = subset_of((6, 3))
    for row in range(1, 6):
        sequences = {}
        for role, steps in before.sequences.items():
            values = steps.values.clone()
            values[int(steps.starts[row]) :] += 7
            sequences[role] = replace(steps, values=values)
        speakers, labels, known = before.speakers.clone(), before.labels.clone(), before.all_labels.clone()
        for changed in (speakers, labels, known):
            changed[row:] = (changed[row:] + 1) % 3
        after = replace(before, sequences=sequences, speakers=speakers, labels=labels, all_labels=known)
        found, other = predictions(before), predictions(after)
        assert all(torch.equal(found[k], other[k]) for k in range(row))
        assert all(not torch.equal(found[k], other[k]) for k in range(row, 5))


def test_a_prediction_is_trained_in_both_stages_and_scored_again(caches: Path) -> None:
    config = {**LITTLE, "man_epochs": 2, "joint": False, "mining": "train_pool"}
    params = params_of(config, 2)
    entry = params.experiments["exp"].model_copy(update={"task": "epc", "history": 3})
    params = params.model_copy(update={"experiments": {"exp": entry}})
    lengths: list[int] = []
    objective = Amuse.objective

    def watched(model: Amuse, batch: Batch, measure: Any) -> Any:
        lengths.append(batch.mask.shape[1] if bool(model.stage) else -batch.mask.shape[1])
        assert int((batch.labels >= 0).sum()) == len(batch.labels)  # a target for each stretch
        return objective(model, batch, measure)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Amuse, "objective", watched)
        run = train_experiment("exp", params, caches, work=caches / "work")
    assert run["task"] == "epc" and min(lengths) == -1 and max(lengths) == 3
    assert set(lengths) <= {-1, 1, 2, 3}  # stage A hears the last utterance alone
    assert evaluate(caches / "models/exp", caches)["test"] == run["test"]


def literal_logits(model: Amuse, subset: Subset) -> Tensor:
    """Logits of one dialogue with all modalities, from the equations of section 4, with loops."""
    s = {k: v.double() for k, v in model.state_dict().items()}
    c, names = model.config, model.modalities

    def lin(x: Tensor, at: str) -> Tensor:
        return x @ s[f"{at}.weight"].T + s.get(f"{at}.bias", torch.zeros(1).double())

    def run(x: Tensor, at: str, turn: str) -> Tensor:
        w_x, w_h = s[f"{at}.weight_ih_l0{turn}"], s[f"{at}.weight_hh_l0{turn}"]
        bias = s[f"{at}.bias_ih_l0{turn}"] + s[f"{at}.bias_hh_l0{turn}"]
        h = state = torch.zeros(w_h.shape[1]).double()
        rows = []
        for row in x:
            i, f, g, o = (w_x @ row + w_h @ h + bias).chunk(4)
            state = f.sigmoid() * state + i.sigmoid() * g.tanh()
            h = o.sigmoid() * state.tanh()
            rows.append(h)
        return torch.stack(rows)

    def bi(x: Tensor, at: str) -> Tensor:
        return torch.cat([run(x, at, ""), run(x.flip(0), at, "_reverse").flip(0)], 1)

    def one(u: int) -> Tensor:
        f = {}
        for m in names:
            parts = []
            for n, role in enumerate(model.descriptors.roles[m]):
                r = subset.sequences[role]
                x = r.values[int(r.starts[u]) : int(r.starts[u] + r.lengths[u])].double()
                at = f"descriptors.encoders.{m}"
                parts.append(lin(bi(x, f"{at}.lstms.{n}"), f"{at}.embeddings.{n}"))
            w = torch.cat(parts)
            for layer in range(c.sa_layers):
                rows = [
                    ((w @ w[i] / math.sqrt(w.shape[1])).softmax(0)[:, None] * w).sum(0) for i in range(len(w))
                ]
                w = lin(torch.stack(rows), f"descriptors.encoders.{m}.layers.{layer}.linear")
            f[m] = w
        g = dict(f)
        for layer in range(c.man_layers):
            after = {}
            for mi, m in enumerate(names):
                q = lin(g[m], f"descriptors.towers.D.{layer}.{mi}").clamp(min=0)
                total = torch.zeros_like(q)
                for ii, i in enumerate(names):
                    if i == m:
                        continue
                    at = f"descriptors.towers.injections.{layer}.{ii}_to_{mi}"
                    d = c.man_dim
                    for h in range(c.man_heads):
                        K = f[i] @ s[f"{at}.W_K.weight"][h * d : (h + 1) * d].T
                        V = f[i] @ s[f"{at}.W_V.weight"][h * d : (h + 1) * d].T
                        weights = (s[f"{at}.a"][h] * q @ K.T / math.sqrt(f[i].shape[1])).softmax(1)
                        total = total + weights @ V / c.man_heads
                after[m] = q + total / len(names)
            g = after
        f_CA = {m: g[m].mean(0) for m in names}
        out = []
        for mi, m in enumerate(names):
            p = lin(f_CA[m], f"descriptors.towers.Q.{mi}").softmax(0)
            G = s[f"descriptors.towers.Q.{mi}.weight"].T @ (p - nn.functional.one_hot(p.argmax(), len(p)))
            total = torch.zeros(c.man_dim).double()
            for i in names:
                if i != m:
                    z = f_CA[i] - f_CA[m]
                    alpha = (c.eps * z.norm() * (G / G.norm()) / z).clamp(0, 1)
                    total = total + alpha * f_CA[i] + (1 - alpha) * f_CA[m]
            out.append(total / len(names))
        return torch.cat(out)

    A = torch.stack([one(u) for u in range(len(subset.labels))])
    d, spoken = bi(A, "contexts.dialogue"), torch.zeros(len(A), c.context_dim).double()
    for who in set(subset.speakers.tolist()):
        at = (subset.speakers == who).nonzero().flatten()
        spoken[at] = bi(A[at], "contexts.speaker")
    return lin(torch.cat([spoken, d], 1), "W")


@torch.no_grad()
def test_amuse_agrees_with_its_equations_written_out() -> None:
    model, subset = model_of(), subset_of((5,))
    for name, parameter in model.named_parameters():
        if name.endswith(".a"):
            parameter.copy_(torch.tensor([0.7, 1.6]))
    assert torch.allclose(model(batch_of(subset))[0].double(), literal_logits(model, subset), atol=1e-5)
