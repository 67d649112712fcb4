"""Write dvc.yaml (the stages of the DVC pipeline) from params.yaml, and the encoder versions they depend on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from app.console import CACHES, DATA, MANIFESTS, MODELS
from app.features import feature_of
from ercache.errors import ParamsError
from ercache.params.load import PARAMS_FILE
from ercache.params.schema import ExperimentParams, Params, split_array_name
from ercache.trained_extractors import TABLES, extractor_folder
from ercache.training.selection import SCORE
from extract.corpora import CORPORA
from extract.encoders import ENCODERS
from extract.encoders.base import EncoderKind
from extract.engine import Feature
from extract.engine.coverage import NAME as COVERAGE
from extract.engine.extraction import cache_path
from extract.faces.mtcnn import FACES_KEY, FACES_VERSION

PIPELINE_FILE = Path("dvc.yaml")
VERSIONS_FILE = "extract/versions.yaml"
ENGINE = (
    "engine.shard",
    "engine.text_shard",
    "engine.batch",
    "engine.precision",
    "engine.threads",
    "engine.memory",
    "engine.limits",
)
HEAD = "# Written by `ercache pipeline` from params.yaml. Do not edit.\n"
VERSIONS_HEAD = (
    "# Versions of the encoders, written by `ercache pipeline`. DVC repeats a stage when one is raised.\n"
)


def pipeline_text(params: Params) -> str:
    """Write the content of dvc.yaml as a text: one stage per scan, extractor, extraction and experiment of params.yaml.

    Raises:
        ParamsError: an experiment uses a feature that the pipeline does not extract, or an entry is missing.
    """
    _check(params)
    _check_written(params)
    extractors = _trained_extractors(params)
    extractions = _extractions(params)
    runs = [str(MODELS / name) for name in _staged(params)]
    stages: dict[str, Any] = {
        **{f"manifest-{corpus}": _manifest_stage(corpus) for corpus in params.pipeline},
        **{f"pretrain-{name}": _pretrain_stage(name, params) for name in extractors},
        **{f"extract-{e.corpus}-{e.modality}": _extract_stage(e) for e in extractions},
        **{f"train-{name}": _train_stage(name, entry) for name, entry in _staged(params).items()},
    }
    manifests = [str(MANIFESTS / f"{corpus}.jsonl") for corpus in params.pipeline]
    caches = [e.folder for e in extractions]
    made = [str(extractor_folder(DATA, name)) for name in extractors]
    stages["report"] = {
        "cmd": "ercache report",
        "deps": [*manifests, *made, *caches, *runs],
        "outs": [str(DATA / "reports" / "report.html")],
    }
    shown = _shown(runs)
    shown["metrics"] += [f"{folder}/metrics.json" for folder in made]
    if made:
        tables = [f"{folder}/{TABLES}/train_loss.tsv" for folder in made]
        shown["plots"].append(_curves("Loss of extractors", tables, "step", "train_loss"))
    shown["metrics"] += [f"{folder}/{COVERAGE}" for folder in caches]
    return HEAD + yaml.safe_dump({"stages": stages, **shown}, sort_keys=False, width=120)


def _check(params: Params) -> None:
    found = []
    for name, experiment in _staged(params).items():
        extracted = params.profiles[params.pipeline[experiment.corpus]]
        used = experiment.feature_names
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


def _check_written(params: Params) -> None:
    """Refuse params.yaml if it lacks an entry that a stage depends on.

    DVC needs the entry in the file, even if the code has a default for it.
    """
    raw = yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8"))
    wanted = [*(f"corpora.{corpus}" for corpus in params.pipeline), *ENGINE, "faces", "training"]
    lacking = [key for key in wanted if not _has(raw, key)]
    if lacking:
        details = [f"{key}: missing, but DVC tracks it" for key in lacking]
        raise ParamsError(
            "params.yaml: the pipeline depends on entries that are missing; write them into the file",
            details=details,
        )


def _has(raw: Any, key: str) -> bool:
    for step in key.split("."):
        if not isinstance(raw, dict) or step not in raw:
            return False
        raw = raw[step]
    return True


def _staged(params: Params) -> dict[str, ExperimentParams]:
    """Find the experiments that get a stage in dvc.yaml: `pipeline` is true and their corpus is in the pipeline."""
    return {name: e for name, e in params.experiments.items() if e.pipeline and e.corpus in params.pipeline}


def _manifest_stage(corpus: str) -> dict[str, Any]:
    return {
        "cmd": f"ercache scan {corpus}",
        "params": [f"corpora.{corpus}"],
        "outs": _manifest_files(corpus),
    }


def _manifest_files(corpus: str) -> list[str]:
    return [f"{MANIFESTS}/{corpus}.{end}" for end in ("jsonl", "splits.json")]


def _pretrained(feature: Feature) -> str | None:
    """Name of the extractor (under `pretrain` in params.yaml) that a feature uses, or None."""
    name: str | None = getattr(feature.params, "pretrained", None)
    return name


def _trained_extractors(params: Params) -> list[str]:
    """Names of the extractors (under `pretrain` in params.yaml) that features of the pipeline use, in order."""
    features = [
        feature_of(params, f, weights_later=True)
        for p in params.pipeline.values()
        for f in params.profiles[p]
    ]
    return list(dict.fromkeys(name for f in features if (name := _pretrained(f))))


def _pretrain_stage(name: str, params: Params) -> dict[str, Any]:
    entry = params.pretrain[name]
    visual = entry.extractor.startswith("visual/")
    return {
        "cmd": f"ercache pretrain {name}",
        "deps": [str(entry.folder)] if entry.corpus is None else _manifest_files(entry.corpus),
        "params": [
            *ENGINE,
            f"pretrain.{name}",
            *(["faces"] if visual else []),
            {VERSIONS_FILE: [entry.extractor, *([FACES_KEY] if visual else [])]},
        ],
        "outs": [str(extractor_folder(DATA, name))],
    }


@dataclass(frozen=True)
class _Extraction:
    """A stage of the pipeline that extracts the features of one corpus and one modality."""

    corpus: str
    modality: str
    features: tuple[Feature, ...]

    @property
    def folder(self) -> str:
        return f"{CACHES}/{self.corpus}/{self.modality}"


def _extractions(params: Params) -> list[_Extraction]:
    found = []
    for corpus, profile in params.pipeline.items():
        features = [feature_of(params, name, weights_later=True) for name in params.profiles[profile]]
        for modality in dict.fromkeys(f.spec.modality for f in features):
            group = tuple(f for f in features if f.spec.modality == modality)
            found.append(_Extraction(corpus, modality, group))
    return found


def _extract_stage(extraction: _Extraction) -> dict[str, Any]:
    features = extraction.features
    faces = any(f.faces for f in features)
    extractors = dict.fromkeys(name for f in features if (name := _pretrained(f)))
    return {
        "cmd": f"ercache extract {extraction.corpus} --features {','.join(f.name for f in features)}",
        "deps": [
            f"{MANIFESTS}/{extraction.corpus}.jsonl",
            *(str(extractor_folder(DATA, name)) for name in extractors),
        ],
        "params": [
            *ENGINE,
            *(f"features.{f.name}" for f in features),
            *(["faces"] if faces else []),
            {VERSIONS_FILE: [*dict.fromkeys(f.spec.key for f in features), *([FACES_KEY] if faces else [])]},
        ],
        "outs": [{extraction.folder: {"persist": True}}],
    }


def _train_stage(name: str, experiment: ExperimentParams) -> dict[str, Any]:
    caches = [
        str(cache_path(CACHES, experiment.corpus, modality, feature, part))
        for modality, features in experiment.features.items()
        for feature in dict.fromkeys(split_array_name(f)[0] for f in features)
        for part in CORPORA[experiment.corpus].parts
    ]
    return {
        "cmd": f"ercache train {name}",
        "deps": [*_manifest_files(experiment.corpus), *caches],
        "params": ["training", f"experiments.{name}"],
        "outs": [str(MODELS / name)],
    }


def _shown(runs: Sequence[str]) -> dict[str, Any]:
    confusion = [
        {f"{run}/confusion.csv": {"template": "confusion", "x": "actual", "y": "predicted", "title": run}}
        for run in runs
    ]
    tables = [f"{run}/curves.csv" for run in runs]
    learning = _curves("Validation weighted F1", tables, "epoch", SCORE)
    return {"metrics": [f"{run}/metrics.json" for run in runs], "plots": [learning, *confusion]}


def _curves(title: str, tables: Sequence[str], x: str, column: str) -> dict[str, Any]:
    """Build the entry of dvc.yaml for a plot of mean and standard deviation over seeds.

    The plot has one line for each csv file in `tables`.

    DVC draws it with the template .dvc/plots/seeds.json.
    """
    y = dict.fromkeys(tables, column)
    return {title: {"x": x, "y": y, "y_label": title, "title": title, "template": "seeds"}}


def versions_text(params: Params) -> str:
    """Write the content of extract/versions.yaml: the version of every encoder.

    These are all encoders of ercache, and the plug-in encoders that params.yaml names.

    When the version of an encoder is raised, DVC computes the caches of this encoder again.
    """
    named = {entry.encoder for entry in params.features.values() if entry.encoder}
    kinds = {key: kind for key, kind in ENCODERS.items() if key in named or _is_ours(kind)}
    versions = {key: kind.spec.version for key, kind in kinds.items()} | {FACES_KEY: FACES_VERSION}
    return VERSIONS_HEAD + yaml.safe_dump(dict(sorted(versions.items())))


def _is_ours(kind: EncoderKind) -> bool:
    module = kind.__module__ if isinstance(kind, type) else type(kind).__module__
    return module.startswith("extract.")
