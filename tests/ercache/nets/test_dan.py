"""DAN is the network of its authors: names, sizes and values."""

import copy
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ercache.nets.dan import DAN
from tests.support.tensor_lists import listed, parameters, shaken, shapes

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> DAN:
    torch.manual_seed(1)
    made = shaken(DAN())
    assert isinstance(made, DAN)
    return made


def norm(state: State, name: str, x: Tensor) -> Tensor:
    shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
    mean, var, weight, bias = (
        state[f"{name}.{key}"].view(shape) for key in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def trunk(state: State, x: Tensor) -> Tensor:
    """ResNet18 before its pool, layer by layer."""
    x = F.conv2d(x, state["features.0.weight"], stride=2, padding=3)
    x = F.max_pool2d(norm(state, "features.1", x).relu(), 3, 2, 1)
    for layer in range(4, 8):
        for block in range(2):
            at, stride = f"features.{layer}.{block}", 2 if layer > 4 and block == 0 else 1
            y = norm(
                state, f"{at}.bn1", F.conv2d(x, state[f"{at}.conv1.weight"], stride=stride, padding=1)
            ).relu()
            y = norm(state, f"{at}.bn2", F.conv2d(y, state[f"{at}.conv2.weight"], padding=1))
            if stride == 2:
                x = norm(
                    state, f"{at}.downsample.1", F.conv2d(x, state[f"{at}.downsample.0.weight"], stride=2)
                )
            x = (x + y).relu()
    return x


def head(state: State, at: str, x: Tensor) -> Tensor:
    """One cross attention head as docs/papers/avafn.md, section 3.2, describes it."""

    def unit(name: str, y: Tensor) -> Tensor:
        weight = state[f"{at}.sa.{name}.0.weight"]
        padding = (weight.shape[2] // 2, weight.shape[3] // 2)
        y = F.conv2d(y, weight, state[f"{at}.sa.{name}.0.bias"], padding=padding)
        return norm(state, f"{at}.sa.{name}.1", y)

    y = unit("conv1x1", x)
    y = (unit("conv_3x3", y) + unit("conv_1x3", y) + unit("conv_3x1", y)).relu()
    g = (x * y.sum(1)[:, None]).flatten(2).mean(2)
    a = F.linear(g, state[f"{at}.ca.attention.0.weight"], state[f"{at}.ca.attention.0.bias"])
    a = norm(state, f"{at}.ca.attention.1", a).relu()
    a = F.linear(a, state[f"{at}.ca.attention.3.weight"], state[f"{at}.ca.attention.3.bias"])
    return g / (1 + (-a).exp())


def test_dan_has_the_authors_tensors() -> None:
    names = listed("dan")
    assert len(names) == 275 and shapes(DAN()) == names
    eight = {**names, "fc.weight": [8, 512]} | {
        name: [8] for name, shape in names.items() if shape == [7] and name.startswith(("fc", "bn"))
    }
    assert shapes(DAN(8)) == eight


def test_dan_has_the_documented_number_of_parameters(network: DAN) -> None:
    assert parameters(network) == 19_723_733 and parameters(DAN(8)) == 19_724_248
    assert parameters(network.features) == 11_176_512
    assert parameters(network.get_submodule("cat_head3")) == 2_135_904


def test_dan_equals_a_literal_implementation(network: DAN) -> None:
    exact = copy.deepcopy(
        network
    ).double()  # random heads are in the thousands: float32 would hide little errors
    state = exact.state_dict()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.inference_mode():
        told = exact(x)
        features = trunk(state, x)
        stacked = torch.stack([head(state, f"cat_head{n}", features) for n in range(4)], 1)
        highest = stacked.amax(1, keepdim=True)
        heads = stacked - highest - (stacked - highest).exp().sum(1, keepdim=True).log()
        logits = norm(state, "bn", F.linear(heads.sum(1), state["fc.weight"], state["fc.bias"]))
    for found, expected in ((told.features, features), (told.heads, heads), (told.logits, logits)):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_dan_heads_stay_below_their_bound(network: DAN) -> None:
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        fused = network(x).heads.sum(1)
    assert float(fused.max()) <= -4 * math.log(4) + 1e-4  # four equal shares give the largest sum
