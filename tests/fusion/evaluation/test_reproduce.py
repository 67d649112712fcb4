"""Published tables: complete data, rows as experiments, no run trained twice, correct verdicts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app.commands.reproduction import _cells
from ercache.cache import ArraySpec, Entry, Status, content_digest
from ercache.cache_writer import write_cache
from ercache.errors import UsageError
from ercache.manifest import write_manifest
from ercache.params.schema import Params
from fusion.evaluation import reproduce as module
from fusion.evaluation.reproduce import base_of, entry_of, reproduce, shares_among
from fusion.experiment.source import read_source
from fusion.models import MODELS
from fusion.models.base import parameters
from fusion.papers import papers, read_paper
from fusion.runs.schema import ClassScore, Score
from tests.support.paper_runs import paper_record
from tests.support.toy_corpus import CLASSES, toy_params, toy_vectors, write_toy

SIZES = {
    "m2fnet": {"2": 8, "3": 3, "4": 6, "5": 6, "6": 14, "7": 6},
    "avafn": {"2": 13, "3": 4},
    "avtca": {"4": 8, "5": 7, "6": 6, "8": 5, "9": 5},
    "cues": {"1": 9, "2": 9, "3": 4},
    "amuse": {"1": 27, "2": 19, "accuracy": 2, "3": 3, "4": 4, "5": 4},
}
SMALL = {"project": 8, "ffn": 8, "head_hidden": 8, "fusion_m": 1}


def params(**entry: Any) -> Params:
    base = toy_params(model="m2fnet", config=SMALL, training={"seeds": 1, "epochs": 2}, **entry)
    return base.model_copy(update={"reproduce": {"m2fnet": {"toy": "exp"}}})


@pytest.mark.parametrize("key", papers())
def test_every_row_of_a_table_is_there_and_its_switches_are_switches_of_the_model(key: str) -> None:
    paper = read_paper(key)
    assert {t.key: len(t.rows) for t in paper.tables} == SIZES[key]
    for row in (row for table in paper.tables for row in table.rows):
        if row.model in MODELS:
            assert set(row.config) <= set(MODELS[row.model].config.model_fields)
            assert set(row.modalities or ()) <= set(MODELS[row.model].modalities)


def test_figures_are_those_of_the_tables() -> None:
    rows = {row.name: row for row in read_paper("m2fnet").select("2")[0].rows}
    assert rows["Text + Visual + Audio, Fusion"].published == {
        "meld": {"accuracy": 67.85, "weighted_f1": 66.71},
        "iemocap": {"accuracy": 69.69, "weighted_f1": 69.86},
    }
    # The four best rows of the sweeps are the same run, so the figures must agree.
    best = [("4", 0, "meld"), ("5", 4, "meld"), ("7", 5, "meld"), ("4", 4, "iemocap"), ("5", 4, "iemocap")]
    for table, number, corpus in best:
        row = read_paper("m2fnet").select(table)[0].rows[number]
        assert row.published[corpus] == rows["Text + Visual + Audio, Fusion"].published[corpus]


def test_a_row_is_the_base_experiment_with_its_switches() -> None:
    base = params().experiments["exp"]
    audio, *_, fusion = read_paper("m2fnet").select("2")[0].rows
    entry = entry_of(audio, base, "exp")
    assert entry.features == {"audio": ["sound"]}
    assert entry.config == {**SMALL, "fusion_type": "none"}
    assert entry_of(fusion, base, "exp").features == base.features
    scene = read_paper("m2fnet").select("3")[0].rows[0]
    assert entry_of(scene, base, "exp").features["visual"] == ["face:scene"]


FULL = 62_484_203
SIZES_OF_ROWS = {
    ("m2fnet", "2", "Only Audio"): 1_593_548 + 300 * 1024 + 1024 + 7175,
    ("m2fnet", "2", "Only Text"): 8_399_872 + 1024 * 1024 + 1024 + 7175,
    ("m2fnet", "2", "Text + Visual + Audio, Concat"): FULL - 5 * 9_321_472,
    ("m2fnet", "2", "Text + Visual + Audio, Fusion"): FULL,
    ("m2fnet", "3", "Proposed (both)"): FULL,
    ("m2fnet", "4", "N = 2"): 76_382_671,
    ("m2fnet", "4", "N = 6"): 131_976_543,
    ("m2fnet", "5", "m = 1"): 25_198_315,
    ("m2fnet", "5", "m = 6"): 71_805_675,
    ("avafn", "2", "AVAFN, audio"): 13_098_557,
    ("avafn", "2", "AVAFN, video"): 13_098_557,
    ("avafn", "3", "AVAFN w/o ACM"): 20_078_705,
    ("avafn", "3", "AVAFN w/o SSM"): 20_079_007,
    ("avafn", "3", "AVAFN w/o ILM"): 19_427_407,
    ("avafn", "3", "AVAFN"): 21_497_407,
    ("avtca", "9", "IT-1"): 1_936_734,
    ("avtca", "9", "IT-4"): 1_936_734,
    ("avtca", "9", "CT-1"): 1_910_878,
    ("avtca", "9", "CT-4"): 1_910_878,
    ("avtca", "9", "AVT-CA"): 2_200_158,
}


@pytest.mark.parametrize("key", ["m2fnet", "avafn", "avtca"])
def test_every_row_of_the_paper_is_a_network_of_the_papers_size_by_switches_alone(key: str) -> None:
    model, found = MODELS[key], {}
    for table in read_paper(key).tables:
        for row in (row for row in table.rows if row.model):
            widths = {m: w for m, w in model.widths.items() if m in (row.modalities or model.widths)}
            widths |= dict.fromkeys(row.arrays, 300)  # one of the two visual branches
            with torch.device("meta"):
                built = model.build(widths, model.classes, model.resolve("paper", row.config))
            found[key, table.key, row.name] = parameters(built)
    assert len(found) == {"m2fnet": 25, "avafn": 7, "avtca": 13}[key]
    assert found | {k: n for k, n in SIZES_OF_ROWS.items() if k[0] == key} == found
    if key == "m2fnet":  # with one visual branch D_V is 300, for the encoder, the fusion's keys and the head
        one = {found[key, "3", name] for name in ("Scene embeddings", "Weighted face embeddings")}
        assert one == {FULL - (3_905_048 - 1_593_548) - 5 * 300 * 1024 - 300 * 1024}


def test_one_row_comes_with_its_classes_and_its_confusion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    write_toy(tmp_path)
    (row,) = reproduce("m2fnet", params(), tmp_path, table="2", row="Only Text")
    assert list(row.per_class) == list(CLASSES)
    assert all({"precision", "recall", "f1", "support"} <= set(c) for c in row.per_class.values())
    assert sum(map(sum, row.confusion)) == sum(c["support"] for c in row.per_class.values())
    with pytest.raises(UsageError, match="no row 'Only Txt'") as told:
        list(reproduce("m2fnet", params(), tmp_path, row="Only Txt"))
    assert told.value.hint == "did you mean 'Only Text'?"


def test_rows_run_once_and_say_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    write_toy(tmp_path)
    trained: list[str] = []
    train = module.train_experiment
    monkeypatch.setattr(
        module, "train_experiment", lambda name, *a, **k: trained.append(name) or train(name, *a, **k)
    )
    rows = list(reproduce("m2fnet", params(), tmp_path, table="2"))
    assert [row.verdict for row in rows] == ["stand-in"] * 8 and len(set(trained)) == 8
    assert all(0 <= row.ours["weighted_f1"]["mean"] <= 1 and row.published == {} for row in rows)
    assert rows[0].why.startswith("corpus toy, the paper uses meld and iemocap; ") and rows[0].why.endswith(
        "more"
    )
    assert rows[0].deviations[0] == "corpus toy, the paper uses meld and iemocap"
    again = list(reproduce("m2fnet", params(), tmp_path, table="2"))
    assert len(trained) == 8 and again == rows
    write_toy(tmp_path, dialogues=9)  # other caches: nothing of before may stand for them
    list(reproduce("m2fnet", params(), tmp_path, table="2"))
    assert len(trained) == 16


def test_rows_of_a_base_with_folds_run_all_folds_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    manifest = write_toy(tmp_path)
    dialogues = list(dict.fromkeys(u.dialogue for u in manifest.utterances))
    place = {
        d: {fold: ("test", "dev", "train")[(n + k) % 3] for k, fold in enumerate("ab")}
        for n, d in enumerate(dialogues)
    }
    folds = {
        f"loso/{fold}": {
            subset: tuple(u.id for u in manifest.utterances if place[u.dialogue][fold] == subset)
            for subset in ("train", "dev", "test")
        }
        for fold in "ab"
    }
    write_manifest(
        replace(manifest, splits={**manifest.splits, **folds}), tmp_path / "manifests" / "toy.jsonl"
    )
    trained: list[str] = []
    train = module.train_experiment
    monkeypatch.setattr(
        module, "train_experiment", lambda name, *a, **k: trained.append(name) or train(name, *a, **k)
    )
    (row,) = reproduce("m2fnet", params(folds="loso"), tmp_path, table="2", row="Only Text")
    assert row.verdict == "stand-in" and "no visual" not in row.why
    assert set(row.over_folds["weighted_f1"]) == {"mean", "std"} and 0 <= row.ours["uar"]["mean"] <= 1
    assert (tmp_path / "models/reproduce").is_dir() and len(trained) == 1
    (again,) = reproduce("m2fnet", params(folds="loso"), tmp_path, table="2", row="Only Text")
    assert again == row and len(trained) == 1
    (gone,) = reproduce("m2fnet", params(folds="nowhere"), tmp_path, table="2", row="Only Text")
    assert gone.verdict == "not runnable" and "unknown folds 'nowhere'" in gone.why


def test_rows_that_cannot_run_say_why_and_the_others_run(tmp_path: Path) -> None:
    write_toy(tmp_path)
    text = params(features={"text": ["words"]})
    rows = {row.row: row for row in reproduce("m2fnet", text, tmp_path, table="2")}
    assert rows["Only Text"].verdict == "stand-in"
    assert rows["Only Audio"].verdict == "not runnable" and "no audio features" in rows["Only Audio"].why
    others = list(reproduce("m2fnet", text, tmp_path, table="6"))
    assert [row.verdict for row in others] == ["another system"] * 13 + ["not runnable"]
    assert "no audio and no visual" in others[-1].why and "visual/m2fnet-dual" in others[-1].why
    gone = params(features={"text": ["gone"]})
    (row,) = [r for r in reproduce("m2fnet", gone, tmp_path, table="2") if r.row == "Only Text"]
    assert row.verdict == "not runnable" and "ercache extract toy --features gone" in row.why


def test_unknown_names_are_refused_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown paper"):
        list(reproduce("m2fnett", params(), tmp_path))
    with pytest.raises(UsageError, match="no table"):
        list(reproduce("m2fnet", params(), tmp_path, table="9"))
    with pytest.raises(UsageError, match="names no experiment from which to reproduce avafn"):
        list(reproduce("avafn", params(), tmp_path))


def test_arrays_of_vectors_are_joined_or_one_is_chosen(tmp_path: Path) -> None:
    manifest = write_toy(tmp_path)
    vectors = toy_vectors(manifest, "words")
    specs = [
        ArraySpec(name, "vector", ("utterance", "dim"), (width,))
        for name, width in (("scene", 6), ("face", 2))
    ]
    for part in manifest.parts:
        ids = [u.id for u in manifest.of_part(part)]
        arrays = {i: {"scene": vectors[i], "face": vectors[i][:, :2]} for i in ids}
        entries = [Entry(i, Status.OK, "", 1, "", content_digest(arrays[i])) for i in ids]
        made = {
            "corpus": "toy",
            "part": part,
            "feature": "dual",
            "encoder": "toy/dual",
            "version": 1,
            "params": {},
            "weights": None,
            "context": {},
        }
        write_cache(tmp_path / f"caches/toy/visual/dual.{part}.h5", specs, entries, arrays, made)
    for name, width in (("dual", 8), ("dual:scene", 6), ("dual:face", 2)):
        entry = toy_params(features={"visual": [name]}).experiments["exp"]
        assert read_source(tmp_path, entry).subset("train").widths == {"visual": width}
    with pytest.raises(UsageError) as told:
        read_source(tmp_path, toy_params(features={"visual": ["dual:back"]}).experiments["exp"])
    assert "no array named 'back'" in told.value.details[0]


def test_item_24_of_cues_rows_have_their_own_metrics_and_their_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EPC rows have UAR and macro F1, ERC rows accuracy and weighted F1, beside the published scores."""
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(module, "train_experiment", lambda *_, **__: None)
    scores = {
        name: Score(mean=0.5 + n / 10, std=0.01, ci95=(0.4, 0.7))
        for n, name in enumerate(("uar", "macro_f1", "accuracy", "weighted_f1"))
    }
    classes = ["ang", "hap", "neu", "sad"]
    record = paper_record("cues", "iemocap", "epc").model_copy(
        update={
            "classes": classes,
            "test": scores,
            "per_class": dict.fromkeys(classes, ClassScore(f1=0.5, precision=0.5, recall=0.5, support=4)),
            "confusion": [[3, 1, 0, 0]] * 4,
        }
    )
    monkeypatch.setattr(module, "_trained", lambda *_: tmp_path / "models/run")
    monkeypatch.setattr(module, "read_run", lambda _: record)
    features = {"text": ["words"], "audio": ["sound"]}
    base = toy_params(model="cues", corpus="iemocap", features=features)
    epc = base.experiments["exp"].model_copy(update={"task": "epc"})
    both = base.model_copy(
        update={
            "experiments": {"erc": base.experiments["exp"], "epc": epc},
            "reproduce": {"cues": {"iemocap": {"erc": "erc", "epc": "epc"}}},
        }
    )
    rows = {(r.table, r.row): r for r in reproduce("cues", both, tmp_path)}
    assert rows["1", "T+S, Cues"].difference == pytest.approx({"uar": 50 - 81.92, "macro_f1": 60 - 81.53})
    assert rows["2", "S, Cues"].difference == pytest.approx(
        {"accuracy": 70 - 47.84, "weighted_f1": 80 - 47.06}
    )
    assert rows["3", "w/o KWRT"].published == {"uar": 80.99, "macro_f1": 80.64}
    assert rows["3", "full"].among["sad"] == {"ang": 0.75, "hap": 0.25, "neu": 0, "sad": 0}
    # Only the full system is a run of the paper: the record has all modalities, and no switch of an ablation.
    assert rows["1", "T+S, Cues"].verdict == "differs" and rows["1", "T+S, Cues"].deviations == []
    assert rows["1", "T, Cues"].verdict == "stand-in"
    assert rows["1", "T, Cues"].why == "audio features, which the paper does not use here"
    assert rows["3", "w/o PE"].why == "config pe true, the paper uses false"
    assert _cells(rows["1", "T+S, Cues"], "uar") == ("81.92", "50.00 (1.00)", "40.0 to 70.0", "-31.92")
    assert _cells(rows["1", "S, EAMT"], "uar") == ("65.01", "", "", "")


def test_a_row_starts_from_the_experiment_of_its_own_task() -> None:
    rows = [row for table in read_paper("cues").tables for row in table.rows if row.model]
    bases = {"erc": "cues", "epc": "cues_epc"}
    assert {(row.task, base_of(row, bases)) for row in rows} == {("erc", "cues"), ("epc", "cues_epc")}
    assert {base_of(row, "one") for row in rows} == {"one"}


def test_item_24_of_cues_confusion_among_four_emotions_is_a_share_of_each_true_one() -> None:
    shown = read_paper("cues").confusion_classes
    six = ("hap", "sad", "neu", "ang", "exc", "fru")
    confusion = [[n + 2 * m for m in range(6)] for n in range(6)]
    found = shares_among(confusion, six, shown)
    assert list(found) == shown == ["ang", "hap", "neu", "sad"]
    assert found["hap"] == pytest.approx({"ang": 6 / 12, "hap": 0, "neu": 4 / 12, "sad": 2 / 12})
    assert all(sum(row.values()) == pytest.approx(1) for row in found.values())
    assert shares_among(confusion, six, ("neutral",)) == {} and shares_among(confusion, six, ()) == {}
