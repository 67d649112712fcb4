"""EfficientFace is the network of its authors: names, sizes and values."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ercache.nets.efficientface import EfficientFace, InvertedResidual, shuffled
from tests.support.tensor_lists import listed, parameters, shaken, shapes

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def network() -> EfficientFace:
    torch.manual_seed(1)
    made = shaken(EfficientFace())
    assert isinstance(made, EfficientFace)
    return made


class Literal:
    """EfficientFace as docs/papers/avtca.md, sections 4.1 to 4.5, describes it, on its tensors."""

    def __init__(self, state: State) -> None:
        self.state = state

    def norm(self, name: str, x: Tensor) -> Tensor:
        s = self.state
        return F.batch_norm(
            x, s[f"{name}.running_mean"], s[f"{name}.running_var"], s[f"{name}.weight"], s[f"{name}.bias"]
        )

    def conv(self, name: str, x: Tensor, **how: int) -> Tensor:
        return F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), **how)

    def unit(self, at: str, x: Tensor, stride: int) -> Tensor:
        if stride == 2:
            left = self.norm(
                f"{at}.branch1.1",
                self.conv(f"{at}.branch1.0", x, stride=2, padding=1, groups=x.shape[1]),
            )
            left = self.norm(f"{at}.branch1.3", self.conv(f"{at}.branch1.2", left)).relu()
            right = x
        else:
            left, right = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
        right = self.norm(f"{at}.branch2.1", self.conv(f"{at}.branch2.0", right)).relu()
        right = self.conv(f"{at}.branch2.3", right, stride=stride, padding=1, groups=right.shape[1])
        right = self.conv(f"{at}.branch2.5", self.norm(f"{at}.branch2.4", right))
        right = self.norm(f"{at}.branch2.6", right).relu()
        order = torch.arange(2 * left.shape[1]).view(2, -1).T.flatten()
        return torch.cat([left, right], 1)[:, order]

    def stage(self, n: int, units: int, x: Tensor) -> Tensor:
        for m in range(units):
            x = self.unit(f"stage{n}.{m}", x, 2 if m == 0 else 1)
        return x

    def modulated(self, x: Tensor) -> Tensor:
        s, at = self.state, "modulator.channel_att.gate_c.gate_c"
        c = F.linear(x.mean((2, 3)), s[f"{at}_fc_0.weight"], s[f"{at}_fc_0.bias"])
        c = F.linear(self.norm(f"{at}_bn_1", c).relu(), s[f"{at}_fc_final.weight"], s[f"{at}_fc_final.bias"])
        at = "modulator.spatial_att.gate_s.gate_s"
        p = self.norm(f"{at}_bn_reduce0", self.conv(f"{at}_conv_reduce0", x)).relu()
        for n in range(2):
            p = self.norm(f"{at}_bn_di_{n}", self.conv(f"{at}_conv_di_{n}", p, padding=4, dilation=4)).relu()
        return (c[:, :, None, None] * self.conv(f"{at}_conv_final", p)).sigmoid() * x

    def local(self, x: Tensor) -> Tensor:
        out = torch.empty(len(x), 116, 28, 28, dtype=x.dtype)
        for n, (top, left) in enumerate(((0, 0), (28, 0), (0, 28), (28, 28)), 1):
            y = x[:, :, top : top + 28, left : left + 28]
            y = self.norm(
                f"local.bn{n}_1", self.conv(f"local.conv{n}_1", y, stride=2, padding=1, groups=29)
            ).relu()
            y = self.norm(f"local.bn{n}_2", self.conv(f"local.conv{n}_2", y, padding=1, groups=116)).relu()
            out[:, :, top // 2 : top // 2 + 14, left // 2 : left // 2 + 14] = y
        return out

    def __call__(self, x: Tensor) -> Tensor:
        x = self.norm("conv1.1", self.conv("conv1.0", x, stride=2, padding=1)).relu()
        x = F.max_pool2d(x, 3, 2, 1)
        x = self.modulated(self.stage(2, 4, x)) + self.local(x)
        x = self.stage(4, 4, self.stage(3, 8, x))
        return self.norm("conv5.1", self.conv("conv5.0", x)).relu().mean((2, 3))


def test_efficientface_has_the_authors_tensors_without_the_head() -> None:
    names = listed("efficientface")
    kept = {name: shape for name, shape in names.items() if not name.startswith("fc.")}
    assert len(kept) == 416 and shapes(EfficientFace()) == kept
    assert names["fc.weight"] == [7, 1024]


def test_efficientface_has_the_documented_number_of_parameters(network: EfficientFace) -> None:
    parts = {name: parameters(part) for name, part in network.named_children()}
    assert parts == {
        "conv1": 841,
        "stage2": 30_827,
        "stage3": 244_180,
        "stage4": 501_352,
        "local": 10_208,
        "modulator": 1_761 + 1_765,
        "conv5": 477_184,
    }
    assert parameters(network) == 1_268_118
    units = [InvertedResidual(i, o, s) for i, o, s in ((29, 116, 2), (116, 116, 1), (232, 464, 2))]
    assert [parameters(unit) for unit in units] == [8_033, 7_598, 167_968]


def test_efficientface_equals_a_literal_implementation(network: EfficientFace) -> None:
    literal = Literal({name: tensor.double() for name, tensor in network.state_dict().items()})
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        found, expected = network(x), literal(x.double())
    assert found.shape == (2, 1024) and float(found.std()) > 0.01
    assert float((found - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@pytest.mark.parametrize("side", [112, 160, 192, 256])
def test_efficientface_refuses_other_sizes(network: EfficientFace, side: int) -> None:
    with pytest.raises(ValueError, match="224 x 224"):
        network(torch.zeros(1, 3, side, side))


def test_shuffle_interleaves_the_halves() -> None:
    assert shuffled(torch.arange(6.0).view(1, 6, 1, 1)).flatten().tolist() == [0, 3, 1, 4, 2, 5]
