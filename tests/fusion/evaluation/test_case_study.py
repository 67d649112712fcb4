"""Case studies: the attention weights of one dialogue, as in the figure of AVAFN's paper."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ercache.errors import UsageError
from ercache.manifest import read_manifest
from fusion.data.batches import Batch
from fusion.evaluation.case_study import case_study
from fusion.models.avafn.model import ENTRY, Avafn
from fusion.training.run import train_experiment
from tests.support.toy_corpus import FEATURES, toy_params, write_toy

SOUND_AND_FACE = {m: FEATURES[m] for m in ("audio", "visual")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_toy(tmp_path / "data")
    return tmp_path / "data"


def test_a_case_study_has_the_turns_and_both_kinds_of_attention_weights(data: Path) -> None:
    params = toy_params(model="avafn", features=SOUND_AND_FACE, training={"seeds": 2, "epochs": 1})
    train_experiment("exp", params, data, work=data.parent / "work")
    found = case_study(data / "models/exp", data, "train_d3", seed=1)
    turns = [u for u in read_manifest(data / "manifests/toy.jsonl").utterances if u.dialogue == "train_d3"]
    assert [turn["id"] for turn in found["turns"]] == [u.id for u in turns]
    assert [turn["label"] for turn in found["turns"]] == [u.labels["emotion7"] for u in turns]
    attention = np.array(found["audio_attention"])
    assert attention.shape == (len(turns), len(turns)) and attention.sum(1) == pytest.approx(1, abs=1e-5)
    assert len(found["history_weights"]) == len(turns) - 1
    assert sum(found["history_weights"]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(UsageError, match="no dialogue 'train_d33'"):
        case_study(data / "models/exp", data, "train_d33")


@pytest.mark.parametrize(
    "entry", [{"model": "concat"}, {"model": "avafn", "config": {"use_cam": False}}], ids=str
)
def test_a_run_without_these_attention_weights_is_refused(data: Path, entry: dict[str, object]) -> None:
    params = toy_params(features=SOUND_AND_FACE, training={"seeds": 1, "epochs": 1}, **entry)
    train_experiment("exp", params, data, work=data.parent / "work")
    with pytest.raises(UsageError, match="lacks the attention weights that a case study shows"):
        case_study(data / "models/exp", data, "train_d3")


def test_the_dialogue_of_the_figure_has_seven_scores_and_six_earlier_contexts() -> None:
    model = Avafn({"audio": 32, "visual": 32}, 7, ENTRY.resolve("small", {})).eval()  # type: ignore[arg-type]
    speakers = torch.tensor([[0, 1, 0, 1, 0, 0, 1]])  # Joey and Rachel, train dialogue 1 of MELD
    mask = torch.ones_like(speakers, dtype=torch.bool)
    features = {m: torch.randn(1, 7, 32) for m in ("audio", "visual")}
    x = Batch(features, dict.fromkeys(features, mask), mask, speakers, torch.tensor([[1, 3, 1, 2, 0, 0, 0]]))
    heard = model.cross_attention(x)["visual"][0, -1]
    assert heard.shape == (7,) and heard.sum().item() == pytest.approx(1, abs=1e-5)
    past = model.history_weights(x)[0, 0]
    assert past.shape == (6,) and past.sum().item() == pytest.approx(1, abs=1e-5)
