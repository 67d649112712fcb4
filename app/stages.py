"""Find out from params.yaml what the DVC pipeline runs: extractions, extractors, experiments, tables of papers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.console import CACHES, DATA, MANIFESTS
from app.features import feature_of, profile_names
from ercache.errors import ParamsError
from ercache.manifest import MODALITIES, read_manifest
from ercache.params.papers import file_of
from ercache.params.schema import SPLIT_MARK, ExperimentParams, Params, split_array_name
from extract.engine import Feature
from fusion.evaluation.row_result import rows_file


@dataclass(frozen=True)
class ExtractionStage:
    """One stage of the pipeline: extract all features of one modality from one corpus, so media are decoded once."""

    corpus: str
    modality: str
    features: tuple[Feature, ...]

    @property
    def folder(self) -> str:
        """Folder in which the stage writes the caches."""
        return f"{CACHES}/{self.corpus}/{self.modality}"


@dataclass(frozen=True)
class TablesStage:
    """One stage of the pipeline: reproduce the tables of a paper on one corpus.

    Attributes:
        experiments: the experiments on which the rows of the tables are based: name -> entry of params.yaml.
        modalities: the modalities that the pipeline extracts from the corpus.
    """

    paper: str
    corpus: str
    experiments: dict[str, ExperimentParams]
    modalities: Sequence[str] = MODALITIES

    @property
    def complete(self) -> list[ExperimentParams]:
        """The experiments that can run, because the pipeline extracts all their modalities."""
        return [e for e in self.experiments.values() if set(e.features) <= set(self.modalities)]

    @property
    def file(self) -> Path:
        """Path of the JSON file to which the stage writes the rows of the tables."""
        return rows_file(DATA, self.paper, self.corpus)

    @property
    def name(self) -> str:
        """`PAPER-CORPUS`, which is part of the name of the stage."""
        return f"{self.paper}-{self.corpus}"


def extractions_of(params: Params) -> list[ExtractionStage]:
    """Return the extractions of the pipeline, one for each corpus and modality, in the order of params.yaml."""
    found = []
    for corpus, entry in params.pipeline.items():
        named = dict.fromkeys(name for p in entry.profiles for name in profile_names(params, p, corpus))
        folds = {
            name: None
            for e in experiments_of(params).values()
            if e.corpus == corpus
            for name in _of_folds(e, params)
        }
        features = [feature_of(params, name, weights_later=True) for name in (*named, *folds)]
        for modality in dict.fromkeys(f.spec.modality for f in features):
            if modality in entry.modalities:
                group = tuple(f for f in features if f.spec.modality == modality)
                found.append(ExtractionStage(corpus, modality, group))
    return found


def extractors_of(extractions: list[ExtractionStage]) -> list[str]:
    """Return the names of the extractors that the features of these extractions use.

    The extractor of a fold of a cross-validation is called `NAME@SPLIT`, all others `NAME`.
    """
    return list(dict.fromkeys(name for e in extractions for f in e.features if (name := extractor_of(f))))


def pretrain_stage(name: str) -> str:
    """Return the name of the stage that trains an extractor.

    Names such as `NAME@FOLDS/GROUP` are rewritten, because DVC allows no `@` and `/` in names of stages.
    """
    return f"pretrain-{name.replace(SPLIT_MARK, '-').replace('/', '-')}"


def extractor_of(feature: Feature) -> str | None:
    """Return the name of the extractor (entry of `pretrain` in params.yaml) that a feature uses; None if none."""
    name: str | None = getattr(feature.params, "pretrained", None)
    return name


def experiments_of(params: Params) -> dict[str, ExperimentParams]:
    """Return the experiments that get a stage in the pipeline: name -> entry.

    An experiment gets a stage if it has `pipeline: true`, and the pipeline extracts all its modalities of its corpus.
    If the experiment stands in a paper's file, the paper must be in the pipeline, too.
    """
    return {name: e for name, e in params.experiments.items() if e.pipeline and _is_staged(name, e, params)}


def _is_staged(name: str, experiment: ExperimentParams, params: Params) -> bool:
    entry = params.pipeline.get(experiment.corpus)
    if entry is None or not set(experiment.features) <= set(entry.modalities):
        return False
    file = file_of(params, "experiments", name)
    return file is None or file.stem in entry.profiles


def tables_of(params: Params) -> list[TablesStage]:
    """Return the tables that the pipeline reproduces: one `TablesStage` for each paper in it and each corpus."""
    found = []
    for corpus, entry in params.pipeline.items():
        for paper in entry.profiles:
            if paper not in params.papers or paper in params.profiles:
                continue
            bases = params.reproduce[paper][corpus]
            names = [bases] if isinstance(bases, str) else list(bases.values())
            experiments = {name: params.experiments[name] for name in names}
            found.append(TablesStage(paper, corpus, experiments, entry.modalities))
    return found


def check_experiments(params: Params) -> None:
    """Check that the pipeline extracts every feature that its experiments use. Imported features are not checked.

    Raises:
        ParamsError: features are in no profile (list of features) of the pipeline. The details name all of them.
    """
    found = []
    for name, experiment in experiments_of(params).items():
        profiles = params.pipeline[experiment.corpus].profiles
        extracted = {f for p in profiles for f in profile_names(params, p, experiment.corpus)}
        used = [f.partition(SPLIT_MARK)[0] for f in experiment.feature_names]
        found += [
            f"experiments.{name}: feature {f!r} is not in the pipeline's profile"
            for f in used
            if f not in extracted and not params.features[f].imported
        ]
    if found:
        raise ParamsError(
            "params.yaml: experiments use features that the pipeline does not extract; add them to its profile",
            details=found,
        )


def _of_folds(experiment: ExperimentParams, params: Params) -> Iterator[str]:
    """Yield `feature@fold` for each fold of a cross-validation and each feature whose extractor it trains per fold."""
    if experiment.folds is None:
        return
    for feature in experiment.feature_names:
        extractor = params.pretrain.get(str(params.features[feature].params.get("pretrained")))
        if extractor is None or extractor.corpus != experiment.corpus:
            continue
        path = MANIFESTS / f"{experiment.corpus}.jsonl"
        if not path.is_file():
            raise ParamsError(
                f"the manifest {path} is absent, but the pipeline must read the folds {experiment.folds!r} from it",
                hint=f"run `ercache scan {experiment.corpus}` first",
            )
        for fold in read_manifest(path).folds_of(experiment.folds):
            yield f"{feature}{SPLIT_MARK}{fold}"


def used_features(experiment: ExperimentParams, params: Params) -> list[str]:
    """Return the names of the features whose caches an experiment reads.

    A feature whose extractor is trained for each fold of a cross-validation gives one name per fold: `feature@fold`.
    """
    folds = list(_of_folds(experiment, params))
    replaced = {name.partition(SPLIT_MARK)[0] for name in folds}
    names = [split_array_name(f)[0] for some in experiment.features.values() for f in some]
    return [*dict.fromkeys(name for name in names if name not in replaced), *folds]
