"""Records of runs as the papers make them, built from params.yaml, the encoders and the table of checkpoints."""

import functools
from pathlib import Path
from typing import Any

from ercache.params.load import load_params
from ercache.params.schema import FacePolicy, Params, split_array_name
from ercache.trained_extractors import TRAINING
from ercache.weights.table import checkpoint
from extract.encoders import ENCODERS
from extract.pretrain.config import CONFIGS
from fusion.experiment.resolve import experiment_of
from fusion.models import MODELS
from fusion.papers import read_paper
from fusion.runs.schema import Provenance, RunRecord

ROOT = Path(__file__).parents[2]
NAMES = {
    "m2fnet": {"roberta": "m2fnet_text_CORPUS", "mel": "m2fnet_audio_CORPUS", "dual": "m2fnet_visual"},
    "avafn": {"wav2vec2": "avafn_wav2vec2", "dan": "avafn_dan"},
    "avtca": {"mfcc": "avtca_mfcc", "crops": "avtca_crops"},
    "amuse": {"mpnet": "amuse_mpnet", "passt": "amuse_passt", "jaa": "amuse_jaa", "back": "amuse_back"},
    "cues": {
        "kwrt": "cues_kwrt",
        "wavlm": "cues_wavlm",
        "mel_target": "cues_mel_target",
        "mel_window": "cues_mel_window",
    },
}  # feature of the paper -> its name in the paper's file


def names_of(paper: str, corpus: str) -> dict[str, str]:
    """Feature of the paper -> its name in the paper's file, for a corpus."""
    return {feature: name.replace("CORPUS", corpus) for feature, name in NAMES[paper].items()}


def weights_of(key: str | None, beside: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The provenance of a checkpoint with its published content."""
    if key is None:
        return None
    row = checkpoint(key)
    digests = {file.name: file.sha256.ljust(64, "0") for file in row.files}
    made: dict[str, Any] = {"id": key, "kind": row.kind, "revision": row.revision, "sha256": digests}
    return made | ({"beside": {other: weights_of(other) for other in beside}} if beside else {})


def recipe_of(
    feature: str,
    changes: dict[str, Any] | None = None,
    faces: dict[str, Any] | None = None,
    extractor: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """How a feature of params.yaml is made, as a cache records it.

    Args:
        feature: name of the feature.
        changes: changed params of the encoder.
        faces: changed entries of the face policy.
        extractor: changed fields of the record of the extractor.
    """
    entry = shipped().features[feature]
    kind = ENCODERS[entry.encoder]
    params = kind.Params(**{**entry.params, **(changes or {})})
    policy = FacePolicy(**{**FacePolicy().model_dump(), **entry.faces, **(faces or {})})
    recipe: dict[str, Any] = {
        "encoder": entry.encoder,
        "version": kind.spec.version,
        "params": params.model_dump(mode="json"),
        "weights": weights_of(getattr(params, "weights", kind.spec.weights), getattr(params, "beside", ())),
        "faces": None,
    }
    if kind.input(params).faces:
        recipe["faces"] = {"params": policy.model_dump(mode="json"), "weights": weights_of("mtcnn")}
    if "pretrained" in entry.params:
        recipe["weights"] = {"id": f"made/{feature}", "kind": "made"}
        recipe[TRAINING] = {**extractor_record(entry.params["pretrained"]), **(extractor or {})}
    return recipe


@functools.cache
def shipped() -> Params:
    """params.yaml and the files of papers as they are in the repository."""
    return load_params(ROOT / "params.yaml")


def extractor_record(name: str) -> dict[str, Any]:
    """The fields of an extractor's record that a cache holds, for a training run of a paper's file."""
    entry = shipped().pretrain[name]
    config, training = CONFIGS[entry.extractor]
    where = entry.corpus or f"folder:{Path(str(entry.folder)).name}"
    return {
        "config": config(**entry.config).model_dump(mode="json"),
        "training": training(**entry.training).model_dump(mode="json"),
        "checkpoint": weights_of(config(**entry.config).checkpoint),  # type: ignore[attr-defined]
        "labels": entry.labels,
        "seen": {where: 100},
    }


def paper_record(
    key: str,
    corpus: str,
    task: Any = "erc",
    recipes: dict[str, dict[str, Any]] | None = None,
    /,
    **entry: Any,
) -> RunRecord:
    """The record of a run of a paper.

    Args:
        key: key of the paper.
        corpus, task: what is trained.
        recipes: feature of params.yaml -> how it was made, where that is not the paper's way.
        entry: changed fields of the experiment.
    """
    run = read_paper(key).run_for(corpus, task)
    fields = {**run.experiment(key, names_of(key, corpus)), **entry}
    if "split" in entry:
        fields.pop("folds", None)
    if "folds" in entry:
        fields.pop("split", None)
    params = Params.model_validate({"experiments": {"exp": fields}})
    experiment = experiment_of("exp", params)
    model, made = MODELS[experiment.entry.model], experiment.entry
    roles = {m: model.roles.get(m, (m,)) for m in made.features}
    used = [role for m, names in made.features.items() for role in roles[m][: len(names)]]
    names = {split_array_name(name)[0] for listed in made.features.values() for name in listed}
    encoders = {name: recipe_of(name) for name in sorted(names - set(recipes or {}))}
    return RunRecord(
        experiment="exp",
        model=made.model,
        preset=made.preset,
        task=made.task,
        history=made.history,
        epc_target=made.epc_target,
        corpus=made.corpus,
        label_set=made.label_set,
        several=False,
        classes=["a", "b"],
        split=made.folds or made.split,
        features=dict(made.features),  # type: ignore[arg-type]
        modalities=list(made.features),
        config=experiment.config.model_dump(mode="json"),
        training=experiment.training.model_dump(mode="json"),
        seeds=[0],
        selected_on="validation",
        epochs=[1],
        parameters=1,
        widths={role: model.widths[role] for role in used},
        missing={},
        validation={},
        test={},
        per_class={},
        confusion=[],
        provenance=Provenance(
            labels_digest="",
            manifest_digest="",
            unlabelled=made.unlabelled,
            caches={},
            encoders={**encoders, **(recipes or {})},
            context={},
            random_weights=False,
            leak=False,
            versions={},
            device="cpu",
            threads=1,
            run_digest="",
        ),
        marks=[],
        folds={} if made.folds is None else {"fold": _fold()},
    )


def _fold() -> Any:
    return {"epochs": [1], "validation": {}, "test": {}, "missing": {}, "marks": []}
