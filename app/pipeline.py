"""Write dvc.yaml, the stages of DVC, from params.yaml.

DVC cannot template lists, and only `foreach` gives stage names such as `train@m2fnet`. Therefore every item of a group
has the same number of numbered values. Shorter lists repeat their last value, which DVC counts as one dependency.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from app.console import CACHES, DATA, MANIFESTS, MODELS
from app.features import feature_of
from ercache.errors import ParamsError
from ercache.params.load import PARAMS_FILE
from ercache.params.schema import ExperimentParams, Params, split_array_name
from ercache.trained_extractors import TABLES, extractor_folder
from ercache.training import SCORE
from extract.corpora import CORPORA
from extract.engine import Feature
from extract.engine.coverage import NAME as COVERAGE
from extract.engine.extraction import cache_path
from extract.faces.mtcnn import FACES_KEY

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
ENDS = ("jsonl", "splits.json")
HEAD = "# Written by `ercache pipeline` from params.yaml. Do not edit.\n"


def pipeline_text(params: Params) -> str:
    """The text of dvc.yaml.

    Raises:
        ParamsError: an experiment uses a feature that the pipeline does not extract.
    """
    _check(params)
    _check_written(params)
    extractors = _pretrain_items(params)
    extract = _extract_items(params)
    train = _train_items(params)
    runs = [str(MODELS / name) for name in _staged(params)]
    stages: dict[str, Any] = {"manifest": _manifest_stage(params)}
    if extractors:
        stages["pretrain"] = _pretrain_stage(extractors)
    if extract:
        stages["extract"] = _extract_stage(extract)
    if train:
        stages["train"] = _train_stage(train)
    manifests = [str(MANIFESTS / f"{corpus}.jsonl") for corpus in params.pipeline]
    caches = [f"{CACHES}/{item['corpus']}/{item['modality']}" for item in extract.values()]
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
            "params.yaml: the pipeline does not extract what its experiments use", details=found
        )


def _check_written(params: Params) -> None:
    """Refuse params.yaml if an entry of a stage is missing. DVC needs it, even if the code has a default."""
    raw = yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8"))
    wanted = [*(f"corpora.{corpus}" for corpus in params.pipeline), *ENGINE, "faces", "training"]
    lacking = [key for key in wanted if not _has(raw, key)]
    if lacking:
        details = [f"{key}: missing, but DVC tracks it" for key in lacking]
        raise ParamsError("params.yaml: the pipeline needs more entries", details=details)


def _has(raw: Any, key: str) -> bool:
    for step in key.split("."):
        if not isinstance(raw, dict) or step not in raw:
            return False
        raw = raw[step]
    return True


def _staged(params: Params) -> dict[str, ExperimentParams]:
    """Experiments that get a stage: on corpora of the pipeline, and without `pipeline: false`."""
    return {name: e for name, e in params.experiments.items() if e.pipeline and e.corpus in params.pipeline}


def _manifest_stage(params: Params) -> dict[str, Any]:
    return {
        "foreach": list(params.pipeline),
        "do": {
            "cmd": "ercache scan ${item}",
            "params": ["corpora.${item}"],
            "outs": [f"{MANIFESTS}/${{item}}.jsonl", f"{MANIFESTS}/${{item}}.splits.json"],
        },
    }


def _pretrained(feature: Feature) -> str | None:
    """Name of the training that gives a feature its weights, or None."""
    name: str | None = getattr(feature.params, "pretrained", None)
    return name


def _pretrain_items(params: Params) -> dict[str, dict[str, Any]]:
    """Trainings of the extractors that features of the pipeline use, in order."""
    features = [
        feature_of(params, f, weights_later=True)
        for p in params.pipeline.values()
        for f in params.profiles[p]
    ]
    names = dict.fromkeys(name for f in features if (name := _pretrained(f)))
    items: dict[str, dict[str, Any]] = {}
    for name in names:
        entry = params.pretrain[name]
        seen = [] if entry.corpus is None else [f"{MANIFESTS}/{entry.corpus}.{end}" for end in ENDS]
        visual = entry.extractor.startswith("visual/")
        items[name] = {
            "dep": seen or [str(entry.folder)],
            "param": [*ENGINE, f"pretrain.{name}", *(["faces"] if visual else [])],
            "version": [entry.extractor, *([FACES_KEY] if visual else [])],
        }
    return items


def _pretrain_stage(items: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    widths = {kind: _widest(items, kind) for kind in ("dep", "param", "version")}
    return {
        "foreach": _numbered(items, widths),
        "do": {
            "cmd": "ercache pretrain ${key}",
            "deps": _slots("dep", widths["dep"]),
            "params": [
                *_slots("param", widths["param"]),
                {VERSIONS_FILE: _slots("version", widths["version"])},
            ],
            "outs": [str(extractor_folder(DATA, "${key}"))],
        },
    }


def _extract_items(params: Params) -> dict[str, dict[str, Any]]:
    items: dict[str, dict[str, Any]] = {}
    for corpus, profile in params.pipeline.items():
        features = [feature_of(params, name, weights_later=True) for name in params.profiles[profile]]
        for modality in dict.fromkeys(f.spec.modality for f in features):
            group = [f for f in features if f.spec.modality == modality]
            faces = any(f.faces for f in group)
            made = dict.fromkeys(n for f in group if (n := _pretrained(f)))
            items[f"{corpus}-{modality}"] = {
                "corpus": corpus,
                "modality": modality,
                "features": ",".join(f.name for f in group),
                "dep": [f"{MANIFESTS}/{corpus}.jsonl", *(str(extractor_folder(DATA, name)) for name in made)],
                "param": [*ENGINE, *(f"features.{f.name}" for f in group), *(["faces"] if faces else [])],
                "version": [*(f.spec.key for f in group), *([FACES_KEY] if faces else [])],
            }
    return items


def _extract_stage(items: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    deps, params, versions = (_widest(items, kind) for kind in ("dep", "param", "version"))
    return {
        "foreach": _numbered(items, {"dep": deps, "param": params, "version": versions}),
        "do": {
            "cmd": "ercache extract ${item.corpus} --features ${item.features}",
            "deps": _slots("dep", deps),
            "params": [*_slots("param", params), {VERSIONS_FILE: _slots("version", versions)}],
            "outs": [{f"{CACHES}/${{item.corpus}}/${{item.modality}}": {"persist": True}}],
        },
    }


def _train_items(params: Params) -> dict[str, dict[str, Any]]:
    return {
        name: {"corpus": experiment.corpus, "cache": _caches_of(experiment)}
        for name, experiment in _staged(params).items()
    }


def _caches_of(experiment: ExperimentParams) -> list[str]:
    return [
        str(cache_path(CACHES, experiment.corpus, modality, feature, part))
        for modality, features in experiment.features.items()
        for feature in dict.fromkeys(split_array_name(name)[0] for name in features)
        for part in CORPORA[experiment.corpus].parts
    ]


def _train_stage(items: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    caches = _widest(items, "cache")
    manifests = [f"{MANIFESTS}/${{item.corpus}}.{end}" for end in ENDS]
    return {
        "foreach": _numbered(items, {"cache": caches}),
        "do": {
            "cmd": "ercache train ${key}",
            "deps": [*manifests, *_slots("cache", caches)],
            "params": ["training", "experiments.${key}"],
            "outs": [f"{MODELS}/${{key}}"],
        },
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
    """A plot with one line per table: mean and standard deviation over seeds (.dvc/plots/seeds.json)."""
    y = dict.fromkeys(tables, column)
    return {title: {"x": x, "y": y, "y_label": title, "title": title, "template": "seeds"}}


def _widest(items: Mapping[str, Mapping[str, Any]], name: str) -> int:
    return max(len(item[name]) for item in items.values())


def _numbered(items: Mapping[str, Mapping[str, Any]], widths: Mapping[str, int]) -> dict[str, Any]:
    return {key: _flat(item, widths) for key, item in items.items()}


def _flat(item: Mapping[str, Any], widths: Mapping[str, int]) -> dict[str, Any]:
    flat = {name: value for name, value in item.items() if name not in widths}
    for name, width in widths.items():
        flat |= {f"{name}{i}": item[name][min(i, len(item[name]) - 1)] for i in range(width)}
    return flat


def _slots(name: str, width: int) -> list[str]:
    return [f"${{item.{name}{i}}}" for i in range(width)]
