"""The experiment that a command line asks for: one of params.yaml with some of it changed, or one of its own."""

from collections.abc import Mapping
from typing import Any

from app.console import CACHES, MANIFESTS, known
from ercache.errors import UsageError
from ercache.manifest import MODALITIES
from ercache.params.load import schema_errors
from ercache.params.schema import SPLIT_MARK, ExperimentParams, Params, split_array_name
from extract.corpora import CORPORA
from extract.encoders import ENCODERS
from fusion.models import MODELS

NEEDED = ("model", "corpus", "features")


def planned(loaded: Params, name: str | None, asked: Mapping[str, Any]) -> tuple[str, Params]:
    """Name of the experiment, and the params that hold it.

    Args:
        name: in params.yaml; None for one that the options make up.
        asked: option -> value, those that were given.

    Raises:
        UsageError: the experiment or a feature is unknown, or the options do not say enough or contradict each other.
    """
    if "model" in asked:
        known(asked["model"], MODELS, "model")
    if name is None:
        lacking = [f"--{option}" for option in NEEDED if option not in asked]
        if lacking:
            raise UsageError(
                f"no experiment is named, and {' and '.join(lacking)} are not given",
                hint="ercache train EXPERIMENT, or --model M --corpus C --features F1,F2",
            )
        name = f"{asked['model']}_{asked['corpus']}"
        if name in loaded.experiments:
            raise UsageError(
                f"params.yaml has an experiment {name!r} of its own", hint=f"ercache train {name} trains that"
            )
        fields: dict[str, Any] = {}
    else:
        entry = loaded.experiments[known(name, loaded.experiments, "experiment")]
        fields = entry.model_dump()
        if "folds" in asked:
            fields.pop("split")
        if "split" in asked:
            fields.pop("folds", None)
        if asked.get("model", entry.model) != entry.model:
            fields.update(preset="small", config={})  # those of the other model
    fields |= {key: value for key, value in asked.items() if key not in ("seeds", "features")}
    if "corpus" in asked and not (MANIFESTS / f"{asked['corpus']}.jsonl").is_file():
        known(str(asked["corpus"]), CORPORA, "corpus")
    if "features" in asked:
        fields["features"] = by_modality(loaded, str(asked["features"]).split(","), fields["corpus"])
    if "seeds" in asked:
        fields["training"] = {**fields.get("training", {}), "seeds": asked["seeds"]}
    wrong = schema_errors(ExperimentParams, fields)
    if wrong:
        raise UsageError(f"{name}: unusable experiment", details=wrong)
    changed = {**loaded.experiments, name: ExperimentParams(**fields)}
    return name, loaded.model_copy(update={"experiments": changed})


def by_modality(loaded: Params, names: list[str], corpus: str) -> dict[str, list[str]]:
    """Features by the modality of their encoders; of imported ones, by where their caches lie.

    Raises:
        UsageError: a feature is unknown, or an imported one has no cache of the corpus.
    """
    found: dict[str, list[str]] = {}
    for chosen in filter(None, (name.strip() for name in names)):
        feature = split_array_name(chosen)[0]
        entry = loaded.features[known(feature.partition(SPLIT_MARK)[0], loaded.features, "feature")]
        if not entry.imported:
            modality: str = ENCODERS[entry.encoder].spec.modality
        else:
            places = [m for m in MODALITIES if any((CACHES / corpus / m).glob(f"{feature}.*.h5"))]
            if not places:
                raise UsageError(f"feature {feature!r} has no cache of {corpus}", hint="ercache cache import")
            modality = places[0]
        found.setdefault(modality, []).append(chosen)
    return found
