"""docs/systems.md: what is compared with what, and tables that say just what the runs say."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.docs_pages.systems import BEGIN, DIFFERS, END, sections, tables_text, write_page
from app.docs_pages.tables import page_with_table
from app.systems import (
    against_reference,
    against_single,
    comparable_groups,
    rank_models,
    reference_of,
    trained_systems,
)
from ercache.errors import UsageError
from ercache.params.schema import Params
from fusion.evaluation.scored_run import read_scored_runs
from fusion.evaluation.significance import compare_pair, holm
from fusion.papers import papers
from fusion.training.run import train_experiment
from tests.support.toy_corpus import FEATURES, write_toy

ROOT = Path(__file__).parents[3]
SHORT = {"seeds": 2, "epochs": 4, "batch": 4, "lr": 0.01}


def params() -> Params:
    experiments: dict[str, Any] = {}
    for model in ("bc_lstm", "concat"):
        entry = {"model": model, "corpus": "toy", "training": SHORT}
        experiments[model] = {**entry, "features": FEATURES}
        experiments[f"{model}_text"] = {**entry, "features": {"text": ["words"]}}
    experiments["untrained"] = {"model": "logistic", "corpus": "toy", "features": FEATURES}
    return Params.model_validate({"experiments": experiments})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("systems") / "data"
    write_toy(folder)
    for name in params().experiments:
        if name != "untrained":
            train_experiment(name, params(), folder, work=folder.parent / "work")
    return folder


def test_models_are_compared_with_the_reference_and_with_their_single_modalities(data: Path) -> None:
    (group,) = comparable_groups(trained_systems(params(), data / "models"))
    models, singles = against_reference(group), against_single(group)
    assert {r["system"] for r in models} == {"bc_lstm", "concat"}
    scores = [r["test"]["weighted_f1"]["mean"] for r in models]
    assert scores == sorted(scores, reverse=True)
    (compared,) = [r for r in models if "p" in r]
    a, b = read_scored_runs([data / "models/concat", data / "models/bc_lstm"])
    pair = compare_pair(a, b)
    assert compared["system"] == "concat" and compared["difference"] == pair["difference"]
    assert compared["p"] == pair["p"]  # one comparison needs no correction
    assert [(r["system"], r["full"]) for r in singles] == [
        ("bc_lstm_text", "bc_lstm"),
        ("concat_text", "concat"),
    ]
    raw = []
    for r in singles:
        a, b = read_scored_runs([data / "models" / r["full"], data / "models" / r["system"]])
        raw.append(compare_pair(a, b)["p"])
        assert r["better"] == (r["difference"] > 0 and r["p"] < 0.05)
    assert [r["p"] for r in singles] == holm(raw)


def test_the_tables_hold_every_run_and_its_search(data: Path) -> None:
    log = data / "reports/sweeps/concat.csv"
    log.parent.mkdir(parents=True)
    head = "number,search,config,validation_weighted_f1,std,reason\n"
    row = '{n},{s},"{{""training.lr"":{lr}}}",{f1},0.0,\n'
    log.write_text(
        head + row.format(n=0, s="old", lr=9, f1=0.9) + row.format(n=0, s="new", lr=0.01, f1=0.5)
        + row.format(n=1, s="new", lr=0.1, f1=0.4)
    )  # fmt: skip
    text = tables_text(
        sections(trained_systems(params(), data / "models")), params(), data / "reports/sweeps", "page"
    )
    assert "## toy: erc, emotion7, split official (face, sound, words)" in text
    assert "| `concat` | 2 | 0.500 | lr 0.01 |" in text and "| `bc_lstm` | 0 |  | defaults |" in text
    run = json.loads((data / "models/concat/run.json").read_text())["test"]["weighted_f1"]
    assert f"{run['mean']:.3f} ({run['std']:.3f})" in text
    log.write_text(head + row.format(n=0, s="new", lr=0.1, f1=0.5))
    text = tables_text(
        sections(trained_systems(params(), data / "models")), params(), data / "reports/sweeps", "page"
    )
    assert "| `concat` | 1 | 0.500 | another one than the best |" in text


def test_the_page_shows_the_ranking_as_a_picture_and_in_words(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}{END}")
    systems = trained_systems(params(), data / "models")
    assert write_page(page, systems, params(), data / "reports/sweeps")
    (picture,) = tmp_path.glob("*.png")
    assert picture.name == "page-toy-erc-emotion7-official.png" and f"]({picture.name})" in page.read_text()
    drawn = picture.read_bytes()
    assert not write_page(page, systems, params(), data / "reports/sweeps") and picture.read_bytes() == drawn
    found = rank_models(comparable_groups(systems)[0])
    assert found is not None and set(found.names) == {"bc_lstm", "concat"}
    for name, rank in zip(found.names, found.ranks, strict=True):
        assert f"`{name}` {rank:.2f}" in page.read_text()


def test_prediction_is_compared_with_repeating_the_last_label(data: Path) -> None:
    (group,) = comparable_groups(trained_systems(params(), data / "models"))
    assert reference_of(group) == "bc_lstm"
    ahead = [replace(s, entry=s.entry.model_copy(update={"task": "epc"})) for s in group]
    assert reference_of(ahead) == "copy_last" and all("p" not in row for row in against_reference(ahead))


def test_the_page_shows_every_ablation(data: Path) -> None:
    log = data / "reports/readings/concat.csv"
    log.parent.mkdir(parents=True)
    log.write_text(
        "number,search,config,validation_weighted_f1,std,reason\n0,s,{},0.5,0.01,\n"
        '1,s,"{""config.dropout"":0.9}",0.4,0.02,\n2,s,"{""config.hidden"":3}",0.0,0.0,loss is nan\n'
    )
    text = tables_text(
        sections(trained_systems(params(), data / "models")), params(), data / "reports/sweeps", "page"
    )
    assert (
        "## Open choices of concat: `concat` on toy, validation, 2 seeds" in text and "0.500 (0.010)" in text
    )
    (row,) = re.findall(r"^\|.* `dropout` \|.*$", text, re.MULTILINE)
    assert row.endswith("| 0.9 | 0.400 (0.020) | -0.100 |")
    assert "| 3 | loss is nan |  |" in text
    log.unlink()


def test_a_run_with_other_switches_is_refused(data: Path) -> None:
    changed = params().model_dump()
    changed["experiments"]["concat"]["config"] = {"hidden": 8}
    with pytest.raises(UsageError, match=r"with other params than params\.yaml has") as told:
        trained_systems(Params.model_validate(changed), data / "models")
    assert "models/concat" in told.value.details[0] and str(told.value.hint).endswith(
        "ercache train EXPERIMENT"
    )


def test_the_page_has_its_place_and_a_row_for_every_model() -> None:
    page = (ROOT / "docs/systems.md").read_text(encoding="utf-8")
    assert page_with_table(page, "x", BEGIN, END) != page
    experiments = yaml.safe_load((ROOT / "params.yaml").read_text())["experiments"]
    shown = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert shown <= set(experiments)
    neural = {"m2fnet", "avafn", "bc_lstm", "dialogue_rnn", "mmgcn", "transformer", "concat"}
    assert neural | {"logistic", "majority"} <= {experiments[name]["model"] for name in shown}


def test_a_model_of_a_paper_says_in_which_points_it_is_not_the_papers_system(data: Path) -> None:
    told = {"concat": ["corpus toy, the paper uses meld", "split a", "history 3"], "concat_text": []}
    systems = [
        replace(s, run=s.run.model_copy(update={"deviations": told.get(s.name)}))
        for s in trained_systems(params(), data / "models")
    ]
    text = tables_text(sections(systems), params(), data / "reports/sweeps", "page")
    rows = {row.split("`")[1]: row for row in text.splitlines() if row.startswith("| `")}
    tables = [part for part in text.split("\n\n") if DIFFERS in part.splitlines()[0]]
    cells = {row.split("`")[1]: row.split(" | ")[-1] for part in tables for row in part.splitlines()[2:]}
    assert cells == {
        "bc_lstm": " |",
        "concat": "3 points |",
        "bc_lstm_text": " |",
        "concat_text": "nothing |",
    }
    assert rows.keys() == cells.keys()
    assert (
        "- `concat` is the model of [its paper](papers/concat.md), not the paper's system: "
        "corpus toy, the paper uses meld; split a; and 1 more"
    ) in text
    assert "`bc_lstm` is the model of" not in text


def test_no_row_of_the_page_has_a_papers_model_without_its_deviations() -> None:
    text = (ROOT / "docs/systems.md").read_text(encoding="utf-8")
    experiments = yaml.safe_load((ROOT / "params.yaml").read_text())["experiments"]
    scored = [part for part in text.split("\n\n") if "| p McNemar |" in part.splitlines()[0]]
    rows = [row for part in scored for row in part.splitlines()[2:]]
    assert len(rows) > 40 and all(DIFFERS in part.splitlines()[0] for part in scored)
    for row in rows:
        of_paper = experiments[row.split("`")[1]]["model"] in papers()
        assert bool(re.search(r"\| [1-9]\d* points \|$", row)) == of_paper, row
    choices = [line for line in text.splitlines() if line.startswith("Unchanged: ")]
    assert choices and all("differs from its paper in" in line for line in choices)
