"""Make a corpus from a file with features of another project, without any media (`ercache init --from`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.console import CACHES, MANIFESTS
from app.corpora import known_corpora
from app.first_experiment import first_experiment
from app.project_files import ProjectFiles, project_files
from ercache.errors import CorpusError, UsageError
from ercache.formats.packing import ImportResult, feature_names, pack
from ercache.manifest import Manifest, read_manifest, write_manifest
from ercache.params.own_corpora import FEATURES, SCAN, check_corpus_name, corpus_name, own_corpora
from ercache.params.schema import IMPORTED, Params
from extract.corpora import CORPORA
from extract.corpora.feature_file import FileCorpus, read_feature_file

ENCODER: Final = "text/minilm"  # computes vectors for a file that holds sentences alone


@dataclass(frozen=True)
class FeaturePlan:
    """What `ercache init --from` will write for a features file.

    Attributes:
        found: utterances, labels and features that were read from the file.
        features: names of the features in params.yaml, by modality.
        experiment: name of the first experiment; None if there is nothing to train on.
        no_experiment: why there is no experiment; "" if there is one.
        files: new contents of params.yaml.
        origin: format, name and digest of the features file; the caches record them.
    """

    found: FileCorpus
    features: dict[str, list[str]]
    experiment: str | None
    no_experiment: str
    files: ProjectFiles
    origin: dict[str, Any]

    @property
    def manifest(self) -> Manifest:
        """The manifest of the corpus: its utterances, labels and splits."""
        return self.found.manifest

    @property
    def path(self) -> Path:
        """Path of the manifest file that will be written."""
        return MANIFESTS / f"{self.manifest.corpus}.jsonl"

    @property
    def command(self) -> str:
        """The command that the user should run next: extract features, train, or list the caches."""
        train = f"ercache train {self.experiment}" if self.experiment else ""
        if self.found.content.features:
            return train or f"ercache cache ls {CACHES / self.manifest.corpus}"
        names = ",".join(name for named in self.features.values() for name in named)
        extract = f"ercache extract {self.manifest.corpus} --features {names}"
        return f"{extract} && {train}" if train else extract

    def write(self) -> tuple[ImportResult, list[Path]]:
        """Write the caches, the manifest and params.yaml.

        Returns:
            Two values: the imported features with their cache files, and the paths of all other written files.

        Raises:
            UsageError: values of a feature are not numbers, or caches that ercache extracted would be overwritten.
        """
        packed = ImportResult()
        if self.found.content.features:
            packed = pack(self.found.content, self.manifest, CACHES, self.manifest.corpus, self.origin)
        write_manifest(self.manifest, self.path)
        return packed, [self.path, *self.files.write()]


def plan_features(path: Path, name: str | None, loaded: Params) -> FeaturePlan:
    """Read a features file, and plan what to write to make a corpus from it. Nothing is written yet.

    Args:
        path: the file, or a folder of MERBench.
        name: name of the corpus; None to take the name of the file.
        loaded: contents of params.yaml.

    Raises:
        UsageError: the file cannot be used, the name is taken, or params.yaml does not fit.
    """
    corpus = check_corpus_name(name) if name is not None else _default_name(path)
    _check_free(corpus, loaded)
    found = read_feature_file(path, corpus)
    _check_same_file(found.manifest, named=name is not None)
    names = feature_names(found.content.features, corpus)
    features: dict[str, list[str]] = {}
    for feature, label in zip(found.content.features, names, strict=True):
        features.setdefault(feature.modality, []).append(label)
    entries: dict[str, dict[str, Any]] = {"corpora": {corpus: {SCAN: FEATURES}}}
    if names:
        entries["features"] = {label: {"encoder": IMPORTED} for label in names}
    else:
        features = {"text": [_text_feature(loaded, entries)]}
    spoilt = _features_with_gaps(found, names)
    usable = {m: [name for name in named if name not in spoilt] for m, named in features.items()}
    first = {modality: named[:1] for modality, named in usable.items() if named}
    experiment, why = first_experiment(found.manifest, first, loaded)
    if not first:
        why = "every feature holds NaN or infinite values, which training refuses; replace them and run this again"
    if experiment:
        entries["experiments"] = experiment
    _check_features(names, loaded)
    files = project_files(entries)
    source, digest = next(iter(found.manifest.sources.items()))
    origin = {"format": found.form, "source": source, "sha256": digest}
    return FeaturePlan(found, features, next(iter(experiment or ()), None), why, files, origin)


def _features_with_gaps(found: FileCorpus, names: list[str]) -> set[str]:
    """Return the names of the features of which some values are NaN or infinite."""
    return {
        name
        for feature, name in zip(found.content.features, names, strict=True)
        if any(
            array.dtype.kind == "f" and not np.isfinite(array).all()
            for utterance in feature.ids
            for array in feature.read(utterance).values()
        )
    }


def _default_name(path: Path) -> str:
    stem = path.resolve().name if path.is_dir() else path.name.split(".")[0]
    name = corpus_name(stem or path.name)
    return f"{name}_features" if name.lower() in CORPORA else name


def _check_free(corpus: str, loaded: Params) -> None:
    known = known_corpora(loaded)
    taken = next((key for key in known if key.lower() == corpus.lower()), None)
    if taken and own_corpora(loaded.corpora).get(corpus) != FEATURES:
        raise UsageError(
            f"{corpus!r} is the name of another corpus ({taken})", hint="give another name with --name"
        )


def _check_same_file(manifest: Manifest, named: bool) -> None:
    """Check that no manifest is replaced that was made from another features file.

    Args:
        manifest: the new manifest.
        named: whether the user gave the corpus its name; then any manifest of this name may be replaced.

    Raises:
        UsageError: such a manifest would be replaced.
    """
    path = MANIFESTS / f"{manifest.corpus}.jsonl"
    if named or not path.is_file():
        return
    try:
        sources = read_manifest(path).sources
    except CorpusError:  # a damaged manifest may be replaced
        return
    if sources != manifest.sources:
        raise UsageError(
            f"the manifest {path} was made from another features file",
            hint=f"give another name with --name; `--name {manifest.corpus}` replaces it",
        )


def _check_features(names: list[str], loaded: Params) -> None:
    taken = [name for name in names if name in loaded.features and not loaded.features[name].imported]
    if taken:
        raise UsageError(
            f"params.yaml already has other features with these names: {', '.join(taken)}",
            hint="give the corpus another name with --name; the names of its features begin with it",
        )


def _text_feature(loaded: Params, entries: dict[str, dict[str, Any]]) -> str:
    """Return the name of a feature that computes vectors of sentences with text/minilm, which needs no download.

    Args:
        loaded: contents of params.yaml.
        entries: new entries for params.yaml. If params.yaml has no such feature, it is added here.
    """
    for name, entry in loaded.features.items():
        if entry.encoder == ENCODER:
            return name
    name = ENCODER.partition("/")[2]
    entries["features"] = {name: {"encoder": ENCODER}}
    return name
