"""Find the corpus that a command's argument means: a published one, one of params.yaml, or a folder of the user's own.

Each folder of the user's own is a corpus. Its name is the folder's name, or the value of the option `--name`.
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
    """The corpus that the command line of a command means.

    Attributes:
        name: name of the corpus.
        root: folder with the media of the corpus, if the command line gives it; otherwise None.
        named: whether the user wrote the name on the command line. False if it was taken from the folder.
    """

    name: str
    root: Path | None
    named: bool = True


def known_corpora(loaded: Params) -> dict[str, str]:
    """Names of all known corpora: those of ercache and plug-ins, and the user's own in params.yaml.

    Returns:
        A dictionary from the name of a corpus to its value of `scan` in params.yaml: `folder` (a folder of media) or
            `features` (made from a features file); "" for a corpus of ercache or a plug-in.
    """
    return {**dict.fromkeys(CORPORA, ""), **own_corpora(loaded.corpora)}


def choose_corpus(given: str, root: Path | None, name: str | None, loaded: Params) -> ChosenCorpus:
    """Find the corpus that the argument of a command means.

    Args:
        given: the argument: name of a corpus, or path of a folder.
        root: value of the option `--root`.
        name: value of the option `--name`, which gives a folder its name as a corpus.
        loaded: contents of params.yaml.

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
            f"--name gives a name to a folder, but {given!r} is already the name of a corpus",
            hint="leave out --name",
        )
    return ChosenCorpus(given, root)


def choose_folder(folder: Path, name: str | None, loaded: Params) -> ChosenCorpus:
    """Choose the name under which a folder of the user's own is a corpus; return both.

    Args:
        folder: the folder with the media.
        name: name of the corpus; None to take the name of the folder.
        loaded: contents of params.yaml.

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
            f"the name {corpus!r} belongs to a corpus in params.yaml that was made from a features file",
            hint="give the folder another name with --name",
        )
    return ChosenCorpus(corpus, folder, named=name is not None)


def corpus_entry(corpus: str, loaded: Params) -> CorpusEntry:
    """Look up how a corpus is scanned.

    A name that ercache and its plug-ins do not know stands for a folder of the user's own.

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
    """Names of the parts (train, dev, test, ...) of a corpus. A feature has one cache file for each part."""
    return (
        ("all",)
        if own_corpora(loaded.corpora).get(corpus) == FEATURES
        else corpus_entry(corpus, loaded).parts
    )


def corpus_switches(corpus: str, loaded: Params) -> dict[str, object]:
    """Look up the switches (options) for scanning a corpus in params.yaml: name of the switch -> value.

    A folder of the user's own also has the switches of the corpus `folder`, unless its own entry sets them.
    """
    own = switches_for(corpus, loaded.corpora)
    return own if corpus in CORPORA else {**switches_for(FOLDER, loaded.corpora), **own}


def _has_manifest(corpus: str) -> bool:
    return "/" not in corpus and (MANIFESTS / f"{corpus}.jsonl").is_file()
