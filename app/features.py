"""From names in params.yaml to features that the engine can plan."""

from collections.abc import Sequence

from app.console import known
from ercache import weights
from ercache.errors import UsageError
from ercache.params import Params
from extract.encoders import ENCODERS
from extract.engine import Feature


def features_of(params: Params, names: Sequence[str] | None, profile: str) -> list[Feature]:
    """Features by name, or those of a profile.

    Raises:
        UsageError: a name is unknown, or there is no params.yaml that defines any.
    """
    if not params.features:
        raise UsageError(
            "no features are defined here", hint="run in a folder whose params.yaml has `features:`"
        )
    if names is None:
        names = params.profiles[known(profile, params.profiles, "profile")]
    return [feature_of(params, known(name, params.features, "feature")) for name in dict.fromkeys(names)]


def feature_of(params: Params, name: str) -> Feature:
    """One feature with its encoder, params, weights and face policy resolved.

    Raises:
        UsageError: it was imported, so that nothing here can make it.
    """
    entry = params.features[name]
    if entry.imported:
        raise UsageError(
            f"feature {name!r} was imported and cannot be extracted", hint="see `ercache cache import --help`"
        )
    kind = ENCODERS[entry.encoder]
    config = kind.Params(**entry.params)
    key = getattr(config, "weights", kind.spec.weights)
    checkpoint = weights.provenance(key) if key else None
    return Feature(
        name, kind, config, checkpoint, params.faces_of(entry) if kind.input(config).faces else None
    )
