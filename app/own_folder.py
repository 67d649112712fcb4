"""Plan the pipeline for a folder of the user's own: scan it, extract features and train (`ercache init --folder`)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app.console import MANIFESTS, check_name
from app.corpora import ChosenCorpus, choose_folder
from app.features import feature_of, features_without_input, foreign_extractor
from app.first_experiment import first_experiment
from app.manifests import check_not_another_folder, scan_corpus
from app.project_files import ProjectFiles, project_files
from ercache.errors import UsageError
from ercache.manifest import Manifest
from ercache.params.load import LOCAL_FILE
from ercache.params.own_corpora import FOLDER, SCAN
from ercache.params.roots import local_roots
from ercache.params.schema import Params
from extract.engine import Feature

PROFILE: Final = "default"


@dataclass(frozen=True)
class FolderPlan:
    """What the pipeline of a folder will run, and which files `ercache init` writes for it.

    Attributes:
        corpus: name of the corpus.
        root: the folder.
        manifest: manifest of the corpus.
        features: the features to extract.
        left_out: features of the profile `default` that are not extracted: name -> why.
        experiment: name of the first experiment; None if there is nothing to train on.
        no_experiment: why there is no experiment; "" if there is one.
        files: new contents of params.yaml, params.local.yaml and the files of the pipeline.
        stages: names of the stages of this corpus in dvc.yaml.
    """

    corpus: str
    root: Path
    manifest: Manifest
    features: tuple[Feature, ...]
    left_out: dict[str, str]
    experiment: str | None
    no_experiment: str
    files: ProjectFiles
    stages: tuple[str, ...] = field(default=())

    @property
    def path(self) -> Path:
        """Path of the manifest file that will be written."""
        return MANIFESTS / f"{self.corpus}.jsonl"

    @property
    def command(self) -> str:
        """The command that the user should run next: it starts the stages of this corpus in the pipeline."""
        target = self.stages[-1:] if self.experiment else self.stages[1:]
        prepare = "" if Path(".dvc").is_dir() else "dvc init --no-scm && "
        return f"{prepare}dvc repro {' '.join(target)}"


def plan_folder(folder: Path, name: str | None, loaded: Params) -> FolderPlan:
    """Scan a folder of the user's own, and plan its pipeline: features, first experiment, stages. Nothing is written.

    Args:
        folder: the folder with the media.
        name: name of the corpus; None to take the name of the folder.
        loaded: contents of params.yaml.

    Raises:
        UsageError: the folder cannot be used, its name is taken, or params.yaml does not fit.
    """
    if not folder.is_dir():
        raise UsageError(f"no such folder: {folder}", hint="check the path")
    root = folder.resolve()
    chosen = choose_folder(root, name, loaded)
    corpus = chosen.name
    _check_free(chosen, loaded)
    check_not_another_folder(chosen, MANIFESTS / f"{corpus}.jsonl")
    manifest = scan_corpus(corpus, root, loaded)
    features, left_out = _features(manifest, loaded)
    experiment, why = first_experiment(manifest, _by_modality(features), loaded)
    staged = loaded.pipeline.get(corpus)
    profile = staged.profiles[0] if staged else _profile_name(corpus, loaded)
    entries: dict[str, dict[str, Any]] = {
        "corpora": {corpus: {SCAN: FOLDER}},
        "profiles": {profile: [feature.name for feature in features]},
    }
    if staged is None:
        entries["pipeline"] = {corpus: profile}
    if experiment is not None:
        entries["experiments"] = experiment
    files = project_files(entries, {corpus: root}, pipeline=True)
    trained = next(iter(experiment), None) if experiment else None
    stages = [f"manifest-{corpus}"]
    stages += [f"extract-{corpus}-{m}" for m in dict.fromkeys(f.spec.modality for f in features)]
    stages += [f"train-{trained}"] if trained else []
    return FolderPlan(corpus, root, manifest, features, left_out, trained, why, files, tuple(stages))


def _profile_name(corpus: str, loaded: Params) -> str:
    """Return a name for the corpus's profile (list of features): the corpus's name, unless a paper has this name."""
    return f"{corpus}_{FOLDER}" if corpus in loaded.papers else corpus


def _check_free(chosen: ChosenCorpus, loaded: Params) -> None:
    corpus, roots = chosen.name, {**loaded.roots, **local_roots()}
    if corpus == FOLDER:
        raise UsageError(
            f"{corpus!r} cannot be the name of a corpus, because in params.yaml it stands for any folder",
            hint="give this folder another name with --name",
        )
    if corpus in roots and Path(str(roots[corpus])).expanduser().resolve() != chosen.root:
        raise UsageError(
            f"the name {corpus!r} already belongs to another folder: {roots[corpus]}",
            hint=f"give another name with --name, or change the root in {LOCAL_FILE}",
        )


def _features(manifest: Manifest, loaded: Params) -> tuple[tuple[Feature, ...], dict[str, str]]:
    """Divide the features of the profile `default` into those that can be extracted and those that cannot.

    Returns:
        Two values: the features to extract, and a dictionary from the name of each other feature to a text that says
            why it cannot: the corpus lacks its input, or its extractor is trained on another corpus.
    """
    names = loaded.profiles[check_name(PROFILE, loaded.profiles, "profile")]
    foreign = {n: why for n in names if (why := foreign_extractor(loaded, n, manifest.corpus))}
    usable = [feature_of(loaded, n, weights_later=True) for n in names if n not in foreign]
    lacking = features_without_input(usable, manifest.utterances)
    chosen = tuple(feature for feature in usable if feature.name not in lacking)
    if not chosen:
        raise UsageError(
            f"{manifest.corpus}: no feature of the profile {PROFILE!r} can be extracted; add another one to it",
            details=[f"{name}: {why}" for name, why in (foreign | lacking).items()],
        )
    return chosen, foreign | lacking


def _by_modality(features: tuple[Feature, ...]) -> dict[str, list[str]]:
    """Group the features that have one vector per utterance by modality: modality -> names of features.

    Of several features with the same encoder, only the first is taken.
    """
    found: dict[str, dict[str, str]] = {}
    for feature in features:
        if any(spec.kind == "vector" for spec in feature.kind.arrays(feature.params)):
            found.setdefault(feature.spec.modality, {}).setdefault(feature.spec.key, feature.name)
    return {modality: list(names.values()) for modality, names in found.items()}
