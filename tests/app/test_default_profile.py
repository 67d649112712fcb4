"""What the default profile gives a corpus: extractors of ours wait for their training and stay with their corpus."""

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


def test_features_wait_for_their_extractor_and_stay_with_its_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_extractors, "FOLDER", tmp_path)
    names, why = default_names(PARAMS, "demo")
    assert names == ["words"]
    assert why == {
        name: f"its extractor is not trained yet: ercache pretrain {name}" for name in ("mel", "faces")
    }
    for name in ("mel", "faces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / trained_extractors.RECORD).write_text("{}")
    assert default_names(PARAMS, "demo") == (list(FEATURES), {})
    assert default_names(PARAMS, "meld") == (
        ["words", "faces"],
        {"mel": "its extractor is trained on demo"},
    )


def test_without_features_there_is_nothing_to_extract() -> None:
    with pytest.raises(UsageError, match="no features are defined here"):
        default_names(Params(), "demo")
