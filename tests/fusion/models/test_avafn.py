"""AVAFN compared with the numbers of docs/papers/avafn.md, section 11, and with its equations written out."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ercache import metrics
from ercache.errors import UsageError
from ercache.params.schema import Params, TrainingParams
from ercache.training.losses import masked_cross_entropy
from ercache.training.optimizers import optimizer_of
from fusion.data.batches import Batch, PaddedBatches, Subset
from fusion.evaluation.reproduce import reproduce
from fusion.experiment.resolve import experiment_of
from fusion.experiment.source import read_source
from fusion.layers.cells import gru_step
from fusion.models.avafn.config import AvafnConfig
from fusion.models.avafn.model import ENTRY, Avafn
from fusion.models.avafn.recurrence import ContextAttention
from fusion.models.base import parameters
from fusion.training.seed import build_model, prepare_datasets
from tests.support import literal_avafn
from tests.support.toy_corpus import FEATURES, toy_params, write_toy

PAPER = {"audio": 1024, "visual": 1024}
SMALL = {"audio": 32, "visual": 32}
BOTH = ("audio", "visual")


def build(widths: dict[str, int] = SMALL, preset: str = "small", classes: int = 7, **switches: Any) -> Avafn:
    torch.manual_seed(0)
    return Avafn(widths, classes, ENTRY.resolve(preset, switches))  # type: ignore[arg-type]


def batch(
    features: dict[str, Tensor], speakers: Tensor, labels: Tensor | None = None, mask: Tensor | None = None
) -> Batch:
    full = torch.ones(speakers.shape, dtype=torch.bool) if mask is None else mask
    labels = torch.zeros_like(speakers) if labels is None else labels
    return Batch(features, {m: full.clone() for m in features}, full, speakers, labels.where(full, -100))


def dialogues(lengths: tuple[int, ...] = (7, 3, 5), people: int = 3, width: int = 32, seed: int = 1) -> Batch:
    """Random dialogues with random padding; the first has only one speaker."""
    rng = torch.Generator().manual_seed(seed)
    L = max(lengths)
    mask = torch.arange(L) < torch.tensor(lengths)[:, None]
    speakers = torch.randint(people, mask.shape, generator=rng)
    speakers[:, 0] = 0
    features = {}
    for m in BOTH:
        values = torch.randn(*mask.shape, width, generator=rng)
        features[m] = values.masked_fill(~mask[..., None], 1e3)
    labels = torch.randint(7, mask.shape, generator=rng)
    return batch(features, speakers.masked_fill(~mask, 0), labels, mask)


def alone(x: Batch, d: int) -> Batch:
    """One dialogue of a batch, without its padding."""
    n = int(x.mask[d].sum())
    features = {m: values[d : d + 1, :n] for m, values in x.features.items()}
    return batch(features, x.speakers[d : d + 1, :n], x.labels[d : d + 1, :n])


def flat(rows: list[list[float]]) -> list[float]:
    return [value for row in rows for value in row]


# Sizes


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({}, 21_497_407),
        ({"use_acm": False}, 20_078_705),
        ({"use_ssm": False}, 20_079_007),
        ({"use_ilm": False}, 19_427_407),
    ],
)
def test_parameter_counts_of_section_4(switches: dict[str, bool], expected: int) -> None:
    with torch.device("meta"):
        assert parameters(build(PAPER, "paper", **switches)) == expected


def test_parameter_counts_of_single_parts_and_presets() -> None:
    with torch.device("meta"):
        model = build(PAPER, "paper")
        part = model.recurrence
        cells = [part.GRU_C, part.W, part.GRU_S, part.GRU_L, part.GRU_E]
        assert [parameters(c[0]) for c in cells] == [596_700, 151, 596_700, 990_000, 165_600]
        assert model.cam is not None and model.fuse is not None
        assert parameters(model.cam) + parameters(model.fuse) + parameters(model.residual) == 16_797_698
        assert parameters(part) == 4_698_302 and parameters(model.W_smax) == 1_407
        assert [parameters(build({m: 1024}, "paper")) for m in BOTH] == [13_098_557] * 2
        assert parameters(build()) == 40_507
        assert parameters(build({"audio": 20, "visual": 32})) == 40_507 + 21 * 32


def test_shapes_of_item_6() -> None:
    """Attention, u, emotion states and logits have the shapes of the page."""
    with torch.device("meta"):
        model, x = build(PAPER, "paper"), torch.empty(2, 5, 1024)
        H = dict.fromkeys(BOTH, x)
        assert model.cam is not None
        open_to_all = dict.fromkeys(BOTH, torch.ones(2, 1, 5, dtype=torch.bool))
        assert {a.shape for a in model.cam.weights(H, open_to_all).values()} == {(2, 5, 5)}
        assert model.joint(H, open_to_all).shape == (2, 5, 1024)
        assert model.W_smax(torch.empty(2, 5, 200)).shape == (2, 5, 7)


@torch.no_grad()
def test_attention_rows_sum_to_one_and_lone_speakers_and_utterances_run() -> None:
    model, x = build().eval(), dialogues()
    assert model.cam is not None
    for weights in model.cam.weights(model.enter(x), model.allowed(x)).values():
        assert torch.allclose(weights[x.mask].sum(-1), torch.tensor(1.0), atol=1e-5)
    one = dialogues((1,))
    lone = replace(x, speakers=torch.zeros_like(x.speakers))
    assert torch.isfinite(model(one)).all() and torch.isfinite(model(lone)[x.mask]).all()


# Hand examples


def test_cross_attention_of_item_7() -> None:
    """Equations 1 to 7 and u with identity maps, computed by hand."""
    model = build({"audio": 4, "visual": 4}, d_model=4, d_ff=4).double().eval()
    assert model.cam is not None and model.fuse is not None
    for name, parameter in model.named_parameters():
        if "norm" not in name and parameter.dim() == 2:
            nn.init.eye_(parameter)
        elif "norm" not in name and ".1." not in name:
            nn.init.zeros_(parameter)
    H = {
        "audio": torch.tensor([[[1, 0, 2, 1], [0, 1, 0, 3.0]]], dtype=torch.float64),
        "visual": torch.tensor([[[2, 1, 0, 1], [1, 1, 4, 0.0]]], dtype=torch.float64),
    }
    allowed = dict.fromkeys(BOTH, torch.ones(1, 1, 2, dtype=torch.bool))
    weights, H_c = model.cam.weights(H, allowed), model.cam(H, allowed)
    expected = {
        "audio": [[0.047426, 0.952574], [0.817574, 0.182426]],
        "visual": [[0.377541, 0.622459], [0.982014, 0.017986]],
    }
    for m in BOTH:
        assert weights[m][0].flatten().tolist() == pytest.approx(flat(expected[m]), abs=1e-6)
    looked = {
        "audio": [[1.047426, 1, 3.810297, 0.047426], [1.817574, 1, 0.729702, 0.817574]],
        "visual": [[0.377541, 0.622459, 0.755081, 2.244919], [0.982014, 0.017986, 1.964028, 1.035972]],
    }
    for m, o in (BOTH, BOTH[::-1]):
        zeta = (weights[m] @ model.cam.W_V[o](H[o]))[0]
        assert zeta.flatten().tolist() == pytest.approx(flat(looked[m]), abs=1e-6)
    H_LN = model.cam.norm["audio"](H["audio"] + weights["audio"] @ H["visual"])[0]
    wanted = [[-0.217717, -0.749456, 1.692551, -0.725379], [-0.246800, -0.082267, -1.227973, 1.557039]]
    assert H_LN.flatten().tolist() == pytest.approx(flat(wanted), abs=1e-6)
    expected = {
        "audio": [
            [-0.371892, -0.680464, 1.718848, -0.666492],
            [-0.389499, -0.288745, -0.990332, 1.668576],
        ],
        "visual": [
            [0.250198, -0.560695, -1.181689, 1.492185],
            [-0.393003, -0.666751, 1.721397, -0.661643],
        ],
    }
    for m in BOTH:
        assert H_c[m][0].flatten().tolist() == pytest.approx(flat(expected[m]), abs=1e-6)
    wanted = [-0.060847, -0.620579, 0.268580, 0.412847, -0.391251, -0.477748, 0.365532, 0.503466]
    assert model.fuse(H_c, {}).flatten().tolist() == pytest.approx(wanted, abs=1e-6)
    wanted = [1.353352, -2.034779, 0.268580, 0.412847, -1.541077, -0.811080, 1.215701, 1.136456]
    assert model.joint(H, allowed).flatten().tolist() == pytest.approx(wanted, abs=1e-6)


def memory_of(contexts: list[list[float]], kind: str = "scalar_tanh") -> ContextAttention:
    layer = nn.Linear(2, 1).double()
    layer.weight.data = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    layer.bias.data = torch.tensor([0.1], dtype=torch.float64)
    memory = ContextAttention(nn.ModuleList([layer]), kind, torch.ones(1, 1, 9, 1, dtype=torch.float64))
    for C in contexts:
        memory.add(torch.tensor([[C]], dtype=torch.float64))
    return memory


def test_soft_attention_of_item_8() -> None:
    """Equation 9 over three contexts, computed by hand."""
    history = [[0.5, -0.5], [1.0, 0.0], [0.2, 0.8]]
    for kind in ("scalar_tanh", "dot_query"):  # with u = 1 the scores are the same
        ac = memory_of(history, kind).read(3)
        assert ac is not None and ac.flatten().tolist() == pytest.approx([0.560365, 0.315571], abs=1e-6)
        if kind == "scalar_tanh":  # which carries the sum of the exponents on
            sums = [memory_of(history[:n]).total for n in (1, 2, 3)]
            e = torch.cat([x.flatten() for x in sums if x is not None]).diff(prepend=torch.zeros(1).double())
            assert e.log().tolist() == pytest.approx([-0.379949, 0.800499, 0.956237], abs=1e-6)
            assert (e / e.sum()).tolist() == pytest.approx([0.124064, 0.403932, 0.472003], abs=1e-6)
        first = memory_of(history[:1], kind).read(1)
        assert first is not None and first.flatten().tolist() == pytest.approx(history[0])
        assert memory_of([], kind).read(0) is None  # is 0


def test_gru_cell_of_item_9() -> None:
    """Gates and state of a cell of width 1, computed by hand."""
    one = torch.ones(1, 3)
    r = z = torch.tensor(0.5 + 0.1 + 0.25 + 0.1).sigmoid()
    n = (0.6 + r * 0.35).tanh()
    assert [float(x) for x in (r, z, n)] == pytest.approx([0.721115, 0.721115, 0.692316], abs=1e-6)
    h = gru_step(0.5 * one + 0.1, 0.25 * one + 0.1, torch.tensor([[0.5]]))
    assert h.item() == pytest.approx(0.553634, abs=1e-6)


def test_gru_is_the_cell_of_torch() -> None:
    cell, x, h = nn.GRUCell(5, 4), torch.randn(3, 5), torch.randn(3, 4)
    gi, gh = x @ cell.weight_ih.T + cell.bias_ih, h @ cell.weight_hh.T + cell.bias_hh
    assert (gru_step(gi, gh, h) - cell(x, h)).abs().max() < 1e-6


def test_masked_loss_of_item_10() -> None:
    """Padding adds nothing to the loss."""
    logits = torch.tensor([[[2.0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0], [5.0] * 7]])
    assert float(masked_cross_entropy(logits, torch.tensor([[0, 4, -100]]))[0]) == pytest.approx(
        0.879930, abs=1e-6
    )
    assert float(masked_cross_entropy(logits, torch.tensor([[0, 4, 2]]))[0]) == pytest.approx(
        1.235257, abs=1e-6
    )
    even = masked_cross_entropy(torch.zeros(1, 1, 7), torch.tensor([[3]]))[0]
    assert float(even) == pytest.approx(1.945910, abs=1e-6)


def test_the_decay_of_adam_is_the_gradient_of_half_the_square_of_item_10() -> None:
    theta = [torch.tensor([1.0, -2.0, 0.5], requires_grad=True) for _ in range(2)]
    coupled, plain = torch.optim.Adam(theta[:1], 1e-4, weight_decay=3e-4), torch.optim.Adam(theta[1:], 1e-4)
    halves = []
    for _ in range(5):
        half = 3e-4 / 2 * theta[1].square().sum()
        halves.append(float(half.detach()))
        for optimizer, x, more in ((coupled, theta[0], 0.0), (plain, theta[1], half)):
            optimizer.zero_grad()
            (x.sin().sum() + more).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert halves[0] == pytest.approx(0.0007875)
    assert (theta[0] - theta[1]).abs().max() < 1e-7


A = [[1, 0, 2, 1], [0, 1, 0, 3], [1, 1, 0, 0]]
V = [[2, 1, 0, 1], [1, 1, 4, 0], [0, 2, 1, 1]]


def filled(**switches: Any) -> Avafn:
    """The network of item 12: every weight and bias follows from its position."""
    sizes = {"d_model": 4, "d_ff": 8, "D_c": 3, "D_q": 3, "D_e": 2}
    model = build({"audio": 4, "visual": 4}, **{**sizes, **switches}).double().eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or (".1." in name and name.startswith("residual")) or name == "fuse.w":
            continue
        i = torch.arange(len(parameter), dtype=torch.float64)
        if parameter.dim() == 2:
            j = torch.arange(parameter.shape[1], dtype=torch.float64)
            parameter.data = 0.1 * ((i[:, None] + 2 * j) % 5 - 2)
        else:
            parameter.data = 0.05 * (i % 3 - 1)
    return model


def fixture() -> Batch:
    features = {
        "audio": torch.tensor([A], dtype=torch.float64),
        "visual": torch.tensor([V], dtype=torch.float64),
    }
    return batch(features, torch.tensor([[0, 1, 0]]), torch.tensor([[0, 4, 6]]))


@torch.no_grad()
def test_whole_network_of_item_12() -> None:
    """u, emotion states, logits and loss of a network whose weights follow from their positions."""
    model, x = filled(), fixture()
    assert parameters(model) == 1203
    u = model.joint(model.enter(x), model.allowed(x))
    expected = [
        [-0.386262, -2.648294, 1.202081, 1.832475],
        [-0.784271, -1.914268, 1.695191, 1.003349],
        [-1.348683, 0.784100, 2.914125, -2.349543],
    ]
    assert u[0].flatten().tolist() == pytest.approx(flat(expected), abs=1e-6)
    E = model.recurrence(u, x.features["visual"], x.speakers, x.mask).E
    expected = [[0.069340, 0.146628], [0.130641, 0.240280], [0.171173, 0.315026]]
    assert E[0, 0].flatten().tolist() == pytest.approx(flat(expected), abs=1e-6)
    weights = model.history_weights(x)
    assert weights[0, 0].tolist() == pytest.approx([0.487950, 0.512050], abs=1e-6)
    expected = [
        [-0.071207, -0.015484, 0.098270, -0.011289, -0.050291, 0.028793, -0.065484],
        [-0.087863, 0.004624, 0.112961, -0.048842, -0.030880, 0.012137, -0.045376],
        [-0.083693, 0.002798, 0.118258, -0.073796, -0.013566, 0.016307, -0.047202],
    ]
    assert model(x)[0].flatten().tolist() == pytest.approx(flat(expected), abs=1e-6)
    assert float(masked_cross_entropy(model(x), x.labels)[0]) == pytest.approx(1.985544, abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize(
    ("switches", "size", "expected"),
    [
        (
            {"cam_scope": "utterance"},
            1203,
            [-0.072180, -0.013864, 0.100512, -0.011801, -0.052668, 0.027820, -0.063864],
        ),
        ({"use_acm": False}, 889, [-0.083649, 0.017697, 0.099355, -0.027359, -0.056044, 0.016351, -0.032303]),
        ({"use_ssm": False}, 897, [-0.089882, 0.019551, 0.104660, -0.018602, -0.065728, 0.010118, -0.030449]),
        (
            {"use_ilm": False},
            933,
            [-0.067343, -0.001990, 0.088120, -0.031736, -0.037051, 0.032657, -0.051990],
        ),
    ],
)
def test_one_switch_changed_of_item_13(switches: dict[str, Any], size: int, expected: list[float]) -> None:
    """Parameters and first logits of that network with one switch changed."""
    model = filled(**switches)
    assert parameters(model) == size
    assert model(fixture())[0, 0].tolist() == pytest.approx(expected, abs=1e-6)


# Equal weights


@torch.no_grad()
@pytest.mark.parametrize("double", [False, True])
def test_the_fast_network_is_the_equations_written_out(double: bool) -> None:
    model, x = build().eval(), dialogues((7, 3, 5, 1), people=4)
    if double:
        model = model.double()
        x = replace(x, features={m: values.double() for m, values in x.features.items()})
    fast = model(x)
    for d, n in enumerate(x.mask.sum(1).tolist()):
        a, v = (x.features[m][d, :n] for m in BOTH)
        slow = literal_avafn.logits(model, a, v, x.speakers[d, :n].tolist())
        assert (fast[d, :n] - slow).abs().max() < (1e-12 if double else 1e-5)


@torch.no_grad()
def test_the_history_weights_are_those_of_the_equations() -> None:
    model, x = build().eval(), dialogues((6,))
    H = model.enter(x)
    u = model.joint(H, model.allowed(x))
    slow = literal_avafn.emotions(model, 0, u[0], H["visual"][0], x.speakers[0].tolist())[2]
    assert (model.history_weights(x)[0, 0] - slow).abs().max() < 1e-6
    assert len(slow) == 5 and slow.max() / slow.min() < math.e**2


@torch.no_grad()
def test_no_context_has_more_than_e_squared_times_the_weight_of_another() -> None:
    model, x = build().eval(), dialogues((6,))
    for layer in model.recurrence.W:
        layer.weight.mul_(1e3)  # scores at both ends of tanh
    weights = model.history_weights(x)
    assert weights.amax(-1).div(weights.amin(-1)).max() <= math.e**2 + 1e-3
    published = torch.tensor([0.2296, 0.2302, 0.1477, 0.1756, 0.0621, 0.0665, 0.0884])
    assert float(published.max() / published.min()) == pytest.approx(3.7069, abs=1e-4)
    assert float(published.sum()) == pytest.approx(1.0001, abs=1e-6) and math.e**2 > 3.7069


# Invariances

SWITCHES: list[dict[str, Any]] = [
    {},
    {"use_acm": False},
    {"use_ssm": False},
    {"use_ilm": False},
    {"use_cam": False},
    {"use_context_attention": False},
    {"cam_scope": "dialogue_causal"},
    {"cam_scope": "utterance"},
    {"fusion_weight": "fixed"},
    {"fusion_weight": "gate"},
    {"fusion_weight": "attention_matrix"},
    {"combine": "concat"},
    {"context_attention": "dot_query"},
    {"context_attention": "vector"},
    {"context_attention": "dot_query", "combine": "concat"},
    {"listener_input": "u"},
    {"listener_pool": "sum"},
    {"listener_pool": "max"},
    {"emotion_chain": "speaker"},
    {"bidirectional": False},
    {"classifier_hidden": 5},
]


@torch.no_grad()
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_every_switch_changes_the_network_and_none_lets_padding_or_numbering_in(
    switches: dict[str, Any],
) -> None:
    model, x = build(**switches).eval(), dialogues()
    batched = model(x)
    for d, n in enumerate(x.mask.sum(1).tolist()):
        assert (model(alone(x, d))[0] - batched[d, :n]).abs().max() < 1e-5
    renamed = torch.tensor([2, 0, 1])[x.speakers]
    assert (model(replace(x, speakers=renamed)) - batched)[x.mask].abs().max() < 1e-5
    phantoms = replace(x, speakers=x.speakers + 4)
    assert (model(phantoms) - batched)[x.mask].abs().max() < 1e-5
    if switches not in ({}, {"fusion_weight": "fixed"}):  # which is where learned weights begin
        assert not torch.allclose(batched[x.mask], build().eval()(x)[x.mask], atol=1e-4)


@torch.no_grad()
def test_padding_changes_nothing_in_float64() -> None:
    model, x = build().double().eval(), dialogues()
    x = replace(x, features={m: values.double() for m, values in x.features.items()})
    assert (model(alone(x, 1))[0] - model(x)[1, :3]).abs().max() < 1e-10


@torch.no_grad()
@pytest.mark.parametrize(("scope", "dead"), [("utterance", True), ("dialogue", False)])
def test_queries_and_keys_get_no_gradient_if_an_utterance_sees_only_itself(scope: str, dead: bool) -> None:
    model, x = build(cam_scope=scope).eval(), dialogues()
    before = model(x)[x.mask]
    assert model.cam is not None
    model.cam.W_Q["audio"].weight.mul_(2)
    model.cam.W_K["audio"].weight.mul_(-1)
    assert torch.allclose(before, model(x)[x.mask], atol=1e-6) == dead


@torch.no_grad()
@pytest.mark.parametrize(
    ("switches", "causal"),
    [
        ({"bidirectional": False, "cam_scope": "dialogue_causal"}, True),
        ({"bidirectional": False, "cam_scope": "utterance"}, True),
        ({"bidirectional": False}, False),
        ({"cam_scope": "utterance"}, False),
    ],
)
def test_both_causal_switches_together_hide_later_utterances(switches: dict[str, Any], causal: bool) -> None:
    model, x = build(**switches).eval(), dialogues((6,))
    before = model(x)
    changed = {m: values.clone() for m, values in x.features.items()}
    for values in changed.values():
        values[:, 4] += 1
    after = model(replace(x, features=changed))
    assert ((after - before)[0, :4].abs().max() < 1e-5) == causal
    assert (after - before)[0, 4:].abs().max() > 1e-4


@torch.no_grad()
def test_a_turn_changes_the_bank_as_item_19_says() -> None:
    """GRU_S changes the state of the speaker, GRU_L those of all others."""
    x = replace(dialogues((4,)), speakers=torch.tensor([[0, 1, 0, 2]]))

    def banks(**switches: Any) -> Iterator[tuple[int, Tensor, Tensor]]:
        model = build(**switches).eval()
        H = model.enter(x)
        u = model.joint(H, model.allowed(x))
        bank = model.recurrence(u, H["visual"], x.speakers, x.mask).bank[0, 0]  # [L, P, D_q]
        slow = (
            literal_avafn.emotions(model, 0, u[0], H["visual"][0], x.speakers[0].tolist())[1]
            if not switches
            else []
        )
        for t in range(1, 4):
            if slow:
                assert (torch.stack(slow[t]) - bank[t]).abs().max() < 1e-6
            yield int(x.speakers[0, t]), bank[t - 1], bank[t]

    for i, before, after in banks():
        assert ((before - after).abs().amax(1) > 1e-4).tolist() == [True] * 3 and i < 3
    for i, before, after in banks(use_ilm=False):
        assert ((before - after).abs().amax(1) > 1e-4).tolist() == [j == i for j in range(3)]
    for i, before, after in banks(use_ssm=False):
        assert ((before - after).abs().amax(1) > 1e-4).tolist() == [j != i for j in range(3)]


@torch.no_grad()
def test_an_absent_modality_is_no_key_of_the_other() -> None:
    model, x = build().eval(), dialogues((5,))
    x.present["audio"][0, 2] = False
    assert model.cam is not None
    weights = model.cam.weights(model.enter(x), model.allowed(x))
    assert (weights["visual"][0, :, 2] == 0).all() and (weights["audio"][0, :, 2] > 0).all()


@torch.no_grad()
def test_absent_features_are_the_mean_of_train_even_without_z_scores(tmp_path: Path) -> None:
    write_toy(tmp_path)
    params = toy_params(
        model="avafn",
        features={m: FEATURES[m] for m in ("audio", "visual")},
        config={"d_model": 4},  # the width of the faces, which then have no projection
        training={"standardize": False},
    )
    experiment = experiment_of("exp", params)
    source = read_source(tmp_path, experiment.entry)
    datasets = prepare_datasets(source, experiment.training, "cpu")
    model = build_model(experiment, datasets, 3)
    assert isinstance(model, Avafn)
    train = datasets.train
    assert not train.present["visual"].all()
    centre = train.features["visual"][train.present["visual"] & train.in_subset].mean(0)
    assert centre.abs().max() > 0.1
    x = PaddedBatches(train).batch([0, 1, 2, 3])
    absent = x.mask & ~x.present["visual"]
    assert absent.any() and (model.enter(x)["visual"][absent] - centre).abs().max() < 1e-6


# Training


def weighted_f1_after(model: Avafn, x: Batch, lr: float) -> float:
    """Weighted F1 on the training dialogues after 100 steps of Adam; the first loss must be that of a guess."""
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for step in range(100):
        optimizer.zero_grad()
        loss = masked_cross_entropy(model(x), x.labels)[0]
        assert step or 1.8 < loss.item() < 2.2
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    guess = model(x).argmax(-1)[x.mask]
    return metrics.scores(x.labels[x.mask].numpy(), guess.numpy(), 7)["weighted_f1"]


EIGHT = (3, 12, 5, 7, 9, 4, 8, 6)


def test_eight_dialogues_are_learned_by_heart_in_a_hundred_steps() -> None:
    assert weighted_f1_after(build(dropout=0.0), dialogues(EIGHT), 1e-2) > 0.95


@pytest.mark.full
def test_item_20_at_the_size_of_the_paper() -> None:
    """Eight random dialogues are learned by heart in a hundred steps at rate 1e-4."""
    assert weighted_f1_after(build(PAPER, "paper", dropout=0.0), dialogues(EIGHT, width=1024), 1e-4) > 0.95


def test_training_of_the_paper_is_adam_with_coupled_decay_and_33_steps_on_meld() -> None:
    training = TrainingParams(**ENTRY.recipes["paper"])
    optimizer = optimizer_of(build(), training)
    assert type(optimizer) is torch.optim.Adam
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], group["betas"], group["eps"]) == (
        1e-4,
        3e-4,
        (0.9, 0.999),
        1e-8,
    )
    assert (training.schedule, training.clip, training.l2, training.class_weights) == (
        "constant",
        None,
        "decay",
        "none",
    )
    lengths = torch.randint(
        1, 25, (1038,), generator=torch.Generator().manual_seed(0)
    )  # of MELD's train part
    n = int(lengths.sum())
    subset = Subset(
        name="train",
        utterances=(),
        in_subset=torch.ones(n, dtype=torch.bool),
        offsets=torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)]),
        features={},
        present={},
        speakers=torch.zeros(n, dtype=torch.long),
        labels=torch.zeros(n, dtype=torch.long),
        all_labels=torch.zeros(n, dtype=torch.long),
    )
    steps = list(PaddedBatches(subset).shuffled(training.batch, torch.Generator().manual_seed(0)))
    assert len(steps) == 33 and sum(len(b.mask) for b in steps) == 1038


def test_defaults_are_those_of_the_page() -> None:
    assert AvafnConfig().model_dump() == {
        "use_acm": True,
        "use_ssm": True,
        "use_ilm": True,
        "use_cam": True,
        "use_context_attention": True,
        "cam_scope": "dialogue",
        "fusion_weight": "learned_scalar",
        "combine": "sum",
        "context_attention": "scalar_tanh",
        "listener_input": "v_u",
        "listener_pool": "mean",
        "emotion_chain": "dialogue",
        "bidirectional": True,
        "d_model": 1024,
        "d_ff": 2048,
        "D_c": 150,
        "D_q": 150,
        "D_e": 100,
        "classifier_hidden": 0,
        "dropout": 0.3,
    }


def test_recurrent_states_have_no_dropout() -> None:
    model, x = build(), dialogues((6,))
    model.train()
    u, v = torch.randn(1, 6, 32), x.features["visual"]
    first, second = (model.recurrence(u, v, x.speakers, x.mask).E for _ in range(2))
    assert torch.equal(first, second)


def test_alpha_and_beta_are_logged_and_start_equal() -> None:
    assert build().epoch_statistics() == {"alpha": 0.5, "beta": 0.5}
    assert (
        build(fusion_weight="gate").epoch_statistics() == {} and build(use_cam=False).epoch_statistics() == {}
    )


def test_a_recurrence_without_any_state_is_refused() -> None:
    with pytest.raises(UsageError, match="the emotion state has no input"):
        build(use_acm=False, use_ssm=False, use_ilm=False)


MELD = Path(__file__).parents[3] / "data"
MELD_FEATURES = {"audio": ["avafn_wav2vec2"], "visual": ["avafn_dan"]}


@pytest.mark.full
@pytest.mark.skipif(
    not all((MELD / f"caches/meld/{m}/{f[0]}.test.h5").is_file() for m, f in MELD_FEATURES.items()),
    reason="needs AVAFN's features of MELD's clips (ercache extract meld --profile avafn)",
)
def test_variants_beat_the_baseline_on_meld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path))
    entry = {"model": "avafn", "corpus": "meld", "preset": "paper", "features": MELD_FEATURES}
    training = {**ENTRY.recipes["paper"], "seeds": 1}
    params = Params.model_validate(
        {"experiments": {"base": {**entry, "training": training}}, "reproduce": {"avafn": {"meld": "base"}}}
    )
    ours = [row for row in reproduce("avafn", params, MELD, corpus="meld") if row.verdict != "another system"]
    assert len(ours) == 7 and all(row.ours["weighted_f1"]["mean"] > 0.3127 for row in ours)
