"""Apply the options of `ercache train` to an experiment of params.yaml, or build an experiment from them."""

from collections.abc import Mapping
from typing import Any

from app.console import CACHES, MANIFESTS, check_name
from ercache.errors import UsageError
from ercache.manifest import MODALITIES
from ercache.params.load import schema_errors
from ercache.params.schema import SPLIT_MARK, ExperimentParams, Params, split_array_name
from extract.corpora import CORPORA
from extract.encoders import ENCODERS
from fusion.models import MODELS

NEEDED = ("model", "corpus", "features")  # options without which no experiment can be built


def resolve_experiment(loaded: Params, name: str | None, options: Mapping[str, Any]) -> tuple[str, Params]:
    """Apply the options of `ercache train` to an experiment.

    Args:
        name: name of the experiment in params.yaml; None to build an experiment from the options alone.
        options: values of the options that the user gave, by option name.

    Returns:
        Two values: the name of the experiment, and a copy of the params in which the options have changed this
            experiment.

    Raises:
        UsageError: the experiment or a feature is unknown, options are missing, or they contradict each other.
    """
    if "model" in options:
        check_name(options["model"], MODELS, "model")
    if name is None:
        lacking = [f"--{option}" for option in NEEDED if option not in options]
        if lacking:
            raise UsageError(
                f"missing: the name of an experiment, or {' and '.join(lacking)}",
                hint="ercache train EXPERIMENT, or ercache train --model M --corpus C --features F1,F2",
            )
        name = f"{options['model']}_{options['corpus']}"
        if name in loaded.experiments:
            raise UsageError(
                f"params.yaml already has an experiment {name!r}", hint=f"train it: ercache train {name}"
            )
        fields: dict[str, Any] = {}
    else:
        entry = loaded.experiments[check_name(name, loaded.experiments, "experiment")]
        fields = entry.model_dump()
        if "folds" in options:
            fields.pop("split")
        if "split" in options:
            fields.pop("folds", None)
        if options.get("model", entry.model) != entry.model:
            fields.update(preset="small", config={})  # preset and config belong to the other model
    fields |= {key: value for key, value in options.items() if key not in ("seeds", "features")}
    if "corpus" in options and not (MANIFESTS / f"{options['corpus']}.jsonl").is_file():
        check_name(str(options["corpus"]), CORPORA, "corpus")
    if "features" in options:
        fields["features"] = by_modality(loaded, str(options["features"]).split(","), fields["corpus"])
    if "seeds" in options:
        fields["training"] = {**fields.get("training", {}), "seeds": options["seeds"]}
    wrong = schema_errors(ExperimentParams, fields)
    if wrong:
        raise UsageError(
            f"experiment {name!r} cannot be used; correct params.yaml or the options", details=wrong
        )
    changed = {**loaded.experiments, name: ExperimentParams(**fields)}
    return name, loaded.model_copy(update={"experiments": changed})


def by_modality(loaded: Params, names: list[str], corpus: str) -> dict[str, list[str]]:
    """Group feature names by modality.

    The modality of a feature is that of its encoder. For an imported feature, it is the folder of its caches.

    Returns:
        A dictionary from modality to feature names.

    Raises:
        UsageError: a feature is unknown, or an imported feature has no cache for the corpus.
    """
    found: dict[str, list[str]] = {}
    for chosen in filter(None, (name.strip() for name in names)):
        feature = split_array_name(chosen)[0]
        entry = loaded.features[check_name(feature.partition(SPLIT_MARK)[0], loaded.features, "feature")]
        if not entry.imported:
            modality: str = ENCODERS[entry.encoder].spec.modality
        else:
            places = [m for m in MODALITIES if any((CACHES / corpus / m).glob(f"{feature}.*.h5"))]
            if not places:
                raise UsageError(
                    f"the imported feature {feature!r} has no cache for corpus {corpus}",
                    hint="import it: `ercache cache import`",
                )
            modality = places[0]
        found.setdefault(modality, []).append(chosen)
    return found
