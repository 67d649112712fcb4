"""The reference of bench/fusion.py is the same network, and the figures are of an epoch of MELD's shape."""

import pytest
import torch

from bench import fusion
from bench.peers import FORWARDS, collate, loader
from fusion.data.batches import PaddedBatches
from fusion.models import MODELS


def test_the_synthetic_dialogues_have_the_shape_of_meld() -> None:
    subset = fusion.meld_shaped({"text": 2})
    assert len(subset.lengths) == 1038 and len(subset.utterances) == 9989 == len(subset.speakers)
    assert int(subset.lengths.max()) == 24 and int(subset.speakers.max()) == 8
    assert (subset.features["text"][~subset.present["text"]] == 0).all()


@pytest.mark.parametrize("key", list(fusion.SIZES))
def test_the_reference_gives_the_same_outputs(key: str) -> None:
    widths = {m: 8 for m in fusion.SIZES[key][0]}
    torch.manual_seed(0)
    model = MODELS[key].build(widths, 7, MODELS[key].resolve("small", {}))
    padded = PaddedBatches(fusion.meld_shaped(widths, 0.03))
    assert fusion.largest_difference(model, FORWARDS[key], padded) < 1e-5


def test_every_neural_model_is_measured() -> None:
    assert (
        set(fusion.SIZES)
        == set(FORWARDS)
        == {key for key in MODELS if not MODELS[key].roles} - {"majority", "copy_last"}
    )


def test_the_loader_of_the_reference_gives_our_batches() -> None:
    subset = fusion.meld_shaped({"text": 3, "audio": 2}, 0.01)
    items = loader(subset, 4).dataset
    theirs, ours = collate([items[d] for d in (2, 0, 5)]), PaddedBatches(subset).batch([2, 0, 5])
    for name in ("mask", "speakers", "labels"):
        assert torch.equal(getattr(theirs, name), getattr(ours, name))
    assert all(torch.equal(theirs.features[m], ours.features[m]) for m in ours.features)
    assert all(torch.equal(theirs.present[m], ours.present[m]) for m in ours.present)
