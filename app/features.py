"""From names in params.yaml to features that the engine can plan."""

from collections.abc import Sequence

from app.console import known
from ercache import trained_extractors, weights
from ercache.errors import UsageError, WeightsError
from ercache.manifest import Utterance, modalities_of
from ercache.params.load import NO_PARAMS, PARAMS_FILE
from ercache.params.schema import FOLD, Params
from extract.encoders import ENCODERS
from extract.engine import Feature


def features_of(
    params: Params, names: Sequence[str] | None, profile: str, random: int | None = None
) -> list[Feature]:
    """Features by name, or those of a profile.

    Args:
        random: seed of random weights in the place of checkpoints that are in no wheel.

    Raises:
        UsageError: a name is unknown, or there is no params.yaml that defines any.
        WeightsError: checkpoints are absent; names all of them.
    """
    _check_defined(params)
    if names is None:
        names = params.profiles[known(profile, params.profiles, "profile")]
    found: list[Feature] = []
    lacking: dict[str, WeightsError] = {}
    for name in dict.fromkeys(names):
        try:
            known(name.partition(FOLD)[0], params.features, "feature")
            found.append(feature_of(params, name, random))
        except WeightsError as error:
            lacking[name] = error
    if lacking:
        lacking |= _absent(found)
    if len(lacking) == 1:
        raise next(iter(lacking.values()))
    if lacking:
        told = [(name, lacking[name]) for name in dict.fromkeys(names) if name in lacking]
        raise WeightsError(
            f"checkpoints of {len(lacking)} features cannot be used",
            details=[f"{name}: {error.message} -> {error.hint}" for name, error in told],
            hint="`ercache weights ls` lists all",
        )
    return found


def _absent(features: Sequence[Feature]) -> dict[str, WeightsError]:
    """Features whose checkpoint is not here, though its published digest is enough to find finished results by."""
    states = {row.key: row for row in weights.status(read=False)}
    rows = {f.name: states.get(f.weights["id"]) for f in features if f.weights and "seed" not in f.weights}
    return {n: WeightsError(row.detail, hint=row.remedy) for n, row in rows.items() if row and not row.ok}


def default_names(params: Params, corpus: str) -> tuple[list[str], dict[str, str]]:
    """Features of the default profile that can be made for a corpus now, and why others of it cannot.

    A feature of an extractor of ours waits for its training, and is left to the corpus that it is trained on.

    Raises:
        UsageError: there is no params.yaml that defines any.
    """
    _check_defined(params)
    names = params.profiles[known("default", params.profiles, "profile")]
    why = {name: reason for name in names if (reason := _why_not(params, name, corpus))}
    return [name for name in names if name not in why], why


def lacking_modality(features: Sequence[Feature], utterances: Sequence[Utterance]) -> dict[str, str]:
    """Features that no utterance has anything for, and why: a table without texts, a corpus without pictures."""
    has = modalities_of(utterances)
    words = {"text": "a text", "audio": "sound", "visual": "pictures"}
    lacking = {f.name: f.spec.modality for f in features if f.spec.modality not in has}
    return {name: f"no utterance has {words[modality]}" for name, modality in lacking.items()}


def _why_not(params: Params, name: str, corpus: str) -> str:
    entry = params.features[name]
    config = None if entry.imported else ENCODERS[entry.encoder].Params(**entry.params)
    training = getattr(config, "pretrained", None)
    if training is None:
        return ""
    trained_on = params.pretrain[training].corpus if training in params.pretrain else None
    if trained_on not in (None, corpus):
        return f"its extractor is trained on {trained_on}"
    if not (trained_extractors.FOLDER / training / trained_extractors.RECORD).is_file():
        return f"its extractor is not trained yet: ercache pretrain {training}"
    return ""


def at_hand(params: Params) -> tuple[list[Feature], list[str]]:
    """Every feature of params.yaml that can be made here now, and the names of those whose weights are not here.

    Raises:
        UsageError: there is no params.yaml that defines any.
    """
    _check_defined(params)
    found, lacking = [], []
    for name, entry in params.features.items():
        if entry.imported:
            continue
        try:
            found.append(feature_of(params, name))
        except WeightsError:
            lacking.append(name)
    return found, lacking


def feature_of(params: Params, name: str, random: int | None = None, planned: bool = False) -> Feature:
    """One feature with its encoder, params, weights and face policy resolved.

    Args:
        name: in params.yaml; `<feature>@<split>` is that feature with the extractor that was trained on the split.
        random: seed of random weights in the place of a checkpoint that is in no wheel, or of a trained extractor.
        planned: leave out weights that the pipeline has yet to make.

    Raises:
        UsageError: it was imported, so that nothing here can make it, or it has no extractor of ours.
        WeightsError: its encoder cannot run here, its checkpoint was never taken in, or its extractor not trained yet.
    """
    plain, _, split = name.partition(FOLD)
    entry = params.features[plain]
    if entry.imported:
        raise UsageError(
            f"feature {name!r} was imported and cannot be extracted", hint="see `ercache cache import --help`"
        )
    kind = ENCODERS[entry.encoder]
    config = kind.Params(**entry.params)
    if kind.spec.unavailable:
        raise WeightsError(f"{kind.spec.key} is not available: {kind.spec.unavailable}")
    faces = params.faces_of(entry) if kind.input(config).faces else None
    pretrained = getattr(config, "pretrained", None)
    if split and not pretrained:
        raise UsageError(
            f"feature {plain!r} has no extractor that is trained on a split", hint=f"use {plain!r}"
        )
    if not pretrained:
        key = getattr(config, "weights", kind.spec.weights)
        checkpoint = weights.provenance(key, random) if key and not planned else None
        beside = (
            {} if planned else {other: weights.provenance(other) for other in getattr(config, "beside", ())}
        )
        if checkpoint and beside:
            checkpoint = {**checkpoint, "beside": beside}
        return Feature(name, kind, config, checkpoint, faces)
    if split:
        pretrained = f"{pretrained}{FOLD}{split}"
        config = config.model_copy(update={"pretrained": pretrained})
    if planned:
        return Feature(name, kind, config, None, faces)
    checkpoint = trained_extractors.provenance(pretrained, random)
    return Feature(
        name,
        kind,
        config,
        checkpoint,
        faces,
        trained_extractors.seen_by(pretrained) if random is None else {},
    )


def _check_defined(params: Params) -> None:
    if not params.features:
        absent = not PARAMS_FILE.is_file()
        hint = NO_PARAMS if absent else "write `features:` into params.yaml"
        raise UsageError("no features are defined here", hint=hint)
