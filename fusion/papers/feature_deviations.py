"""Compares the features of a run with a paper's: encoder, params, faces, checkpoint, training of the extractor."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ercache.params.schema import SPLIT_MARK, split_array_name
from ercache.trained_extractors import TRAINING
from ercache.weights.table import published
from fusion.models.base import ModelEntry
from fusion.papers.original import OWN_CORPUS, PaperExtractor, PaperFeature
from fusion.runs.schema import RunRecord

FOLDER: Final = "folder:"  # beginning of the name of a folder on which an extractor was trained
Recipe = Mapping[str, Any]


def told(what: str, ours: Any, theirs: Any) -> str:
    """Return the sentence for one deviation, such as "history 5, the paper uses none"; `what` names the setting."""
    return f"{what} {shown(ours)}, the paper uses {shown(theirs)}"


def shown(value: Any) -> str:
    """Write a value for a sentence: as in params.yaml, but None as `none`, and a list with `+` between its items."""
    if isinstance(value, list | tuple):
        return "+".join(map(shown, value)) or "none"
    return (
        {None: "none", True: "true", False: "false"}.get(value, str(value)) if _plain(value) else str(value)
    )


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def deviations_of_modality(
    record: RunRecord,
    model: ModelEntry,
    modality: str,
    theirs: Sequence[str],
    features: Mapping[str, PaperFeature],
    array: str | None = None,
) -> Iterator[str]:
    """Compare a run's features of one modality with the paper's; yield one sentence for each deviation.

    Args:
        record: the contents of the run's `run.json`.
        model: registry entry of the model.
        modality: the modality; the run has features of it.
        theirs: names of the paper's features of the modality (`feature` or `feature:array`), in the order of the roles
            (inputs of the model).
        features: name -> feature, for all features of the paper.
        array: name of the array that a table row reads from each feature; None for the arrays named in `theirs`.
    """
    ours = record.features[modality]
    roles = model.roles.get(modality, (modality,))
    for number, name in enumerate(ours):
        if number >= len(theirs):
            yield f"{modality} feature {name}, which the paper does not use"
            continue
        feature, own_array = split_array_name(theirs[number])
        wanted = own_array if array is None else array
        label = f"{modality} feature {split_array_name(name)[0]}:"
        found = list(_deviations_of_feature(record, label, name, features[feature]))
        yield from found
        if any(f"{label} encoder" in sentence for sentence in found):
            continue
        yield from _of_array(label, split_array_name(name)[1], wanted, features[feature], bool(model.roles))
        role = roles[number] if number < len(roles) else modality
        if array is None and (model.roles or len(ours) == 1):
            yield from _of_width(label, record.widths.get(role), model.widths.get(role))
    for name in theirs[len(ours) :]:
        feature, own_array = split_array_name(name)
        more = f" (array {own_array})" if own_array else ""
        yield f"no further {modality} feature, the paper uses {features[feature].encoder}{more}"


def _of_array(label: str, ours: str, theirs: str, feature: PaperFeature, sequences: bool) -> Iterator[str]:
    same = ours == theirs or (not theirs and ours in feature.vectors) or (sequences and not ours)
    if not same:
        yield told(f"{label} array", ours or "all", theirs or "all")


def _of_width(label: str, ours: int | None, theirs: int | None) -> Iterator[str]:
    if ours is not None and theirs is not None and ours != theirs:
        yield told(f"{label} vector size", ours, theirs)


def _deviations_of_feature(record: RunRecord, label: str, name: str, paper: PaperFeature) -> Iterator[str]:
    made = _recipes(record, split_array_name(name)[0])
    if not made or not all(recipe.get("encoder") for recipe in made):
        yield f"{label} encoder unknown, the paper uses {paper.encoder}"
        return
    sentences = (text for recipe in made for text in _of_recipe(record, label, recipe, paper))
    yield from dict.fromkeys(sentences)


def _recipes(record: RunRecord, feature: str) -> list[Recipe]:
    """Return how a feature was made (encoder, params, weights): one item, or one for each fold with own extractor."""
    held = record.provenance.encoders
    if feature in held:
        return [held[feature]]
    return [recipe for name, recipe in held.items() if name.partition(SPLIT_MARK)[0] == feature]


def _of_recipe(record: RunRecord, label: str, recipe: Recipe, paper: PaperFeature) -> Iterator[str]:
    if recipe["encoder"] != paper.encoder:
        yield told(f"{label} encoder", recipe["encoder"], paper.encoder)
        return
    yield from _of_params(label, recipe.get("params") or {}, paper)
    yield from _of_faces(label, recipe.get("faces"), paper)
    if paper.extractor is not None:
        yield from _of_extractor(record, label, recipe, paper.extractor)
    elif paper.weights is not None:
        weights = recipe.get("weights") or {}
        if recipe.get("params", {}).get("weights", paper.weights) == paper.weights:
            yield from _of_checkpoint(label, weights, paper.weights)
        for key in paper.beside:
            yield from _of_checkpoint(label, (weights.get("beside") or {}).get(key) or {}, key)


def _of_params(label: str, ours: Mapping[str, Any], paper: PaperFeature) -> Iterator[str]:
    for name, value in paper.params.items():
        if name not in ours:
            yield f"{label} {name} unknown, the paper uses {shown(value)}"
        elif not paper.allows(name, ours[name]):
            yield told(f"{label} {name}", ours[name], value)
    for name, value in ours.items():
        if name not in paper.params and name not in paper.free:
            yield f"{label} {name} {shown(value)}, which the paper leaves as it is"


def _of_faces(label: str, ours: Mapping[str, Any] | None, paper: PaperFeature) -> Iterator[str]:
    if paper.faces is None:
        return
    if ours is None:
        yield f"{label} face policy unknown"
        return
    policy = ours.get("params") or {}
    for name, value in paper.faces.model_dump(mode="json").items():
        if policy.get(name) != value:
            yield told(f"{label} faces {name}", policy.get(name), value)
    yield from _of_checkpoint(label, ours.get("weights") or {}, "mtcnn")


def _of_checkpoint(label: str, ours: Mapping[str, Any], key: str) -> Iterator[str]:
    """Compare a feature's checkpoint with the published one in ercache's catalogue; yield a sentence per deviation."""
    if ours.get("random"):
        yield f"{label} random weights, the paper uses {key}"
        return
    if ours.get("id") != key:
        yield told(f"{label} checkpoint", ours.get("id"), key)
        return
    row, digests = published(key), ours.get("sha256") or {}
    if ours.get("source", row.source) != row.source:
        yield told(f"{label} checkpoint {key}, source", ours["source"], row.source)
        return
    if row.revision and ours.get("revision") not in (None, row.revision):
        yield told(f"{label} checkpoint {key}, revision", ours["revision"], row.revision)
    for file in row.files:
        if not digests.get(file.name, file.sha256).startswith(file.sha256):
            yield f"{label} checkpoint {key}, {file.name} is not the published file"


def _of_extractor(record: RunRecord, label: str, recipe: Recipe, paper: PaperExtractor) -> Iterator[str]:
    label = f"{label} extractor"
    wanted = record.corpus if paper.corpus == OWN_CORPUS else paper.corpus
    trained = recipe.get(TRAINING)
    if (recipe.get("weights") or {}).get("random"):
        yield f"{label} with random weights, the paper trains it on {wanted}"
        return
    if trained is None:
        yield f"{label} trained in an unknown way, the paper trains it on {wanted} (extract the feature again)"
        return
    seen = sorted(trained.get("seen") or ())
    if len(seen) != 1 or not _is_corpus(seen[0], wanted):
        names = " and ".join(seen) or "unknown data"
        yield f"{label} trained on {names}, the paper trains it on {wanted}"
    if trained.get("labels") != paper.labels:
        yield told(f"{label} labels", trained.get("labels"), paper.labels)
    if start := trained.get("checkpoint"):
        yield from _of_checkpoint(label, start, paper.checkpoint)
    for group in ("config", "training"):
        ours, theirs = flat(trained.get(group) or {}), flat(getattr(paper, group))
        for name in {**theirs, **ours}:
            if name not in paper.free and ours.get(name) != theirs.get(name):
                yield told(f"{label} {name}", ours.get(name), theirs.get(name))


def _is_corpus(seen: str, wanted: str) -> bool:
    """Whether the training data `seen` of an extractor are the corpus `wanted`, or a folder named after this corpus."""
    if not seen.startswith(FOLDER):
        return seen == wanted
    return _letters(seen.removeprefix(FOLDER)).startswith(_letters(wanted))


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn nested dictionaries into a flat one with dotted keys: `{"a": {"b": 1}}` becomes `{"a.b": 1}`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = {f"{name}.{key}": v for key, v in flat(value).items()} if isinstance(value, Mapping) else None
        found |= {name: value} if inner is None else inner
    return found
