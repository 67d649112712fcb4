"""From names in params.yaml to features that the engine can plan."""

from collections.abc import Sequence

from app.console import known
from ercache import made, weights
from ercache.errors import UsageError, WeightsError
from ercache.params import FOLD, Params
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
    found, lacking = [], []
    for name in dict.fromkeys(names):
        try:
            known(name.partition(FOLD)[0], params.features, "feature")
            found.append(feature_of(params, name, random))
        except WeightsError as error:
            lacking.append((name, error))
    if len(lacking) == 1:
        raise lacking[0][1]
    if lacking:
        raise WeightsError(
            f"checkpoints of {len(lacking)} features cannot be used",
            details=[f"{name}: {error.message} -> {error.hint}" for name, error in lacking],
            hint="`ercache weights ls` lists all",
        )
    return found


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
    checkpoint = made.provenance(pretrained, random)
    return Feature(name, kind, config, checkpoint, faces, made.seen_by(pretrained) if random is None else {})


def _check_defined(params: Params) -> None:
    if not params.features:
        raise UsageError(
            "no features are defined here", hint="run in a folder whose params.yaml has `features:`"
        )
