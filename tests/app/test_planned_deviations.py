"""`ercache init` says before a run where an edited project differs from a paper; the shipped files do not."""

import pytest

from app.planned_deviations import planned_deviations
from app.stages import TablesStage
from ercache.params.schema import ExperimentParams, FeatureParams, Params
from tests.support.paper_runs import shipped

RUNS = [(paper, corpus) for paper, runs in shipped().papers.items() for corpus in runs.corpora]


def tables(params: Params, paper: str, corpus: str) -> TablesStage:
    bases = params.reproduce[paper][corpus]
    names = [bases] if isinstance(bases, str) else list(bases.values())
    return TablesStage(paper, corpus, {name: params.experiments[name] for name in names})


@pytest.mark.parametrize(("paper", "corpus"), RUNS)
def test_the_shipped_runs_differ_in_nothing(paper: str, corpus: str) -> None:
    assert planned_deviations(shipped(), tables(shipped(), paper, corpus)) == []


def test_edited_entries_are_told_with_their_places() -> None:
    params = shipped()
    layer = FeatureParams(
        encoder="audio/wav2vec2-large", layer=3, max_seconds=20, pad_seconds=0.1, frames=False
    )  # type: ignore[call-arg]
    faces = params.features["avafn_dan"].model_copy(update={"faces": {}})
    features = {**params.features, "avafn_wav2vec2": layer, "avafn_dan": faces}
    edited = ExperimentParams(**{**params.experiments["avafn_meld"].model_dump(), "label_set": "sentiment3"})
    changed = params.model_copy(
        update={"features": features, "experiments": {**params.experiments, "avafn_meld": edited}}
    )
    found = planned_deviations(changed, tables(changed, "avafn", "meld"))
    assert "experiments.avafn_meld.label_set sentiment3, the paper uses emotion7" in found
    assert "features.avafn_wav2vec2.layer 3, the paper uses 24" in found
    assert any(line.startswith("features.avafn_dan.faces ") for line in found) and len(found) == 3


def test_an_extractor_of_another_corpus_and_recipe_is_told() -> None:
    params = shipped()
    other = params.pretrain["m2fnet_audio_meld"].model_copy(
        update={"corpus": "demo", "config": {"size": "tiny", "init": "scratch"}}
    )
    changed = params.model_copy(update={"pretrain": {**params.pretrain, "m2fnet_audio_meld": other}})
    assert planned_deviations(changed, tables(changed, "m2fnet", "meld")) == [
        "pretrain.m2fnet_audio_meld.corpus demo, the paper uses meld",
        "pretrain.m2fnet_audio_meld.config.size tiny, the paper uses paper",
        "pretrain.m2fnet_audio_meld.config.init scratch, the paper uses imagenet",
    ]
