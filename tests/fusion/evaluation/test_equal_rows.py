"""Rows that are one network here, but several in the paper, are trained once; the others say why they are not."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ercache.params.schema import ExperimentParams, Params
from fusion.evaluation import reproduce as module
from fusion.evaluation.equal_rows import idle_switches, resolved, without_effect
from fusion.evaluation.reproduce import entry_of, reproduce
from fusion.models import MODELS
from fusion.models.base import ModelEntry
from fusion.papers import read_paper
from tests.support.cues_batches import batch_of, model_of, utterance
from tests.support.paper_runs import paper_record
from tests.support.toy_corpus import toy_params, write_toy

TOKENS = {"text": ["words:tokens"], "audio": ["sound:frames"]}
WHOLE = {
    "text": ["kwrt:tokens", "kwrt:words", "kwrt:matrix"],
    "audio": ["wavlm:frames", "mel:tokens"],
}


def params(paper: str, **entry: Any) -> Params:
    base = toy_params(model=paper, **entry)
    return base.model_copy(update={"reproduce": {paper: {"toy": "exp"}}})


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ExperimentParams]:
    """The experiments that would be trained; every run has the scores of a stand-in."""
    entries: list[ExperimentParams] = []
    record = paper_record("cues", "iemocap", "epc").model_copy(update={"corpus": "toy", "classes": []})
    monkeypatch.setattr(
        module, "_trained", lambda entry, *_: entries.append(entry) or tmp_path / "models/run"
    )
    monkeypatch.setattr(module, "read_run", lambda _: record)
    return entries


def test_rows_of_cues_that_are_one_network_here_are_trained_once(
    trained: list[ExperimentParams], tmp_path: Path
) -> None:
    rows = {r.row: r for r in reproduce("cues", params("cues", features=TOKENS), tmp_path, table="3")}
    assert {name: row.verdict for name, row in rows.items()} == {
        "full": "stand-in",
        "w/o KWRT": "no effect here",
        "w/o PE": "stand-in",
        "w/o TMF": "no effect here",
    }
    assert [entry.config["pe"] for entry in trained] == [True, False]
    assert rows["w/o KWRT"].why == (
        "the same network as 'full': `kwrt` needs a matrix of word relations, and no feature has one"
    )
    assert rows["w/o TMF"].why == "the same network as 'full': the experiment has `mfm_blocks: 0` anyway"
    assert rows["w/o TMF"].ours == {} and rows["w/o TMF"].run == ""


def test_one_row_alone_has_no_effect_either(trained: list[ExperimentParams], tmp_path: Path) -> None:
    loaded = params("cues", features=TOKENS)
    (row,) = reproduce("cues", loaded, tmp_path, table="3", row="w/o KWRT")
    assert row.verdict == "no effect here" and trained == []


def test_with_the_papers_features_and_sizes_every_row_is_a_network_of_its_own(
    trained: list[ExperimentParams], tmp_path: Path
) -> None:
    rows = list(reproduce("cues", params("cues", features=WHOLE, preset="paper"), tmp_path, table="3"))
    assert [row.verdict for row in rows] == ["stand-in"] * 4 and len(trained) == 4


def test_the_full_system_is_kept_also_where_it_is_the_last_row() -> None:
    table = read_paper("avafn").select("3")[0]
    base = toy_params(model="avafn", features={"audio": ["sound"], "visual": ["face"]}).experiments["exp"]
    without = base.model_copy(update={"config": {"use_acm": False}})
    entries = {row.name: without for row in table.rows}
    assert set(without_effect(read_paper("avafn"), table, entries)) == {
        "AVAFN w/o ACM",
        "AVAFN w/o SSM",
        "AVAFN w/o ILM",
    }


def test_rows_that_are_one_network_in_the_paper_are_no_rows_without_effect() -> None:
    """N = 1 of Table 4 and m = 5 of Table 5 are M2FNet itself; a base with other values makes no row idle."""
    paper = read_paper("m2fnet")
    base = toy_params(model="m2fnet", config={"fusion_m": 1}).experiments["exp"]
    for table in paper.select(None):
        rows = [row for row in table.rows if row.model and not row.arrays]
        assert without_effect(paper, table, {r.name: entry_of(r, base, "exp") for r in rows}) == {}


def test_equal_rows_of_several_tables_share_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    write_toy(tmp_path)
    runs: list[str] = []
    train = module.train_experiment
    monkeypatch.setattr(
        module, "train_experiment", lambda name, *a, **k: runs.append(name) or train(name, *a, **k)
    )
    small = {"project": 8, "ffn": 8, "head_hidden": 8, "fusion_m": 1}
    loaded = params("m2fnet", config=small, training={"seeds": 1, "epochs": 1})
    pairs = (("2", "Text + Visual + Audio, Fusion"), ("4", "N = 1"), ("5", "m = 1"))
    found = [next(reproduce("m2fnet", loaded, tmp_path, table=t, row=r)) for t, r in pairs]
    assert len({row.run for row in found}) == 1 and len(runs) == 1
    train("exp", loaded, tmp_path)
    (row,) = reproduce("m2fnet", loaded, tmp_path, table="5", row="m = 2")
    assert row.run != found[0].run and len(runs) == 2
    assert resolved(loaded.experiments["exp"]).config["fusion_m"] == 1


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.key)
def test_idle_switches_are_switches(model: ModelEntry) -> None:
    for preset in model.presets:
        config = model.resolve(preset, {})
        assert set(model.idle(config, ())) <= set(type(config).model_fields)


def test_an_idle_switch_of_cues_changes_no_logit() -> None:
    """Without a matrix of relations, each switch of the word weights leaves the network as it is."""
    widths = {"text": 6, "words": 3, "audio": 5}
    batch = batch_of([[utterance(1), utterance(2)], [utterance(3)]])
    entry = toy_params(model="cues", features={"text": ["a", "b"], "audio": ["c"]}).experiments["exp"]
    changed = {
        "kwrt": False,
        "squeeze": "max",
        "kwrt_linear": "full",
        "kwrt_symmetric": False,
    }
    assert set(idle_switches(entry)) == set(changed)
    with torch.no_grad():
        usual = model_of(widths)(batch)
        for name, value in changed.items():
            assert torch.equal(model_of(widths, **{name: value})(batch), usual), name
        assert not torch.equal(model_of(widths, pe=False)(batch), usual)


def test_without_speech_what_concerns_speech_is_idle() -> None:
    batch = batch_of([[utterance(1)]])
    whole = ["a", "b", "c"]
    entry = toy_params(model="cues", features={"text": whole}).experiments["exp"]
    assert set(idle_switches(entry)) == {"pe", "mfm_blocks"}
    widths = {"text": 6, "words": 3, "matrix": 1}
    with torch.no_grad():
        usual = model_of(widths)(batch)
        assert torch.equal(model_of(widths, pe=False)(batch), usual)
        assert torch.equal(model_of(widths, mfm_blocks=2)(batch), usual)
