"""The default profile of a corpus: features of an extractor need its training and belong to the corpus of it."""

from pathlib import Path

import pytest

from app.features import check_extractors, default_names
from ercache import trained_extractors
from ercache.errors import UsageError
from ercache.params.schema import FeatureParams, Params, PretrainParams
from extract.encoders import ENCODERS
from extract.engine import Feature

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


def feature(name: str, seen: dict[str, list[str]] | None) -> Feature:
    kind = ENCODERS["audio/mel-resnet18"]
    record = {"id": f"made/{name}"}
    return Feature(name, kind, kind.Params(pretrained=name), record, None, seen)


def test_an_extractor_of_another_corpus_is_refused_or_marked() -> None:
    mine = feature("mel", {"meld": ["train_dia0_utt0"]})
    images = feature("faces", {"casia": ["0000045/001.jpg"]})
    theirs = feature("theirs", {"demo": ["train_dia0_utt0"]})
    assert check_extractors([mine, images], "meld", PARAMS, allow_foreign=False) == [mine, images]
    with pytest.raises(UsageError, match="extractors trained on another corpus") as caught:
        check_extractors([mine, theirs, images], "meld", PARAMS, allow_foreign=False)
    assert caught.value.details == ("theirs: its extractor was trained on demo",)
    marked = check_extractors([mine, theirs, images], "meld", PARAMS, allow_foreign=True)
    assert [f.weights and f.weights.get("trained_on") for f in marked] == [None, ["demo"], None]
    assert marked[1].recipe != theirs.recipe, "its units are not those of an extractor of this corpus"


def test_without_features_there_is_nothing_to_extract() -> None:
    with pytest.raises(UsageError, match="defines no features"):
        default_names(Params(), "demo")
