"""A run of a paper has no deviation; whatever differs from the paper is named, with both values."""

from pathlib import Path
from typing import Any

import pytest

from ercache.params.schema import ExperimentParams, Task
from ercache.trained_extractors import TRAINING
from extract.corpora import CORPORA
from extract.encoders import ENCODERS
from extract.pretrain.config import CONFIGS
from fusion.models import MODELS
from fusion.papers import papers, read_paper
from fusion.papers.deviations import deviations_of, in_short, recorded_deviations
from fusion.runs.schema import RunRecord, read_run, write_record
from tests.support.paper_runs import extractor_record, names_of, paper_record, recipe_of, shipped, weights_of

RUNS = [(key, run.corpus, run.task) for key in papers() for run in read_paper(key).runs]


def told(record: RunRecord) -> str:
    found = deviations_of(record)
    assert found is not None
    return "\n".join(found)


@pytest.mark.parametrize(("key", "corpus", "task"), RUNS)
def test_a_run_of_the_paper_has_no_deviation(key: str, corpus: str, task: Task) -> None:
    assert deviations_of(paper_record(key, corpus, task)) == []


@pytest.mark.parametrize("key", papers())
def test_the_shipped_experiments_are_the_papers_runs(key: str) -> None:
    paper, found = read_paper(key), shipped().papers[key]
    assert sorted(found.corpora) == sorted({run.corpus for run in paper.runs})
    for run in paper.runs:
        runs = found.corpora[run.corpus]
        name = runs.reproduce if isinstance(runs.reproduce, str) else runs.reproduce[run.task]
        wanted = ExperimentParams(**run.experiment(paper.model, names_of(key, run.corpus)))
        assert runs.experiments[name] == wanted
        assert set(wanted.feature_names) <= set(runs.features)


@pytest.mark.parametrize("key", papers())
def test_every_row_of_a_paper_has_no_deviation_from_itself_and_some_from_the_full_system(key: str) -> None:
    paper = read_paper(key)
    others = 0
    for run in paper.runs:
        rows = [r for t in paper.tables for r in t.rows if r.model and (r.task or "erc") == run.task]
        for row in (r for r in rows if run.corpus in r.published):
            base = run.experiment(key, names_of(key, run.corpus))
            features = {
                m: n for m, n in base["features"].items() if m in (row.modalities or base["features"])
            }
            for modality, array in row.arrays.items():
                features[modality] = [f"{name.partition(':')[0]}:{array}" for name in features[modality]]
            record = paper_record(key, run.corpus, run.task, features=features, config=row.config)
            assert deviations_of(record, row) == [], row.name
            others += bool(deviations_of(record))
    assert others


# Every case of the audits that the old stamp called the paper's, with what the list must name.
FALSE_POSITIVES: dict[str, tuple[str, str, Task, dict[str, Any], dict[str, dict[str, Any]], list[str]]] = {
    "avafn with another layer of wav2vec2": (
        "avafn", "meld", "erc", {}, {"avafn_wav2vec2": recipe_of("avafn_wav2vec2", {"layer": 3})},
        ["audio feature avafn_wav2vec2: layer 3, the paper uses 24"],
    ),
    "avafn with DAN of RAF-DB": (
        "avafn", "meld", "erc", {}, {"avafn_dan": recipe_of("avafn_dan", {"weights": "dan-rafdb"})},
        ["visual feature avafn_dan: weights dan-rafdb, the paper uses dan-affectnet7"],
    ),
    "avafn with the fast face policy": (
        "avafn", "meld", "erc", {},
        {"avafn_dan": recipe_of("avafn_dan", faces={"factor": 0.5, "resize": "bilinear", "every": 1.0})},
        ["avafn_dan: faces factor 0.5, the paper uses 0.709", "faces resize bilinear, the paper uses area",
         "faces every 1.0, the paper uses none"],
    ),
    "m2fnet with a small text network": (
        "m2fnet", "meld", "erc", {},
        {"m2fnet_text_meld": recipe_of("m2fnet_text_meld", {"size": "small"}, extractor={
            "config": {**extractor_record("m2fnet_text_meld")["config"], "size": "small", "init": "scratch"},
        })},
        ["text feature m2fnet_text_meld: size small, the paper uses large",
         "text feature m2fnet_text_meld: extractor init scratch, the paper uses checkpoint"],
    ),
    "m2fnet with a toy extractor": (
        "m2fnet", "meld", "erc", {},
        {"m2fnet_audio_meld": recipe_of("m2fnet_audio_meld", extractor={
            "config": {**extractor_record("m2fnet_audio_meld")["config"], "size": "tiny", "init": "scratch"},
            "training": {"epochs": 16, "patience": 60, "lr": 0.0003, "weight_decay": 1e-6, "seed": 0},
        })},
        ["audio feature m2fnet_audio_meld: extractor size tiny, the paper uses paper",
         "m2fnet_audio_meld: extractor epochs 16, the paper uses 60",
         "m2fnet_audio_meld: extractor lr 0.0003, the paper uses 0.0001"],
    ),
    "m2fnet with extractors trained on the demo": (
        "m2fnet", "meld", "erc", {},
        {"m2fnet_audio_meld": recipe_of("m2fnet_audio_meld", extractor={"seen": {"demo": 9}}),
         "m2fnet_visual": recipe_of("m2fnet_visual", extractor={"seen": {"demo": 9}, "labels": "class"})},
        ["audio feature m2fnet_audio_meld: extractor trained on demo, the paper trains it on meld",
         "visual feature m2fnet_visual: extractor trained on demo, the paper trains it on casia-webface",
         "m2fnet_visual: extractor labels class, the paper uses identity"],
    ),
    "iemocap's four labels on leave-one-session-out": (
        "m2fnet", "iemocap", "erc", {"label_set": "four", "folds": "loso"}, {},
        ["label set four, the paper uses six", "folds loso, the paper uses split session5"],
    ),
    "prediction with a history of 3": (
        "m2fnet", "meld", "erc", {"task": "epc", "history": 3}, {},
        ["task epc, the paper uses erc", "history 3, the paper uses none",
         "training batch 32 utterances, the paper uses 32 dialogues"],
    ),
    "sgd with focal loss, balanced, with modality dropout": (
        "m2fnet", "meld", "erc",
        {"training": {"recipe": "paper", "optimizer": "sgd", "gamma": 2.0, "class_weights": "balanced",
                      "modality_dropout": 0.2, "select": "uar"}}, {},
        ["training optimizer sgd, the paper uses adamw", "training gamma 2.0, the paper uses 0.0",
         "training class_weights balanced, the paper uses none", "training modality_dropout 0.2, the paper uses 0.0",
         "training select uar, the paper uses weighted_f1"],
    ),
    "avtca with 20 coefficients of whole clips and 4 crops": (
        "avtca", "ravdess", "erc", {},
        {"avtca_mfcc": recipe_of("avtca_mfcc", {"n_mfcc": 20, "window_seconds": None}),
         "avtca_crops": recipe_of("avtca_crops", {"frames": 4})},
        ["audio feature avtca_mfcc: n_mfcc 20, the paper uses 10",
         "avtca_mfcc: window_seconds none, the paper uses 3.6",
         "visual feature avtca_crops: frames 4, the paper uses 15"],
    ),
    "avtca on mosei with videos in a batch": (
        "avtca", "mosei", "erc", {"history": None}, {},
        ["history none, the paper uses 1", "training batch 8 dialogues, the paper uses 8 utterances"],
    ),
    "amuse's preset with one layer, gamma 0.3 and random alpha": (
        "amuse", "meld", "erc", {"preset": "base", "config": {"man_layers": 1, "gamma": 0.3, "alpha": "random"}}, {},
        ["config man_layers 1, the paper uses 4", "config gamma 0.3, the paper uses 1.0",
         "config alpha random, the paper uses closed_form"],
    ),
    "cues with its own knowledge, layer 0 of WavLM and the target's picture": (
        "cues", "meld", "epc",
        {"features": {"text": ["cues_kwrt:tokens", "cues_kwrt:words", "cues_kwrt:matrix"],
                      "audio": ["cues_wavlm", "cues_mel_target:tokens"]}},
        {"cues_kwrt": recipe_of("cues_kwrt", {"knowledge": "own"}),
         "cues_wavlm": recipe_of("cues_wavlm", {"layer": 0})},
        ["text feature cues_kwrt: knowledge own, the paper uses conceptnet",
         "audio feature cues_wavlm: layer 0, the paper uses 12",
         "audio feature cues_mel_target: scope target, the paper uses window"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FALSE_POSITIVES)
def test_what_the_old_stamp_called_the_papers_is_named(case: str) -> None:
    key, corpus, task, entry, recipes, expected = FALSE_POSITIVES[case]
    found = told(paper_record(key, corpus, task, recipes, **entry))
    assert [text for text in expected if text not in found] == []


def test_changed_checkpoints_are_named() -> None:
    other = {**weights_of("passt"), "sha256": {"passt-s-f128-p16-s10-ap.476-swa.pt": "0" * 64}}  # type: ignore[dict-item]
    random = {"id": "jaa-net", "random": True, "seed": 0}
    found = told(
        paper_record(
            "amuse", "meld", "erc",
            {
                "amuse_passt": {**recipe_of("amuse_passt"), "weights": other},
                "amuse_jaa": {**recipe_of("amuse_jaa"), "weights": random},
                "amuse_mpnet": {**recipe_of("amuse_mpnet"), "weights": weights_of("all-mpnet")},
                "amuse_back": {**recipe_of("amuse_back"), "encoder": "visual/swin-t"},
            },
        )
    )  # fmt: skip
    assert (
        "amuse_passt: checkpoint passt, passt-s-f128-p16-s10-ap.476-swa.pt is not the published file" in found
    )
    assert "amuse_jaa: random weights, the paper uses jaa-net" in found
    assert "amuse_mpnet: checkpoint all-mpnet, the paper uses mpnet" in found
    assert "amuse_back: encoder visual/swin-t, the paper uses visual/back-resnet50" in found
    assert len(found.splitlines()) == 4


def test_a_network_of_another_size_is_named() -> None:
    record = paper_record("avafn", "meld").model_copy(update={"widths": {"audio": 32, "visual": 1024}})
    assert deviations_of(record) == ["audio feature avafn_wav2vec2: vector size 32, the paper uses 1024"]


def test_absent_and_further_features_are_named() -> None:
    text = {"text": ["m2fnet_text_meld"], "audio": ["m2fnet_audio_meld", "mfcc"]}
    found = told(paper_record("m2fnet", "meld", features=text))
    assert "no visual features, the paper uses visual" in found
    assert "audio feature mfcc, which the paper does not use" in found
    short = {"text": ["cues_kwrt:tokens"], "audio": ["cues_wavlm", "cues_mel_target"]}
    found = told(paper_record("cues", "meld", features=short))
    assert found.count("no further text feature, the paper uses text/kwrt") == 2 and "(array matrix)" in found
    scene = {"text": ["m2fnet_text_meld"], "audio": ["m2fnet_audio_meld"], "visual": ["m2fnet_visual:scene"]}
    assert deviations_of(paper_record("m2fnet", "meld", features=scene)) == [
        "visual feature m2fnet_visual: array scene, the paper uses all",
    ]


def test_a_feature_without_a_record_of_its_extractor_is_no_feature_of_the_paper() -> None:
    older = {k: v for k, v in recipe_of("m2fnet_audio_meld").items() if k != TRAINING}
    found = told(paper_record("m2fnet", "meld", "erc", {"m2fnet_audio_meld": older}))
    assert "m2fnet_audio_meld: extractor trained in an unknown way, the paper trains it on meld" in found
    imported = {"encoder": None, "params": None, "weights": None, "faces": None}
    found = told(paper_record("m2fnet", "meld", "erc", {"m2fnet_audio_meld": imported}))
    assert "m2fnet_audio_meld: encoder unknown, the paper uses audio/mel-resnet18" in found


def test_another_corpus_is_the_first_deviation_and_its_labels_are_not_compared() -> None:
    found = deviations_of(paper_record("m2fnet", "meld", corpus="demo", label_set="emotion7"))
    assert found is not None
    assert found[0] == "corpus demo, the paper uses meld and iemocap"
    assert not any("label set" in text or "split" in text for text in found)


def test_one_fold_alone_is_not_the_papers_cross_validation() -> None:
    one = paper_record("cues", "iemocap", "epc", split="loso/Ses01")
    assert deviations_of(one) == ["split loso/Ses01, the paper uses folds loso"]


def test_extractors_of_folds_are_all_compared() -> None:
    record = paper_record("m2fnet", "meld")
    held = dict(record.provenance.encoders)
    own = held.pop("m2fnet_audio_meld")
    foreign = recipe_of("m2fnet_audio_meld", extractor={"seen": {"demo": 9}})
    held |= {"m2fnet_audio_meld@loso/a": own, "m2fnet_audio_meld@loso/b": foreign}
    provenance = record.provenance.model_copy(update={"encoders": held})
    found = deviations_of(record.model_copy(update={"provenance": provenance}))
    assert found == [
        "audio feature m2fnet_audio_meld: extractor trained on demo, the paper trains it on meld"
    ]


def test_training_params_without_effect_are_no_deviation() -> None:
    idle = {"recipe": "paper", "plateau_patience": 1, "momentum": 0.5, "warmup": 0.1, "seeds": 1}
    assert deviations_of(paper_record("avafn", "meld", training=idle)) == []
    assert "plateau_patience" in told(paper_record("m2fnet", "meld", training=idle))


def test_models_without_a_paper_have_no_list() -> None:
    record = paper_record("m2fnet", "meld").model_copy(update={"model": "bc_lstm"})
    assert deviations_of(record) is None


def test_runs_from_before_the_list_are_read_and_compared_now(tmp_path: Path) -> None:
    record = paper_record("avafn", "meld", label_set="sentiment3")
    write_record(tmp_path, record)
    text = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(text.replace('"parameters"', '"paper_profile": true,\n "parameters"'))
    older = read_run(tmp_path)
    assert older.deviations is None
    assert recorded_deviations(older) == ["label set sentiment3, the paper uses emotion7"]
    write_record(tmp_path, record.model_copy(update={"deviations": ["noted then"]}))
    assert recorded_deviations(read_run(tmp_path)) == ["noted then"]


def test_the_first_deviations_stand_for_the_others() -> None:
    assert in_short([]) == "" and in_short(["a", "b"]) == "a; b"
    assert in_short(["a", "b", "c", "d"]) == "a; b; and 2 more"


@pytest.mark.parametrize("key", papers())
def test_the_registry_knows_every_param_of_its_encoders_and_extractors(key: str) -> None:
    paper = read_paper(key)
    assert paper.key == paper.model == key and key in MODELS
    for name, feature in paper.features.items():
        kind = ENCODERS[feature.encoder]
        config = kind.Params(**feature.params)
        params = {k: v for k, v in config.model_dump(mode="json").items() if k not in feature.free}
        assert params == feature.params, name
        assert feature.weights == getattr(config, "weights", kind.spec.weights)
        assert tuple(feature.beside) == getattr(config, "beside", ())
        assert kind.input(config).faces == (feature.faces is not None)
        assert (feature.extractor is not None) == hasattr(config, "pretrained")
        if feature.extractor is not None:
            for cls, given in zip(
                CONFIGS[feature.encoder], (feature.extractor.config, feature.extractor.training), strict=True
            ):
                whole = cls(**given).model_dump(mode="json")
                assert {k: v for k, v in whole.items() if k not in feature.extractor.free} == given


@pytest.mark.parametrize(("key", "corpus", "task"), RUNS)
def test_the_registry_names_corpora_label_sets_presets_recipes_and_features_that_exist(
    key: str, corpus: str, task: Task
) -> None:
    paper = read_paper(key)
    run = paper.run_for(corpus, task)
    assert run.corpus == corpus and run.task == task in MODELS[key].tasks
    assert run.label_set in CORPORA[corpus].label_sets
    assert run.preset in MODELS[key].presets and run.recipe in MODELS[key].recipes
    assert {n.partition(":")[0] for names in run.features.values() for n in names} <= set(paper.features)
