"""Make the files of the DVC pipeline from params.yaml: dvc.yaml with its stages, versions of encoders, digests."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from app.checkpoint_digests import (
    CHECKPOINTS_FILE,
    checkpoints_of_experiment,
    checkpoints_of_feature,
    checkpoints_of_training,
    digests_text,
)
from app.console import CACHES, DATA, MANIFESTS, MODELS
from app.corpora import parts_of
from app.stages import (
    ExtractionStage,
    TablesStage,
    check_experiments,
    experiments_of,
    extractions_of,
    extractor_of,
    extractors_of,
    pretrain_stage,
    tables_of,
    used_features,
)
from ercache.errors import ParamsError
from ercache.files import atomic_file
from ercache.params.load import PARAMS_FILE
from ercache.params.own_corpora import FOLDER, own_corpora
from ercache.params.papers import Section, file_of
from ercache.params.schema import SPLIT_MARK, ExperimentParams, Params, split_array_name
from ercache.trained_extractors import TABLES, extractor_folder
from ercache.training.selection import SCORE
from extract.encoders import ENCODERS
from extract.encoders.base import EncoderKind
from extract.engine.coverage import NAME as COVERAGE
from extract.engine.extraction import cache_path
from extract.faces.mtcnn import FACES_KEY, FACES_VERSION

PIPELINE_FILE = Path("dvc.yaml")
VERSIONS_FILE = "extract/versions.yaml"
PAPER_TABLES = "fusion/papers"  # published tables, in the repository of ercache
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


def pipeline_files(params: Params, content: str | None = None) -> dict[Path, str]:
    """Make the texts of the pipeline's three files: stages, versions of encoders, digests of checkpoints.

    Args:
        params: contents of params.yaml.
        content: text of params.yaml, if it is not written yet; None to read the file.

    Returns:
        Path of the file -> its text.

    Raises:
        ParamsError: an experiment uses a feature that the pipeline does not extract, or params.yaml lacks an entry.
    """
    return {
        PIPELINE_FILE: pipeline_text(params, content),
        Path(VERSIONS_FILE): versions_text(params),
        Path(CHECKPOINTS_FILE): digests_text(params),
    }


def stale_files(texts: Mapping[Path, str]) -> list[Path]:
    """Return the paths of the files that are absent, or whose content differs from the given text."""
    return [p for p, text in texts.items() if not p.is_file() or p.read_text(encoding="utf-8") != text]


def write_files(texts: Mapping[Path, str]) -> None:
    """Write texts to files: path -> text. If writing fails or is interrupted, no file is left half written."""
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary:
            temporary.write_bytes(text.encode("utf-8"))


def pipeline_text(params: Params, content: str | None = None) -> str:
    """Make the text of dvc.yaml: one stage for each scan, extractor, extraction, experiment and paper with tables.

    Args:
        params: contents of params.yaml.
        content: text of params.yaml, if it is not written yet; None to read the file.

    Raises:
        ParamsError: an experiment uses a feature that the pipeline does not extract, or params.yaml lacks an entry.
    """
    check_experiments(params)
    _check_written(params, PARAMS_FILE.read_text(encoding="utf-8") if content is None else content)
    extractions, experiments, tables = extractions_of(params), experiments_of(params), tables_of(params)
    extractors = extractors_of(extractions)
    runs = [str(MODELS / name) for name in experiments]
    stages: dict[str, Any] = {
        **{f"manifest-{corpus}": _manifest_stage(corpus, params) for corpus in params.pipeline},
        **{pretrain_stage(name): _pretrain_stage(name, params) for name in extractors},
        **{f"extract-{e.corpus}-{e.modality}": _extract_stage(e, params) for e in extractions},
        **{f"train-{name}": _train_stage(name, entry, params) for name, entry in experiments.items()},
        **{f"reproduce-{t.name}": _reproduce_stage(t, extractions, params) for t in tables},
    }
    manifests = [str(MANIFESTS / f"{corpus}.jsonl") for corpus in params.pipeline]
    caches = [e.folder for e in extractions]
    made = [str(extractor_folder(DATA, name)) for name in extractors]
    stages["report"] = {
        "cmd": "ercache report",
        "deps": [*manifests, *made, *caches, *runs, *(str(t.file) for t in tables)],
        "outs": [str(DATA / "reports" / "report.html")],
    }
    shown = _shown(runs)
    shown["metrics"] += [f"{folder}/metrics.json" for folder in made]
    if made:
        curves = [f"{folder}/{TABLES}/train_loss.tsv" for folder in made]
        shown["plots"].append(_curves("Loss of extractors", curves, "step", "train_loss"))
    shown["metrics"] += [f"{folder}/{COVERAGE}" for folder in caches]
    return HEAD + yaml.safe_dump({"stages": stages, **shown}, sort_keys=False, width=120)


def _check_written(params: Params, content: str) -> None:
    """Check that params.yaml has every entry that a stage of the pipeline depends on.

    DVC needs the entry in the file, even if the code has a default for it.

    Raises:
        ParamsError: entries are missing. The details list them.
    """
    raw = yaml.safe_load(content)
    wanted = [*(f"corpora.{corpus}" for corpus in params.pipeline), *ENGINE, "faces", "training"]
    lacking = [key for key in wanted if not _has(raw, key)]
    if lacking:
        details = [f"{key}: missing, but DVC tracks it" for key in lacking]
        raise ParamsError(
            "params.yaml lacks entries on which the pipeline depends; write them into the file",
            details=details,
        )


def _has(raw: Any, key: str) -> bool:
    for step in key.split("."):
        if not isinstance(raw, dict) or step not in raw:
            return False
        raw = raw[step]
    return True


def _tracked(params: Params, section: Section, names: Iterable[str]) -> list[Any]:
    """Return the params that a stage depends on, as dvc.yaml lists them under `params`.

    Args:
        params: contents of params.yaml.
        section: section of params.yaml, such as `experiments`.
        names: names of entries in this section.

    Returns:
        `section.name` for an entry of params.yaml; `{file: [keys]}` for the entries that stand in a paper's file.
    """
    found: list[Any] = []
    of_papers: dict[str, list[str]] = {}
    for name in names:
        file = file_of(params, section, name)
        if file is None:
            found.append(f"{section}.{name}")
            continue
        within = f"corpora.{params.experiments[name].corpus}." if section == "experiments" else ""
        of_papers.setdefault(str(file), []).append(f"{within}{section}.{name}")
    return found + [{file: keys} for file, keys in of_papers.items()]


def _manifest_stage(corpus: str, params: Params) -> dict[str, Any]:
    shared = FOLDER in params.corpora and corpus in own_corpora(params.corpora)
    return {
        "cmd": f"ercache scan {corpus}",
        "params": [f"corpora.{corpus}", *([f"corpora.{FOLDER}"] if shared else [])],
        "outs": _manifest_files(corpus),
    }


def _manifest_files(corpus: str) -> list[str]:
    return [f"{MANIFESTS}/{corpus}.{end}" for end in ("jsonl", "splits.json")]


def _pretrain_stage(name: str, params: Params) -> dict[str, Any]:
    plain, _, split = name.partition(SPLIT_MARK)
    entry = params.pretrain[plain]
    visual = entry.extractor.startswith("visual/")
    return {
        "cmd": f"ercache pretrain {plain}" + (f" --split {split}" if split else ""),
        "deps": [str(entry.folder)] if entry.corpus is None else _manifest_files(entry.corpus),
        "params": [
            *ENGINE,
            *_tracked(params, "pretrain", [plain]),
            *(["faces"] if visual else []),
            {VERSIONS_FILE: [entry.extractor, *([FACES_KEY] if visual else [])]},
            *_checkpoints(checkpoints_of_training(entry)),
        ],
        "outs": [str(extractor_folder(DATA, name))],
    }


def _extract_stage(extraction: ExtractionStage, params: Params) -> dict[str, Any]:
    features = extraction.features
    faces = any(f.faces for f in features)
    extractors = dict.fromkeys(name for f in features if (name := extractor_of(f)))
    plain = dict.fromkeys(f.name.partition(SPLIT_MARK)[0] for f in features)
    return {
        "cmd": f"ercache extract {extraction.corpus} --features {','.join(f.name for f in features)}",
        "deps": [
            f"{MANIFESTS}/{extraction.corpus}.jsonl",
            *(str(extractor_folder(DATA, name)) for name in extractors),
        ],
        "params": [
            *ENGINE,
            *_tracked(params, "features", plain),
            *(["faces"] if faces else []),
            {VERSIONS_FILE: [*dict.fromkeys(f.spec.key for f in features), *([FACES_KEY] if faces else [])]},
            *_checkpoints([key for f in features for key in checkpoints_of_feature(f)]),
        ],
        "outs": [{extraction.folder: {"persist": True}}],
    }


def _checkpoints(keys: Iterable[str]) -> list[Any]:
    """Return the entry under `params` in dvc.yaml that makes a stage depend on the digests of its checkpoints.

    Args:
        keys: keys of the checkpoints that the stage reads.

    Returns:
        A list with one mapping `{file: [keys]}`; an empty list if there are no keys.
    """
    named = list(dict.fromkeys(keys))
    return [{CHECKPOINTS_FILE: named}] if named else []


def _train_stage(name: str, experiment: ExperimentParams, params: Params) -> dict[str, Any]:
    modality_of = {f: m for m, names in experiment.features.items() for f in map(_plain, names)}
    caches = [
        str(cache_path(CACHES, experiment.corpus, modality_of[_plain(feature)], feature, part))
        for feature in used_features(experiment, params)
        for part in parts_of(experiment.corpus, params)
    ]
    return {
        "cmd": f"ercache train {name}",
        "deps": [*_manifest_files(experiment.corpus), *caches],
        "params": [
            "training",
            *_tracked(params, "experiments", [name]),
            *_checkpoints(checkpoints_of_experiment(experiment)),
        ],
        "outs": [str(MODELS / name)],
    }


def _plain(feature: str) -> str:
    return split_array_name(feature)[0].partition(SPLIT_MARK)[0]


def _reproduce_stage(
    tables: TablesStage, extractions: Iterable[ExtractionStage], params: Params
) -> dict[str, Any]:
    caches = [e.folder for e in extractions if e.corpus == tables.corpus]
    runs = [str(MODELS / name) for name in experiments_of(params) if name in tables.experiments]
    rows = f"{PAPER_TABLES}/{tables.paper}.yaml"
    return {
        "cmd": f"ercache reproduce {tables.paper} --corpus {tables.corpus} --out {tables.file}",
        "deps": [*_manifest_files(tables.corpus), *caches, *runs, *([rows] if Path(rows).is_file() else [])],
        "params": [
            "training",
            *_tracked(params, "experiments", tables.experiments),
            *_checkpoints(key for e in tables.complete for key in checkpoints_of_experiment(e)),
        ],
        "outs": [str(tables.file)],
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
    """Build the entry of dvc.yaml for a plot of one score or loss: mean and standard deviation over seeds.

    DVC draws it with the template .dvc/plots/seeds.json.

    Args:
        title: title of the plot and of its vertical axis.
        tables: paths of csv or tsv files; each one becomes a line of the plot.
        x: column for the horizontal axis.
        column: column for the vertical axis.
    """
    y = dict.fromkeys(tables, column)
    return {title: {"x": x, "y": y, "y_label": title, "title": title, "template": "seeds"}}


def versions_text(params: Params) -> str:
    """Make the text of extract/versions.yaml: the version of every encoder.

    It holds all encoders of ercache, and the plug-in encoders that params.yaml names. When a version is raised, DVC
    computes the caches of this encoder again.
    """
    named = {entry.encoder for entry in params.features.values() if entry.encoder}
    kinds = {key: kind for key, kind in ENCODERS.items() if key in named or _is_ours(kind)}
    versions = {key: kind.spec.version for key, kind in kinds.items()} | {FACES_KEY: FACES_VERSION}
    return VERSIONS_HEAD + yaml.safe_dump(dict(sorted(versions.items())))


def _is_ours(kind: EncoderKind) -> bool:
    module = kind.__module__ if isinstance(kind, type) else type(kind).__module__
    return module.startswith("extract.")
