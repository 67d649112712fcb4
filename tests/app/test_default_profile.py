"""The default profile of a corpus: features of an extractor need its training and belong to the corpus of it."""

from pathlib import Path

import pytest

from app.features import default_names
from ercache import trained_extractors
from ercache.errors import UsageError
from ercache.params.schema import FeatureParams, Params, PretrainParams

FEATURES = {
    "words": FeatureParams(encoder="text/minilm"),
    "mel": FeatureParams(encoder="audio/mel-resnet18", pretrained="mel"),  # type: ignore[call-arg]
    "faces": FeatureParams(encoder="visual/m2fnet-dual", pretrained="faces"),  # type: ignore[call-arg]
}
PARAMS = Params(
    features=FEATURES,
    profiles={"default": list(FEATURES)},
    pretrain={
        "mel": PretrainParams(extractor="audio/mel-resnet18", corpus="demo"),
        "faces": PretrainParams(extractor="visual/m2fnet-dual", folder="faces"),
    },
)


def test_features_are_left_out_until_their_extractor_is_trained_and_on_other_corpora(tmp_path: Path) -> None:
    names, why = default_names(PARAMS, "demo", tmp_path)
    assert names == ["words"]
    assert why == {
        name: f"its extractor is not trained yet: ercache pretrain {name}" for name in ("mel", "faces")
    }
    for name in ("mel", "faces"):
        folder = trained_extractors.extractor_folder(tmp_path, name)
        folder.mkdir(parents=True)
        (folder / trained_extractors.RECORD).write_text("{}")
    assert default_names(PARAMS, "demo", tmp_path) == (list(FEATURES), {})
    assert default_names(PARAMS, "meld", tmp_path) == (
        ["words", "faces"],
        {"mel": "its extractor is trained on demo"},
    )


def test_without_features_there_is_nothing_to_extract() -> None:
    with pytest.raises(UsageError, match="no features are defined here"):
        default_names(Params(), "demo")
