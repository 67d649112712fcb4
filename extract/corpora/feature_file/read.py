"""Read a features file of another project as a corpus: recognise its format and call the reader of this format."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ercache.digests import digest_of_file
from ercache.errors import UsageError
from ercache.formats.content import FileContent
from ercache.formats.formats import STRUCTURE_ERRORS, digest_of_folder
from ercache.formats.unpickle import load_pickle
from extract.corpora.feature_file import mmsa, tuples
from extract.corpora.feature_file.corpus import FileCorpus, Turns, file_name, manifest_of, with_pooled
from extract.corpora.feature_file.merbench import read_merbench_folder

HINT: Final = (
    "readable are pickles of DialogueRNN, MMGCN, M3NET, COSMIC and MMSA, and folders of MERBench with a label file; "
    "`ercache cache import` adds other features to a corpus that was scanned"
)
_TABLES: Final = (".npz", ".npy", ".csv", ".parquet", ".h5", ".hdf5", ".csd", ".safetensors")


def read_feature_file(path: Path, corpus: str) -> FileCorpus:
    """Read a features file of another project as a corpus.

    Args:
        path: the file, or a folder of MERBench.
        corpus: name for the corpus.

    Raises:
        UsageError: the file is absent, unsafe to load or damaged, or its format holds no labels or utterances.
    """
    if not path.exists():
        raise UsageError(f"no such file or folder: {path}", hint="give a features file or a MERBench folder")
    try:
        return _read_folder(path, corpus) if path.is_dir() else _read_pickle(path, corpus)
    except STRUCTURE_ERRORS as error:
        raise UsageError(
            f"{path}: the content does not fit the file's format ({type(error).__name__}: {error})"[:500],
            hint="check that the file is complete; docs/features.md describes the formats",
        ) from error


def _read_folder(path: Path, corpus: str) -> FileCorpus:
    turns, features_of = read_merbench_folder(path)
    return _made(path, corpus, "merbench", turns, features_of, digest_of_folder(path))


def _read_pickle(path: Path, corpus: str) -> FileCorpus:
    if path.suffix.lower() in _TABLES:
        raise UsageError(f"{path}: {path.suffix} files hold vectors, but no dialogues and labels", hint=HINT)
    loaded = load_pickle(path)
    layout = tuples.layout_of(loaded)
    if layout is not None:
        turns, content = tuples.read_tuple(loaded, layout, path)
        return _made(path, corpus, tuples.FORMS[layout], turns, lambda _: content, digest_of_file(path))
    if mmsa.is_mmsa(loaded):
        turns = mmsa.turns_of(loaded)
        return _made(
            path, corpus, "mmsa", turns, lambda m: mmsa.mmsa_content(loaded, path, m), digest_of_file(path)
        )
    size = f" of {len(loaded)}" if isinstance(loaded, list | tuple | dict | set) else ""
    raise UsageError(
        f"{path}: not a corpus of a known format; the pickle holds a {type(loaded).__name__}{size}", hint=HINT
    )


def _made(
    path: Path,
    corpus: str,
    form: str,
    turns: Turns,
    features_of: Callable[[Any], FileContent],
    digest: str,
) -> FileCorpus:
    if not turns.utterances:
        raise UsageError(f"{path}: the file names no utterance", hint="check that the file is complete")
    manifest = manifest_of(turns, corpus, {file_name(path): digest})
    content = features_of(manifest)
    # Notes on what import leaves to the manifest are not true here: the manifest is made of the file.
    notes = tuple(note for note in content.notes if "the manifest has its own" not in note)
    return FileCorpus(form, manifest, with_pooled(replace(content, notes=notes)))
