"""Apply the options of `ercache train` to an experiment of params.yaml, or build one from the options alone."""

from collections.abc import Callable, Mapping
from glob import escape
from typing import Any

from app.console import CACHES, MANIFESTS, check_name
from app.corpora import known_corpora
from ercache.errors import UsageError
from ercache.manifest import MODALITIES, modalities_of, read_manifest
from ercache.params.load import schema_errors
from ercache.params.schema import SPLIT_MARK, ExperimentParams, Params, split_array_name
from extract.encoders import ENCODERS
from fusion.experiment.defaults import default_label_set, default_split
from fusion.models import MODELS

MEDIA = {"text": "texts", "audio": "sound", "visual": "pictures"}
NEEDED = ("model", "corpus", "features")  # options without which no experiment can be built


def resolve_experiment(
    loaded: Params,
    name: str | None,
    options: Mapping[str, Any],
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[str, Params]:
    """Apply the options of `ercache train` to an experiment.

    If neither params.yaml nor the options name a label set or a split, it is chosen from the corpus's manifest.

    Args:
        name: name of the experiment in params.yaml; None to build an experiment from the options alone.
        options: values of the options that the user gave, by option name.
        tell: function that prints which label set and split were chosen, unless they are the defaults.

    Returns:
        Two values: the name of the experiment, and a copy of the params in which the options have changed this
            experiment.

    Raises:
        UsageError: the experiment or a feature is unknown, options are missing, options contradict each other, or
            the manifest leaves open which label set or split is meant.
    """
    if "model" in options:
        check_name(options["model"], MODELS, "model")
    if name is None:
        lacking = [f"--{option}" for option in NEEDED if option not in options]
        if lacking:
            raise UsageError(
                f"no experiment was named, and options to build one are missing: {', '.join(lacking)}",
                hint="run `ercache train EXPERIMENT`, or `ercache train --model M --corpus C --features F1,F2`",
            )
        name = f"{options['model']}_{options['corpus']}"
        if name in loaded.experiments:
            raise UsageError(
                f"these options would make an experiment {name!r}, but params.yaml already has one of this name",
                hint=f"train it: ercache train {name}",
            )
        fields: dict[str, Any] = {}
        entry = None
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
        check_name(str(options["corpus"]), known_corpora(loaded), "corpus")
    if "features" in options:
        fields["features"] = by_modality(loaded, str(options["features"]).split(","), fields["corpus"], tell)
    named = set(options) if entry is None else {*options, *entry.model_fields_set}
    chosen = _from_manifest(str(fields["corpus"]), named)
    unusual = [f"{key.replace('_', ' ')} {v}" for key, v in chosen.items() if v != _usual(key)]
    if unusual:
        tell(f"{fields['corpus']}: {', '.join(unusual)}")
    fields |= chosen
    if "seeds" in options:
        fields["training"] = {**fields.get("training", {}), "seeds": options["seeds"]}
    wrong = schema_errors(ExperimentParams, fields)
    if wrong:
        raise UsageError(
            f"experiment {name!r} cannot be used; correct params.yaml or the options", details=wrong
        )
    changed = {**loaded.experiments, name: ExperimentParams(**fields)}
    return name, loaded.model_copy(update={"experiments": changed})


def _usual(field: str) -> Any:
    return ExperimentParams.model_fields[field].default


def _from_manifest(corpus: str, named: set[str]) -> dict[str, str]:
    """Choose the label set and the split from the manifest, if neither params.yaml nor the options name them.

    Args:
        named: fields of the experiment that params.yaml or the options name.

    Returns:
        `label_set` and `split`, as far as they were chosen here. Empty if the corpus has no manifest yet.
    """
    lacking = {"label_set", "split"} - named - ({"split"} if "folds" in named else set())
    path = MANIFESTS / f"{corpus}.jsonl"
    if not lacking or not path.is_file():
        return {}
    manifest = read_manifest(path)
    chosen = {}
    if "label_set" in lacking:
        chosen["label_set"] = default_label_set(manifest)
    if "split" in lacking:
        chosen["split"] = default_split(manifest)
    return chosen


def by_modality(
    loaded: Params, names: list[str], corpus: str, tell: Callable[[str], None] = lambda _: None
) -> dict[str, list[str]]:
    """Group feature names by modality. Features whose input (text, audio or video) the corpus lacks are left out.

    A feature has the modality of its encoder. An imported feature has no encoder: the folder of its caches says it.

    Args:
        tell: function that prints which features are left out.

    Returns:
        A dictionary from modality to feature names.

    Raises:
        UsageError: a feature is unknown or imported without a line in params.yaml, or no feature is left.
    """
    found: dict[str, list[str]] = {}
    without_cache: dict[str, str] = {}
    for chosen in filter(None, (name.strip() for name in names)):
        modality, cached = _modality(loaded, split_array_name(chosen)[0], corpus)
        found.setdefault(modality, []).append(chosen)
        if not cached:
            without_cache[chosen] = modality
    path = MANIFESTS / f"{corpus}.jsonl"
    has = modalities_of(read_manifest(path).utterances) if without_cache and path.is_file() else MODALITIES
    lacking = [chosen for chosen, modality in without_cache.items() if modality not in has]
    if lacking and len(lacking) == sum(map(len, found.values())):
        raise UsageError(
            f"corpus {corpus} lacks the input (text, audio or video) of the features {', '.join(lacking)}",
            hint="choose other features with --features",
        )
    for chosen in lacking:
        modality = without_cache[chosen]
        tell(f"warning: {chosen} is left out: the corpus has no {MEDIA[modality]}")
        found[modality].remove(chosen)
    return {modality: kept for modality, kept in found.items() if kept}


def _modality(loaded: Params, feature: str, corpus: str) -> tuple[str, bool]:
    """Return the modality of a feature (text, audio or visual), and whether it has caches for the corpus."""
    plain = feature.partition(SPLIT_MARK)[0]
    places = [m for m in MODALITIES if any((CACHES / corpus / m).glob(f"{escape(feature)}.*.h5"))]
    if places and plain not in loaded.features:
        raise UsageError(
            f"params.yaml does not name the feature {feature!r}, which has caches for {corpus}",
            hint=f"if it was imported, add it to params.yaml under `features:` as `{plain}: {{encoder: imported}}`",
        )
    entry = loaded.features[check_name(plain, loaded.features, "feature")]
    if not entry.imported:
        return ENCODERS[entry.encoder].spec.modality, bool(places)
    if not places:
        raise UsageError(
            f"the imported feature {feature!r} has no cache for corpus {corpus}",
            hint="import it: `ercache cache import`",
        )
    return places[0], True
