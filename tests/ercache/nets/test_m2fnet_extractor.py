"""The extractor of M2FNet has the paper's sizes and takes torchvision's weights."""

import pytest
import torch
from torchvision.models import resnet18

from ercache.errors import WeightsError
from ercache.nets.m2fnet import Extractor, normalised, start_from_imagenet


def test_images_become_300_numbers_and_the_parameters_are_those_of_the_paper() -> None:
    extractor = Extractor().eval()
    assert sum(p.numel() for p in extractor.parameters()) == 11_330_412
    assert sum(p.numel() for p in extractor.encoder.parameters()) == 11_176_512
    with torch.inference_mode():
        assert extractor(torch.zeros(2, 3, 224, 224)).shape == (2, 300)
        assert extractor.encode(torch.zeros(1, 3, 112, 112)).shape == (1, 512)


def test_the_encoder_starts_from_torchvisions_resnet18_and_refuses_other_tensors() -> None:
    extractor, source = Extractor(), resnet18(weights=None)
    start_from_imagenet(extractor, source.state_dict())
    images = torch.rand(2, 3, 64, 64)
    source.fc = torch.nn.Identity()
    assert torch.equal(extractor.eval().encode(images), source.eval()(images))
    with pytest.raises(WeightsError, match="does not fit"):
        start_from_imagenet(extractor, {"conv1.weight": torch.zeros(64, 3, 7, 7)})


def test_images_are_normalised_with_the_statistics_of_imagenet() -> None:
    image = torch.tensor([0, 255, 128], dtype=torch.uint8).expand(1, 2, 4, 3)
    values = normalised(image)
    assert values.shape == (1, 3, 2, 4)
    expected = [(0 - 0.485) / 0.229, (1 - 0.456) / 0.224, (128 / 255 - 0.406) / 0.225]
    assert values[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-6)
