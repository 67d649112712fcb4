"""Say before training in which points the project's experiments for a paper deviate from the paper."""

from collections.abc import Iterator
from typing import Any

from app.stages import TablesStage
from ercache.params.schema import SPLIT_MARK, ExperimentParams, Params, split_array_name
from extract.encoders import ENCODERS
from extract.pretrain.config import CONFIGS
from fusion.papers import read_paper
from fusion.papers.feature_deviations import flat, told
from fusion.papers.original import PaperExtractor, PaperFeature, PaperRun


def planned_deviations(params: Params, tables: TablesStage) -> list[str]:
    """List in which points the project's experiments for a paper deviate from it, one sentence each.

    Features, extractors, models and training are compared with what the paper describes. A trained run has a second
    list, made after training, which also compares the data that were read, such as the content of checkpoints.

    Args:
        params: contents of params.yaml.
        tables: the paper, the corpus and the experiments.
    """
    paper = read_paper(tables.paper)
    found: list[str] = []
    for name, entry in tables.experiments.items():
        run = paper.run_for(tables.corpus, entry.task)
        names = _names(run, entry)
        found += _of_experiment(name, entry, run, names)
        for feature, ours in names.items():
            found += _of_feature(ours, params, paper.features[feature], tables.corpus)
    return list(dict.fromkeys(found))


def _names(run: PaperRun, entry: ExperimentParams) -> dict[str, str]:
    """Match the features of a paper with those of an experiment by their order within each modality.

    Returns:
        Name of the feature in the paper's description -> name of the feature in params.yaml.
    """
    return {
        split_array_name(theirs)[0]: split_array_name(ours)[0].partition(SPLIT_MARK)[0]
        for modality, listed in run.features.items()
        for theirs, ours in zip(listed, entry.features.get(modality, ()), strict=False)
    }


def _of_experiment(name: str, entry: ExperimentParams, run: PaperRun, names: dict[str, str]) -> Iterator[str]:
    lacking = [f for listed in run.features.values() for f in listed if split_array_name(f)[0] not in names]
    if lacking:
        yield f"experiments.{name}.features: nothing for {', '.join(lacking)}"
        return
    wanted = ExperimentParams(**run.experiment(entry.model, names))
    for field in ExperimentParams.model_fields:
        if field != "pipeline" and getattr(entry, field) != getattr(wanted, field):
            yield told(f"experiments.{name}.{field}", getattr(entry, field), getattr(wanted, field))


def _of_feature(name: str, params: Params, theirs: PaperFeature, corpus: str) -> Iterator[str]:
    entry = params.features[name]
    if entry.encoder != theirs.encoder:
        yield told(f"features.{name}.encoder", entry.encoder, theirs.encoder)
        return
    ours = ENCODERS[entry.encoder].Params(**entry.params).model_dump(mode="json")
    for param in theirs.params:
        if param not in theirs.free and not theirs.allows(param, ours[param]):
            yield told(f"features.{name}.{param}", ours[param], theirs.params[param])
    if theirs.faces is not None and params.faces_of(entry) != theirs.faces:
        yield told(f"features.{name}.faces", params.faces_of(entry).model_dump(), theirs.faces.model_dump())
    if theirs.extractor is not None:
        yield from _of_extractor(str(ours["pretrained"]), params, theirs.extractor, corpus)


def _of_extractor(name: str, params: Params, theirs: PaperExtractor, corpus: str) -> Iterator[str]:
    entry = params.pretrain[name]
    wanted = corpus if theirs.corpus == "own" else theirs.corpus
    if wanted not in (entry.corpus or str(entry.folder)):
        yield told(f"pretrain.{name}.corpus", entry.corpus or entry.folder, wanted)
    config, training = CONFIGS[entry.extractor]
    groups: dict[str, Any] = {"config": config(**entry.config), "training": training(**entry.training)}
    for group, values in groups.items():
        ours, paper = flat(values.model_dump(mode="json")), flat(getattr(theirs, group))
        for key in paper:
            if key not in theirs.free and ours.get(key) != paper[key]:
                yield told(f"pretrain.{name}.{group}.{key}", ours.get(key), paper[key])
