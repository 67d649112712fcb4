"""JAA-Net is the network of its authors: names, sizes, attentions and joint head."""

import pytest
import torch
from torch import Tensor

from ercache.nets.jaa_net import AUS, PARTS, UNUSED, JaaNet, LocalConvolution, attention_maps, au_centres
from tests.support.tensor_lists import listed, parameters, shaken, shapes


@pytest.fixture(scope="module")
def network() -> JaaNet:
    torch.manual_seed(1)
    made = shaken(JaaNet(**{name: kind() for name, kind in PARTS.items()}))  # type: ignore[arg-type]
    assert isinstance(made, JaaNet)
    with torch.no_grad():
        made.align_net.align_output[1].bias.uniform_(20, 150)  # landmarks inside the picture
    return made


@pytest.mark.parametrize("part", PARTS)
def test_jaa_net_has_the_authors_tensors_file_by_file(part: str) -> None:
    names = listed("jaa_net", part)
    kept = {name: shape for name, shape in names.items() if not name.startswith(UNUSED)}
    assert shapes(PARTS[part]()) == kept
    assert (len(names) > len(kept)) == (part == "local_au_net")  # the heads of version 2


def test_jaa_net_has_the_sizes_of_its_layers(network: JaaNet) -> None:
    def convolution(i: int, o: int) -> int:
        return (9 * i + 1) * o

    branch = sum(convolution(i, o) + convolution(o, o) + 4 * o for i, o in ((64, 96), (96, 128), (128, 160)))
    tiles = sum(
        convolution(3 if o == 32 else 32, o)
        + 64 * (2 * o + convolution(o, o // 2))
        + 16 * (o + convolution(o // 2, o // 4))
        + 4 * (o // 2 + convolution(o // 4, o // 4))
        + 2 * o
        for o in (32, 64)
    )
    attention = convolution(1, 64) + 2 * convolution(64, 64) + 3 * 2 * 64 + convolution(64, 1)
    expected = {
        "region_learning": tiles,
        "align_net": branch + 4001 * 512 + 513 * 98,
        "local_attention_refine": 12 * attention,
        "local_au_net": 12 * branch,
        "global_au_feat": branch,
        "au_net": 12001 * 512 + 513 * 24,
    }
    assert {name: parameters(part) for name, part in network.named_children()} == expected
    assert parameters(network) == 22_162_854


def test_jaa_net_gives_hidden_layer_probabilities_and_landmarks(network: JaaNet) -> None:
    x = torch.rand(2, 3, 176, 176, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.inference_mode():
        told = network(x)
        regions = network.region_learning(x)
        aligned, landmarks = network.align_net(regions)
        maps = network.local_attention_refine(attention_maps(landmarks))
        one = [b(regions * maps[:, [n]]) for n, b in enumerate(network.local_au_net.local_aus_branch)]
        joined = torch.cat([aligned, network.global_au_feat(regions), sum(one) / 12], 1).flatten(1)
        hidden = network.au_net.au_output[0](joined)
        scores = network.au_net.au_output[1](hidden)
    assert regions.shape == (2, 64, 44, 44) and aligned.shape == (2, 160, 5, 5) and maps.shape[2:] == (44, 44)
    torch.testing.assert_close(told.hidden, hidden, rtol=1e-4, atol=1e-4)
    # view [2, 12]: the first twelve scores are those of absence
    torch.testing.assert_close(
        told.probabilities, (scores[:, 12:] - scores[:, :12]).sigmoid(), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(told.landmarks, landmarks)
    assert told.probabilities.shape == (2, len(AUS)) and told.landmarks.shape == (2, 49, 2)


def test_tiles_are_convolved_separately_and_put_back() -> None:
    layer = LocalConvolution(2, 1, 1).eval()
    with torch.no_grad():
        for n, convolution in enumerate(layer.convs):
            convolution.weight.zero_()
            convolution.weight[..., 1, 1] = n + 1.0
            convolution.bias.zero_()
        found = layer(torch.ones(1, 1, 4, 4))[0, 0]
    expected = torch.tensor([[1.0, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])
    torch.testing.assert_close(found, expected / (1 + 1e-5) ** 0.5)


def landmarks_with(**points: tuple[float, float]) -> Tensor:
    """Landmarks [1, 49, 2] at the middle of the crop but for those that are given, as `p4=(x, y)`."""
    found = torch.full((1, 49, 2), 88.0)
    for name, place in points.items():
        found[0, int(name[1:])] = torch.tensor(place)
    return found


def test_centres_are_shifted_from_landmarks_by_shares_of_the_eye_distance() -> None:
    landmarks = landmarks_with(
        p22=(70, 60), p25=(100, 60), p4=(80, 50), p5=(95, 50), p24=(60, 65), p41=(90, 120)
    )
    centres = au_centres(landmarks)[0]
    assert centres[0].tolist() == [[80, 35], [95, 35]]  # AU 1: half of 30 above the inner brows
    assert centres[3, 0].tolist() == [60, 95]  # AU 6: 30 below the eye
    assert centres[9, 1].tolist() == [90, 135]  # AU 17
    assert (centres[6] == centres[7]).all() and (centres[6] == centres[8]).all()


def test_attention_falls_with_city_block_distance_and_ends_at_its_radius() -> None:
    landmarks = landmarks_with(p31=(44, 88), p37=(132, 88))  # AU 12; 44 and 132 are 13 and 39 of 52
    light = attention_maps(landmarks)[0, 6]
    assert light.shape == (52, 52) and light[26, 13] == 1 and light[26, 39] == 1
    step = 0.56 / (52 * 0.14)
    assert float(light[27, 13]) == pytest.approx(1 - step) and float(light[29, 15]) == pytest.approx(
        1 - 5 * step
    )
    assert float(light[30, 17]) == pytest.approx(1 - 8 * step) and light[31, 13] == 0 and light[26, 18] == 0


def test_a_centre_outside_the_picture_still_contributes_inside() -> None:
    light = attention_maps(landmarks_with(p31=(-6.8, 88), p37=(-400, -400)))[0, 6]  # x of -2
    step = 0.56 / (52 * 0.14)
    assert float(light[26, 0]) == pytest.approx(1 - 2 * step) and float(light[0, 0]) == 0
