"""Look up features of params.yaml by name, with all that is needed to compute them: encoder, params and weights."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.console import DATA, check_name
from app.corpora import known_corpora
from ercache import trained_extractors, weights
from ercache.errors import UsageError, WeightsError
from ercache.manifest import Utterance, modalities_of
from ercache.params.load import NO_PARAMS, PARAMS_FILE
from ercache.params.schema import SPLIT_MARK, Params
from ercache.trained_extractors import TRAINED_ON
from ercache.wording import count_noun
from extract.encoders import ENCODERS
from extract.engine import Feature


def profile_names(params: Params, profile: str, corpus: str) -> list[str]:
    """Return the names of the features in a profile (a named list of features in params.yaml).

    The key of a paper is a profile, too: the features of the paper's runs on the corpus.

    Raises:
        UsageError: there is no such profile or paper, or the paper has no runs on the corpus.
    """
    _check_defined(params)
    check_name(profile, {**params.papers, **params.profiles}, "profile")
    if profile in params.profiles:
        return params.profiles[profile]
    paper = params.papers[profile]
    if corpus not in paper.corpora:
        raise UsageError(
            f"paper {profile} has no runs on the corpus {corpus!r}, only on {', '.join(paper.corpora)}",
            hint=f"to compute its features anyway, give --features {','.join(paper.features)}",
        )
    return paper.corpora[corpus].features


def features_of(params: Params, names: Sequence[str], random: int | None = None) -> list[Feature]:
    """Look up several features by name, with their encoders and weights.

    Args:
        names: names of features in params.yaml or in a paper's file.
        random: seed for random weights, which replace every checkpoint except those in Python packages; None to use
            the checkpoints.

    Raises:
        UsageError: a name is unknown, or no params.yaml defines features.
        WeightsError: checkpoints are absent or cannot be used. The details list all of them.
    """
    _check_defined(params)
    found: list[Feature] = []
    lacking: dict[str, WeightsError] = {}
    for name in dict.fromkeys(names):
        try:
            check_name(name.partition(SPLIT_MARK)[0], params.features, "feature")
            found.append(feature_of(params, name, random))
        except WeightsError as error:
            lacking[name] = error
    if lacking:
        lacking |= _absent(found)
    if len(lacking) == 1:
        raise next(iter(lacking.values()))
    if lacking:
        ordered = [(name, lacking[name]) for name in dict.fromkeys(names) if name in lacking]
        raise WeightsError(
            f"checkpoints of {len(lacking)} features cannot be used",
            details=[f"{name}: {error.message} -> {error.hint}" for name, error in ordered],
            hint="`ercache weights ls` lists all checkpoints",
        )
    return found


def _absent(features: Sequence[Feature]) -> dict[str, WeightsError]:
    """Find the features whose checkpoint is not on this machine.

    If its sha256 is published, results that were computed earlier can still be found, but no new ones computed.

    Returns:
        A dictionary from feature name to an error whose hint says how to get the checkpoint.
    """
    states = {row.key: row for row in weights.status(read=False)}
    rows = {f.name: states.get(f.weights["id"]) for f in features if f.weights and "seed" not in f.weights}
    return {n: WeightsError(row.detail, hint=row.remedy) for n, row in rows.items() if row and not row.ok}


def default_names(params: Params, corpus: str, data: Path = DATA) -> tuple[list[str], dict[str, str]]:
    """Divide the features of the default profile into those to compute for a corpus now, and those to leave out.

    A feature may use an extractor that `ercache pretrain` trains. It is left out if the extractor is not trained yet,
    or if it is trained on another corpus.

    Args:
        data: folder that holds the trained extractors.

    Returns:
        Two values: the names of the features to compute, and a dictionary from the name of each other feature to a
            text that says why it is left out.

    Raises:
        UsageError: no params.yaml defines features.
    """
    _check_defined(params)
    names = params.profiles[check_name("default", params.profiles, "profile")]
    why = {name: reason for name in names if (reason := _why_not(params, name, corpus, data))}
    return [name for name in names if name not in why], why


def check_extractors(
    features: Sequence[Feature], corpus: str, params: Params, *, allow_foreign: bool
) -> list[Feature]:
    """Check that no feature uses an extractor that was trained on another corpus than the one to extract.

    Args:
        features: the features to extract.
        corpus: name of the corpus to extract.
        params: contents of params.yaml.
        allow_foreign: whether to accept such features. They are then marked in the caches, and in every result that
            uses them.

    Returns:
        The features. The mark of an accepted one is the entry `trained_on` in its `weights`, a list of corpora.

    Raises:
        UsageError: extractors were trained on other corpora, and this is not allowed. The details name all of them.
    """
    # Other names in `seen` are folders of images.
    known = {*known_corpora(params), *(entry.corpus for entry in params.pretrain.values())}
    corpora = {f.name: sorted(set(f.seen or ()) & known) for f in features}
    foreign = {name: found for name, found in corpora.items() if found and corpus not in found}
    if foreign and not allow_foreign:
        trainings = [getattr(f.params, "pretrained", "") for f in features if f.name in foreign]
        own = [name for name in dict.fromkeys(trainings) if name in params.pretrain]
        train = " and ".join(f"`pretrain.{name}.corpus: {corpus}`" for name in own)
        raise UsageError(
            f"{corpus}: {count_noun(len(foreign), 'feature')} would come from extractors trained on another corpus",
            details=[f"{name}: its extractor was trained on {', '.join(o)}" for name, o in foreign.items()],
            hint=f"set {train or 'the corpus of their training'} in params.yaml and run `ercache pretrain`; "
            "--allow-foreign-extractor accepts them and marks the features and all results",
        )
    return [
        replace(f, weights={**(f.weights or {}), TRAINED_ON: foreign[f.name]}) if f.name in foreign else f
        for f in features
    ]


def features_without_input(features: Sequence[Feature], utterances: Sequence[Utterance]) -> dict[str, str]:
    """Find the features that no utterance has input for, because the corpus has no text, audio or video.

    Returns:
        A dictionary from feature name to a sentence that says which input is missing.
    """
    has = modalities_of(utterances)
    words = {"text": "a text", "audio": "audio", "visual": "video"}
    lacking = {f.name: f.spec.modality for f in features if f.spec.modality not in has}
    return {name: f"no utterance has {words[modality]}" for name, modality in lacking.items()}


def extractor_corpus(params: Params, name: str) -> tuple[str | None, str | None]:
    """Find the extractor (an encoder of the user's own) that a feature uses.

    Returns:
        Two values: the name of the extractor under `pretrain` in params.yaml, and the corpus that it is trained on.
            Both are None if the feature uses no extractor. The corpus is None if it is trained on a folder of files.
    """
    entry = params.features[name]
    config = None if entry.imported else ENCODERS[entry.encoder].Params(**entry.params)
    training: str | None = getattr(config, "pretrained", None)
    return training, params.pretrain[training].corpus if training in params.pretrain else None


def foreign_extractor(params: Params, name: str, corpus: str) -> str:
    """Return a sentence if the extractor of a feature is trained on another corpus than `corpus`; otherwise "".

    Args:
        params: contents of params.yaml.
        name: name of the feature.
        corpus: the corpus to extract.
    """
    trained_on = extractor_corpus(params, name)[1]
    return "" if trained_on in (None, corpus) else f"its extractor is trained on {trained_on}"


def _why_not(params: Params, name: str, corpus: str, data: Path) -> str:
    training, _ = extractor_corpus(params, name)
    if training is None:
        return ""
    if foreign := foreign_extractor(params, name, corpus):
        return foreign
    if not (trained_extractors.extractor_folder(data, training) / trained_extractors.RECORD).is_file():
        return f"its extractor is not trained yet: ercache pretrain {training}"
    return ""


def available_features(params: Params) -> tuple[list[Feature], list[str]]:
    """Look up every feature of params.yaml whose weights are present. Imported features are left out.

    Returns:
        Two lists: the features that can be computed, and the names of the features whose weights are absent.

    Raises:
        UsageError: no params.yaml defines features.
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


def feature_of(
    params: Params, name: str, random: int | None = None, weights_later: bool = False, data: Path = DATA
) -> Feature:
    """Look up one feature: its encoder, params, weights and face policy.

    Args:
        name: name in params.yaml, or `<feature>@<split>` for the same feature with the extractor trained on that split.
        random: seed for random weights, which replace a trained extractor, or a checkpoint that is not in a Python
            package; None to use the trained weights.
        weights_later: whether to skip looking for the weights, because the pipeline may still train or fetch them.
        data: folder that holds the trained extractors.

    Raises:
        UsageError: the feature was imported and cannot be computed, or the name has a split although the feature does
            not use a trained extractor.
        WeightsError: the encoder cannot run here, its checkpoint is absent, or its extractor is not trained yet.
    """
    plain, _, split = name.partition(SPLIT_MARK)
    entry = params.features[plain]
    if entry.imported:
        raise UsageError(
            f"feature {name!r} was imported from another project and cannot be extracted",
            hint="import it again instead: `ercache cache import`",
        )
    kind = ENCODERS[entry.encoder]
    config = kind.Params(**entry.params)
    if kind.spec.unavailable:
        raise WeightsError(f"the encoder {kind.spec.key} is not available: {kind.spec.unavailable}")
    faces = params.faces_of(entry) if kind.input(config).faces else None
    pretrained = getattr(config, "pretrained", None)
    if split and not pretrained:
        raise UsageError(
            f"feature {name!r}: only a feature with a trained extractor can be followed by @ and a split",
            hint=f"write {plain!r} instead",
        )
    if not pretrained:
        key = getattr(config, "weights", kind.spec.weights)
        checkpoint = weights.provenance(key, random) if key and not weights_later else None
        others = () if weights_later else getattr(config, "beside", ())
        beside = {other: weights.provenance(other) for other in others}
        if checkpoint and beside:
            checkpoint = {**checkpoint, "beside": beside}
        return Feature(name, kind, config, checkpoint, faces)
    if split:
        pretrained = f"{pretrained}{SPLIT_MARK}{split}"
        config = config.model_copy(update={"pretrained": pretrained})
    if weights_later:
        return Feature(name, kind, config, None, faces)
    checkpoint = trained_extractors.provenance(data, pretrained, random)
    if random is not None:
        return Feature(name, kind, config, checkpoint, faces, {}, data)
    ids = trained_extractors.training_ids(data, pretrained)
    record = trained_extractors.training_record(data, pretrained)
    return Feature(name, kind, config, checkpoint, faces, ids, data, record)


def _check_defined(params: Params) -> None:
    if not params.features:
        absent = not PARAMS_FILE.is_file()
        hint = NO_PARAMS if absent else "write `features:` into params.yaml"
        raise UsageError("params.yaml defines no features", hint=hint)
