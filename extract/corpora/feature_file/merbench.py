"""Corpora in folders of MERBench: `features/<encoder>-UTT/<name>.npy` with a label file beside them.

The label file is a table (`*label*.csv`, with a column of clip names and columns of labels) or an npz archive
(`label-6way.npz`). The members of the archive (`train_corpus`, `test_corpus` and so on) are pickled dictionaries from
clip name to labels. A restricted unpickler reads them, which runs no code of the file.
"""

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ercache.errors import UsageError
from ercache.formats.content import FileContent, FoundFeature
from ercache.formats.merbench import read_merbench
from ercache.formats.npy import read_npz_objects
from ercache.formats.table_columns import ID_NAMES
from ercache.manifest import Manifest, Utterance
from extract.corpora.common.splits import Split
from extract.corpora.common.subtitles import decode
from extract.corpora.feature_file.corpus import PART, UNKNOWN, Turns

FEATURES: Final = "features"
_FOLDER: Final = re.compile(r".+-(?:UTT|FRA)$")
_LABELS: Final = {"emo": "emotion", "emotion": "emotion", "discrete": "emotion", "label": "emotion"}
_TEXTS: Final = ("sentence", "text", "english", "chinese")
_SUBSETS: Final = {"train": "train", "val": "dev", "valid": "dev", "dev": "dev", "test": "test"}
Labels = dict[str, tuple[str | None, str]]  # name -> emotion, subset ("" if the file gives none)


def read_merbench_folder(path: Path) -> tuple[Turns, Callable[[Manifest], FileContent]]:
    """Read a folder of MERBench as a corpus: the folder of a whole data set, or that of one encoder's features.

    Returns:
        Two values: the utterances with labels and subsets; and a function that takes the manifest and reads the
        features.

    Raises:
        UsageError: there is no folder of features or no label file, or they have no clip name in common.
    """
    folders = [path] if any(path.glob("*.npy")) or _FOLDER.fullmatch(path.resolve().name) else _encoders(path)
    if not folders:
        raise UsageError(
            f"{path}: no folder of features in it",
            hint="give a folder of MERBench that holds features/<encoder>-UTT, or the folder <encoder>-UTT itself",
        )
    labels, source = _label_file(path)
    texts = _texts(source.parent)
    names = [name for name in labels if any(_has(folder, name) for folder in folders)]
    if not names:
        raise UsageError(
            f"{path}: no clip name in {source} has features in {', '.join(f.name for f in folders[:3])}",
            hint="put the label file of the same data set beside the features",
        )
    values = tuple(sorted({emotion for name in names if (emotion := labels[name][0]) is not None}))
    utterances = [
        Utterance(name, name, 0, UNKNOWN, texts.get(name), None, None, {"emotion": labels[name][0]}, PART)
        for name in names
    ]
    split: Split = {}
    for name in names:
        if subset := labels[name][1]:
            split[subset] = (*split.get(subset, ()), name)
    return Turns(utterances, {"emotion": values}, split, []), lambda manifest: _features(folders, manifest)


def _encoders(path: Path) -> list[Path]:
    place = path / FEATURES if (path / FEATURES).is_dir() else path
    return sorted(folder for folder in place.iterdir() if folder.is_dir() and _FOLDER.fullmatch(folder.name))


def _has(folder: Path, name: str) -> bool:
    return (folder / f"{name}.npy").is_file() or (folder / name).is_dir()


def _features(folders: list[Path], manifest: Manifest) -> FileContent:
    found: list[FoundFeature] = []
    notes: list[str] = []
    for folder in folders:
        content = read_merbench(folder, manifest, "")
        found += [replace(feature, name=folder.resolve().name) for feature in content.features]
        notes += [f"{folder.name}: {note}" for note in content.notes]
    return FileContent(tuple(found), tuple(notes))


def _label_file(path: Path) -> tuple[Labels, Path]:
    """Find and read the label file of a features folder, in the folder itself or in one of the two folders above it.

    Returns:
        The labels, and the path of the label file.

    Raises:
        UsageError: there is no label file, or it is unreadable.
    """
    root = path.resolve()
    for place in (root, root.parent, root.parent.parent):
        files = sorted(
            f for f in place.iterdir() if "label" in f.name.lower() and f.suffix in (".npz", ".csv")
        )
        for file in files:
            labels = _from_npz(file) if file.suffix == ".npz" else _from_csv(file)
            if labels:
                return labels, file
    raise UsageError(
        f"{path}: no label file beside the features",
        hint="put MERBench's label-6way.npz into this folder, or a label.csv with the columns name, emotion and split",
    )


def _from_npz(path: Path) -> Labels:
    labels: Labels = {}
    for member, given in read_npz_objects(path).items():
        subset = _SUBSETS.get(re.sub(r"\d+$", "", member.removesuffix("_corpus")), "")
        if isinstance(given, dict):
            labels |= {str(name): (_emotion(of), subset) for name, of in given.items()}
    return labels


def _emotion(of: Any) -> str | None:
    for key, value in of.items() if isinstance(of, dict) else ():
        if str(key).lower() in _LABELS and str(value).strip():
            return str(value).strip()
    return None


def _table(path: Path) -> list[dict[str, str]]:
    try:
        lines = csv.DictReader(io.StringIO(decode(path.read_bytes()), newline=""), strict=True)
        return [{str(k).strip().lower(): (v or "").strip() for k, v in line.items() if k} for line in lines]
    except (csv.Error, ValueError) as error:
        raise UsageError(
            f"{path}: not readable as csv; save it again as UTF-8 csv ({error})"[:500]
        ) from error


def _from_csv(path: Path) -> Labels:
    labels: Labels = {}
    for row in _table(path):
        name = next((row[c] for c in row if c in ID_NAMES and row[c]), "")
        subset = _SUBSETS.get(row.get("split", "").lower(), "")
        if name:
            emotion = next((row[c] for c in _LABELS if row.get(c)), None)
            labels[name.removesuffix(".npy")] = (emotion, subset)
    return labels


def _texts(place: Path) -> Mapping[str, str]:
    """Read the sentences from `transcription*.csv` in the folder of the label file.

    Returns:
        Clip name -> sentence; an empty dict without such a file.
    """
    for path in sorted(place.glob("transcription*.csv")):
        rows = _table(path)
        column = next((c for c in _TEXTS if rows and c in rows[0]), None)
        named = next((c for c in rows[0] if c in ID_NAMES), None) if rows else None
        if column and named:
            return {row[named]: row[column] for row in rows if row.get(column)}
    return {}
