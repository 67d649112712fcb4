"""Which training `ercache pretrain` runs, and how its options change the entry of params.yaml."""

from pathlib import Path
from typing import Any

import pytest

from ercache.errors import UsageError
from ercache.params.schema import Params, PretrainParams
from extract.pretrain.config import AUDIO, TEXT, VISUAL
from extract.pretrain.entry import reads_media, training_entry

PARAMS = Params(
    pretrain={
        "mel": PretrainParams(extractor=AUDIO, corpus="demo"),
        "words": PretrainParams(extractor=TEXT, corpus="demo"),
        "faces": PretrainParams(extractor=VISUAL, folder="people", labels="identity"),
        "scenes": PretrainParams(extractor=VISUAL, corpus="demo"),
    }
)


@pytest.mark.parametrize("wanted", ["mel", AUDIO])
def test_a_training_is_found_by_its_name_or_by_its_extractor(wanted: str) -> None:
    assert training_entry(PARAMS, wanted) == ("mel", PARAMS.pretrain["mel"])


def test_options_replace_fields_of_the_entry_and_another_split_gets_another_name() -> None:
    name, entry = training_entry(PARAMS, "mel", folder=Path("clips"), split="loso/Ses01", seed=3)
    assert name == "mel@loso/Ses01"
    assert (entry.folder, entry.corpus, entry.split) == ("clips", None, "loso/Ses01")
    assert entry.training == {"seed": 3}
    assert training_entry(PARAMS, "mel", split="official")[0] == "mel"


@pytest.mark.parametrize(
    ("wanted", "options", "message"),
    [
        ("meel", {}, "no training run 'meel'"),
        (VISUAL, {}, "more than one training"),
        ("words", {"folder": Path("clips")}, "needs dialogues"),
    ],
)
def test_unusable_arguments_are_refused(wanted: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        training_entry(PARAMS, wanted, **options)


def test_identities_need_a_folder() -> None:
    both = PARAMS.pretrain["faces"].model_copy(update={"corpus": "demo", "folder": None})
    with pytest.raises(UsageError, match="needs a folder"):
        training_entry(Params(pretrain={"faces": both}), "faces")


def test_only_the_text_extractor_reads_no_media() -> None:
    assert [reads_media(entry) for entry in PARAMS.pretrain.values()] == [True, False, True, True]
