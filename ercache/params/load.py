"""Read params.yaml, check all of it, and report all wrong entries together.

The caller passes the config classes of corpora, encoders and models, because this package must not import them.
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from ercache.errors import ParamsError
from ercache.params.own_corpora import CORPUS_NAME, FOLDER, SCAN, SCANS, own_corpora
from ercache.params.papers import FOLDER as PAPERS_FOLDER
from ercache.params.papers import with_corpus, with_papers
from ercache.params.schema import (
    IMPORTED,
    RECIPE,
    SPLIT_MARK,
    FacePolicy,
    FeatureParams,
    PaperParams,
    Params,
    PipelineParams,
    Strict,
    TrainingParams,
    split_array_name,
)
from ercache.wording import count_noun

PARAMS_FILE = Path("params.yaml")
LOCAL_FILE = Path("params.local.yaml")
MANIFESTS = Path("data/manifests")
FIX_AND_RERUN = "correct them and run again"
NO_PARAMS = "there is no params.yaml here: run this in the folder of your project"
Configs = Mapping[str, type[BaseModel]]


class LocalParams(Strict):
    """The content of params.local.yaml: settings of one machine.

    Attributes:
        roots: folder with the media of each corpus on this machine, by corpus key.
    """

    roots: dict[str, str] = Field(default_factory=dict)


def load_params(
    path: Path = PARAMS_FILE,
    *,
    corpora: Configs | None = None,
    encoders: Configs | None = None,
    models: Configs | None = None,
    extractors: Mapping[str, tuple[type[BaseModel], type[BaseModel]]] | None = None,
    contents: Mapping[Path, str] | None = None,
) -> Params:
    """Read and check params.yaml. An absent file counts as an empty one.

    Args:
        path: the file.
        contents: dictionary from file to text, to check params.yaml or params.local.yaml before it is written. A file
            in it is not read from disk.
        corpora, encoders, models: dictionaries from key (such as `meld`) to the class that defines its switches. If
            given, the switches in params.yaml are checked against the class.
        extractors: dictionary from the key of an extractor to two classes: of its switches and of its training params.

    Raises:
        ParamsError: an entry is wrong. The details name the place and value of every wrong entry, and for an unknown
            name the most similar known name.
    """
    contents = contents or {}
    here = path in contents or path.is_file()
    raw = read_yaml(path, contents.get(path)) if here else {}
    local = _local_findings(raw, corpora, contents.get(LOCAL_FILE))
    if not here:
        if local:
            raise ParamsError(f"{LOCAL_FILE}: {len(local)} wrong entries", details=local, hint=FIX_AND_RERUN)
        return Params()
    papers, wrong = _read_papers(path.parent / PAPERS_FOLDER)
    raw, twice = with_papers(raw, papers)
    found = [*local, *wrong, *twice]
    refused = schema_errors(Params, raw)
    params = None if refused else Params(**raw)
    found += refused
    found += _corpus_findings(raw, corpora) + _feature_findings(raw, encoders)
    found += _pretrain_findings(raw, extractors) + _experiment_findings(raw, models)
    found += _used_corpora(raw, corpora)
    if found or params is None:
        raise ParamsError(
            f"{path}: {count_noun(len(found), 'wrong entry', 'wrong entries')}",
            details=found,
            hint=FIX_AND_RERUN,
        )
    return params


def _read_papers(folder: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Read the files papers/PAPER.yaml and check them.

    Returns:
        Two values: a dictionary from paper to the content of its file, without invalid files, and a list with one
            sentence per wrong entry.
    """
    papers, found = {}, []
    for path in sorted(folder.glob("*.yaml")):
        content = with_corpus(read_yaml(path))
        if wrong := schema_errors(PaperParams, content):
            found += [f"{path}: {error}" for error in wrong]
        else:
            papers[path.stem] = content
    return papers, found


def read_yaml(path: Path, content: str | None = None) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping. An empty file gives an empty dictionary.

    A section without entries (`features:` alone) is left out.

    Args:
        path: the file.
        content: text to parse instead of reading the file; the file is then named only in error messages.

    Raises:
        ParamsError: the file is not valid YAML, or its top level is not a mapping.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8") if content is None else content) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML, correct it: {error}") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path}: the top level is not a mapping; write lines `key: value`")
    return {key: value for key, value in raw.items() if value is not None}


def schema_errors(model: type[BaseModel], raw: Any, where: str = "") -> list[str]:
    """Check the keys and values of a dictionary from a YAML file against a pydantic class.

    Args:
        model: the class, which defines the allowed keys and values.
        raw: the dictionary.
        where: dotted path of the dictionary in params.yaml, such as `features.face`; every sentence names it.

    Returns:
        A list with one sentence per wrong entry; empty if all entries are valid.
    """
    try:
        model.model_validate(raw)
    except ValidationError as error:
        return [_sentence(model, item, where) for item in error.errors()]
    return []


def suggestion(name: str, known: Iterable[str]) -> str:
    """Write a hint for an unknown name: the most similar known name, or all known names if none is similar."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names) or 'none'}"


def _sentence(model: type[BaseModel], item: Any, where: str) -> str:
    place = ".".join([*([where] if where else []), *map(str, item["loc"])])
    if item["type"] == "extra_forbidden":
        owner = _owner(model, item["loc"][:-1])
        return (
            f"{place}: unknown key; {suggestion(str(item['loc'][-1]), owner.model_fields if owner else ())}"
        )
    value = "" if item["type"] == "missing" else f" (got {item['input']!r})"
    return f"{place}: {item['msg']}{value}"


def _owner(model: type[BaseModel], loc: tuple[Any, ...]) -> type[BaseModel] | None:
    """Find the pydantic class that defines the entry at a place in the params; None if no class does.

    Args:
        model: class of the whole content.
        loc: keys that lead from the whole content to the entry.
    """
    current: Any = model
    for step in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            info = current.model_fields.get(str(step))
            current = info.annotation if info else None
        else:
            current = getattr(current, "__args__", (None,))[-1]
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _corpus_findings(raw: dict[str, Any], corpora: Configs | None) -> list[str]:
    if corpora is None:
        return []
    found = []
    own = own_corpora(_mapping(raw.get("corpora")))
    for key in (*_mapping(raw.get("roots")), *_mapping(raw.get("pipeline"))):
        found += _unknown([key], {**corpora, **own}, "roots or pipeline", "corpus")
    for key, switches in _mapping(raw.get("corpora")).items():
        if key in own and key not in corpora:
            found += _own_corpus(str(key), switches, corpora)
        else:
            found += _keyed(corpora, key, _mapping(switches), f"corpora.{key}", "corpus")
    for key, entry in _mapping(raw.get("pipeline")).items():
        if not schema_errors(PipelineParams, entry):
            found += _profile_findings(raw, key, PipelineParams.model_validate(entry).profiles)
    return found


def _profile_findings(raw: dict[str, Any], corpus: str, named: Iterable[str]) -> list[str]:
    """Check the entry `pipeline` of one corpus: whether the profiles (lists of features) and papers in it exist.

    Args:
        raw: content of params.yaml and of the files of papers.
        corpus: key of the corpus.
        named: profiles and papers that the entry names.

    Returns:
        A list with one sentence per wrong name.
    """
    papers, found = raw["papers"], []
    for name in named:
        if (
            name in papers
            and corpus not in papers[name]["corpora"]
            and name not in _mapping(raw.get("profiles"))
        ):
            found.append(
                f"pipeline.{corpus}: paper {name} has no runs on {corpus}, only on {', '.join(papers[name]['corpora'])}"
            )
        else:
            found += _unknown(
                [name], {**papers, **_mapping(raw.get("profiles"))}, f"pipeline.{corpus}", "profile"
            )
    return found


def _own_corpus(name: str, entry: dict[str, Any], corpora: Configs) -> list[str]:
    """Check the entry in params.yaml of a corpus that the user added (with `scan`). Return one sentence per error."""
    found = [] if CORPUS_NAME.fullmatch(name) else [f"corpora.{name}: use a-z, A-Z, 0-9, _ and - in its name"]
    found += _unknown([entry[SCAN]], dict.fromkeys(SCANS), f"corpora.{name}.{SCAN}", "way to scan")
    switches = {key: value for key, value in entry.items() if key != SCAN}
    readable = entry[SCAN] == FOLDER and FOLDER in corpora
    return found + schema_errors(corpora[FOLDER] if readable else Strict, switches, f"corpora.{name}")


def _local_findings(raw: dict[str, Any], corpora: Configs | None, content: str | None = None) -> list[str]:
    """Check params.local.yaml, and return one sentence per wrong entry. Only the key `roots` is allowed there.

    Args:
        raw: content of params.yaml, which may define corpora that the user added.
        corpora: dictionary from corpus to the class of its switches; None to check no names of corpora.
        content: text to check instead of reading the file.
    """
    local = read_yaml(LOCAL_FILE, content) if content is not None or LOCAL_FILE.is_file() else {}
    found = [f"{LOCAL_FILE}: {error}" for error in schema_errors(LocalParams, local)]
    if corpora is not None:
        known = {**corpora, **own_corpora(_mapping(raw.get("corpora")))}
        names = [n for n in _mapping(local.get("roots")) if n not in known and not _has_manifest(n)]
        found += [f"{LOCAL_FILE}: roots: unknown corpus {n!r}; {suggestion(str(n), known)}" for n in names]
    return found


def _has_manifest(corpus: str) -> bool:
    return (MANIFESTS / f"{corpus}.jsonl").is_file()


def _used_corpora(raw: dict[str, Any], corpora: Configs | None) -> list[str]:
    """Find unknown corpora in the entries `experiments` and `pretrain` of params.yaml; return one sentence for each.

    A corpus is unknown if ercache cannot scan it and it has no manifest.
    """
    if corpora is None:
        return []
    known = {**corpora, **own_corpora(_mapping(raw.get("corpora")))}
    return [
        f"{section}.{name}.corpus: unknown corpus {corpus!r}; {suggestion(corpus, known)}"
        for section in ("experiments", "pretrain")
        for name, entry in _mapping(raw.get(section)).items()
        if isinstance(corpus := _mapping(entry).get("corpus"), str)
        and corpus not in known
        and not _has_manifest(corpus)
    ]


def _feature_findings(raw: dict[str, Any], encoders: Configs | None) -> list[str]:
    found: list[str] = []
    features = _mapping(raw.get("features"))
    for name, feature in features.items():
        known: Configs | None = None if encoders is None else {**encoders, IMPORTED: Strict}
        if known is not None and isinstance(feature, dict) and isinstance(feature.get("encoder"), str):
            inner = {k: v for k, v in feature.items() if k not in FeatureParams.model_fields}
            found += _keyed(known, feature["encoder"], inner, f"features.{name}", "encoder")
            found += schema_errors(FacePolicy, _mapping(feature.get("faces")), f"features.{name}.faces")
    for name, used in _mapping(raw.get("profiles")).items():
        found += _unknown(used, features, f"profiles.{name}", "feature")
    return found


def _pretrain_findings(
    raw: dict[str, Any], extractors: Mapping[str, tuple[type[BaseModel], type[BaseModel]]] | None
) -> list[str]:
    found: list[str] = []
    for name, entry in _mapping(raw.get("pretrain")).items():
        if not isinstance(entry, dict) or extractors is None:
            continue
        where = f"pretrain.{name}"
        if ("corpus" in entry) == ("folder" in entry):
            found.append(f"{where}: give either a corpus or a folder")
        if isinstance(key := entry.get("extractor"), str):
            configs = {known: config for known, (config, _) in extractors.items()}
            found += _keyed(configs, key, _mapping(entry.get("config")), where, "extractor")
            if key in extractors:
                found += schema_errors(
                    extractors[key][1], _mapping(entry.get("training")), f"{where}.training"
                )
    features = _mapping(raw.get("features"))
    for name, feature in features.items():
        used = feature.get("pretrained") if isinstance(feature, dict) else None
        if isinstance(used, str):
            found += _unknown(
                [used], _mapping(raw.get("pretrain")), f"features.{name}.pretrained", "training"
            )
    return found


def _experiment_findings(raw: dict[str, Any], models: Configs | None) -> list[str]:
    found: list[str] = []
    for name, experiment in _mapping(raw.get("experiments")).items():
        if not isinstance(experiment, dict):
            continue
        where = f"experiments.{name}"
        if models is not None and isinstance(experiment.get("model"), str):
            found += _keyed(models, experiment["model"], _mapping(experiment.get("config")), where, "model")
        found += _training_findings(experiment.get("training"), f"{where}.training")
        for used in _mapping(experiment.get("features")).values():
            # `feature@split` is the feature with the extractor trained on that split.
            names = (
                [split_array_name(n)[0].partition(SPLIT_MARK)[0] for n in used if isinstance(n, str)]
                if isinstance(used, list)
                else used
            )
            found += _unknown(names, _mapping(raw.get("features")), f"{where}.features", "feature")
    return found


def _training_findings(training: Any, where: str) -> list[str]:
    """Check the entry `training` of an experiment. Return one sentence per wrong entry.

    The entry holds training params. It may also name a recipe, a set of training params that the model provides.
    """
    own = {name: value for name, value in _mapping(training).items() if name != RECIPE}
    recipe = _mapping(training).get(RECIPE, "")
    wrong = (
        [] if isinstance(recipe, str) else [f"{where}.{RECIPE}: not the name of a recipe (got {recipe!r})"]
    )
    return wrong + schema_errors(TrainingParams, own, where)


def _keyed(configs: Configs, key: str, inner: dict[str, Any], where: str, what: str) -> list[str]:
    if key not in configs:
        return [f"{where}.{what}: unknown {what} {key!r}; {suggestion(key, configs)}"]
    return schema_errors(configs[key], inner, f"{where}.config" if what in ("model", "extractor") else where)


def _unknown(used: Any, known: Mapping[str, Any], where: str, what: str) -> list[str]:
    names = used if isinstance(used, list) else []
    return [f"{where}: unknown {what} {n!r}; {suggestion(str(n), known)}" for n in names if n not in known]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
