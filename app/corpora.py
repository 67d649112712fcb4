"""Find the corpus that a command's argument means: a published one, one of params.yaml, or a folder of the user's own.

A folder is a corpus of its own, called by its name (`--name` overrides), so several folders can live side by side.
"""

from dataclasses import dataclass
from pathlib import Path

from app.console import MANIFESTS, check_name
from ercache.errors import UsageError
from ercache.params.own_corpora import (
    FEATURES,
    FOLDER,
    check_corpus_name,
    corpus_name,
    own_corpora,
    switches_for,
)
from ercache.params.schema import Params
from extract.corpora import CORPORA, CorpusEntry


@dataclass(frozen=True)
class ChosenCorpus:
    """A corpus that a command works on.

    Attributes:
        name: name of the corpus.
        root: its root folder, if the command line gives it.
        named: whether the user gave the name, instead of the name of a folder.
    """

    name: str
    root: Path | None
    named: bool = True


def known_corpora(loaded: Params) -> dict[str, str]:
    """Names of the corpora that can be scanned: those of ercache and plug-ins, and those of params.yaml.

    Returns:
        A dictionary from the name of a corpus to the way it is scanned.
    """
    return {**dict.fromkeys(CORPORA, ""), **own_corpora(loaded.corpora)}


def choose_corpus(given: str, root: Path | None, name: str | None, loaded: Params) -> ChosenCorpus:
    """Find the corpus that the argument of a command means.

    Args:
        given: the argument: name of a corpus, or path of a folder.
        root: value of the option `--root`.
        name: value of the option `--name`.
        loaded: params.yaml.

    Raises:
        UsageError: there is neither a corpus nor a folder of this name, or options contradict each other.
    """
    is_path = "/" in given or "\\" in given or given in (".", "..") or given.startswith("~")
    known = known_corpora(loaded)
    folder = Path(given).expanduser()
    if (is_path or given not in known) and folder.is_dir():
        if root is not None:
            raise UsageError(
                f"two folders were given: {folder} and --root {root}", hint="give only one of them"
            )
        return choose_folder(folder, name, loaded)
    if is_path:
        raise UsageError(f"no such folder: {folder}", hint="check the path, or give the name of a corpus")
    if not _has_manifest(given):
        check_name(given, known, "corpus or folder")
    if name is not None:
        raise UsageError(
            f"--name names a folder, but {given!r} is a corpus that has a name", hint="leave out --name"
        )
    return ChosenCorpus(given, root)


def choose_folder(folder: Path, name: str | None, loaded: Params) -> ChosenCorpus:
    """Give a folder of the user's own its name as a corpus.

    Raises:
        UsageError: the name is that of a published corpus or of a features file, or cannot be used.
    """
    corpus = check_corpus_name(name) if name is not None else corpus_name(folder.resolve().name)
    taken = next((key for key in CORPORA if key.lower() == corpus.lower() and key != FOLDER), None)
    if taken:
        raise UsageError(
            f"{corpus!r} is the name of a published corpus",
            hint=f"to read that corpus, give `{taken} --root {folder}`; to read a folder of your own, give --name",
        )
    if own_corpora(loaded.corpora).get(corpus) == FEATURES:
        raise UsageError(
            f"params.yaml has a corpus {corpus!r} that was made from a features file",
            hint="give the folder another name with --name",
        )
    return ChosenCorpus(corpus, folder, named=name is not None)


def corpus_entry(corpus: str, loaded: Params) -> CorpusEntry:
    """Look up how a corpus is scanned. A corpus that no list has is a folder of the user's own.

    Raises:
        UsageError: the corpus was made from a features file, so it cannot be scanned.
    """
    if corpus in CORPORA:
        return CORPORA[corpus]
    if own_corpora(loaded.corpora).get(corpus) == FEATURES:
        raise UsageError(
            f"corpus {corpus!r} was made from a features file and has no media to scan",
            hint=f"make it again from the file: `ercache init --from FILE --name {corpus}`",
        )
    return CORPORA[FOLDER]


def parts_of(corpus: str, loaded: Params) -> tuple[str, ...]:
    """Names of the parts (train, dev, test, ...) of a corpus. Each part of a feature is a cache file."""
    return (
        ("all",)
        if own_corpora(loaded.corpora).get(corpus) == FEATURES
        else corpus_entry(corpus, loaded).parts
    )


def corpus_switches(corpus: str, loaded: Params) -> dict[str, object]:
    """Look up the switches for scanning a corpus. A folder of the user's own has those of `folder`, and its own."""
    own = switches_for(corpus, loaded.corpora)
    return own if corpus in CORPORA else {**switches_for(FOLDER, loaded.corpora), **own}


def _has_manifest(corpus: str) -> bool:
    return "/" not in corpus and (MANIFESTS / f"{corpus}.jsonl").is_file()
