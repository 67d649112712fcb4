"""Read the tuple pickles of DialogueRNN, DialogueGCN, MMGCN, MM-DFN and their successors (IEMOCAP and MELD).

A pickle holds one tuple. Each of its elements is a dictionary from dialogue to one row per utterance, for example the
audio vectors. The elements have no names. Their number, and the position of the element with the sentences, show which
element holds which feature.

IEMOCAP files name their utterances (`Ses01F_impro01_F000`). MELD files number the dialogues continuously through train,
dev and test.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.content import FileContent, FoundFeature, feature_from_rows, first_few, label_notes
from ercache.formats.ids import MIN_AGREEMENT, IdMatcher, agreement
from ercache.formats.numbers import as_numbers
from ercache.formats.unpickle import load_pickle
from ercache.manifest import Manifest
from ercache.wording import count_noun

_HEAD: Final = ("ids", "speakers", "labels")
_TAIL: Final = ("sentences", "train", "test")
LAYOUTS: Final[tuple[tuple[str, ...], ...]] = (
    (*_HEAD, "text", "audio", "visual", *_TAIL),  # IEMOCAP
    (*_HEAD, "text", "audio", *_TAIL, "sentiments"),  # MELD of DialogueRNN and DialogueGCN
    (*_HEAD, "text", "audio", "visual", *_TAIL, "sentiments"),  # MELD of MMGCN and MM-DFN
    (
        *_HEAD,
        "sentiments",
        "roberta1",
        "roberta2",
        "roberta3",
        "roberta4",
        "audio",
        "visual",
        *_TAIL,
        "other",
    ),  # M3NET
)
MODALITY: Final = {"text": "text", "audio": "audio", "visual": "visual"} | {
    f"roberta{n}": "text" for n in range(1, 5)
}
EMOTIONS: Final = ("emotion7", "six")  # label sets in the order of these files


def read_dialogue_pickle(path: Path, manifest: Manifest, modality: str) -> FileContent:
    """Read a tuple pickle of DialogueRNN, MMGCN and similar projects.

    Args:
        modality: ignored, because the layout of the file defines the modality of each feature.

    Raises:
        UsageError: the layout is unknown, the pickle contains code, or its sentences differ from the manifest.
    """
    given = named_elements(load_pickle(path), LAYOUTS, path)
    ids = IdMatcher(manifest)
    placed, unknown = _match(given, ids, path)
    check_sentences(given["sentences"], placed, ids, path)
    notes = (
        [f"{len(unknown)} of its utterances are not in the manifest: {first_few(unknown)}"] if unknown else []
    )
    labels = {
        name: given["labels"][d][i] for (d, i), name in placed.items() if i < len(given["labels"].get(d, ()))
    }
    notes += label_notes(manifest, labels, EMOTIONS)
    notes.append(
        "speakers, sentences and lists of train and test dialogues were not imported: the manifest has its own"
    )
    names = [name for name in given if name in MODALITY]
    return FileContent(tuple(feature_of(name, given[name], placed, path) for name in names), tuple(notes))


def named_elements(value: Any, layouts: Sequence[Sequence[str]], path: Path) -> dict[str, Any]:
    """Find out what each element of the tuple in a pickle holds, by comparing the tuple with known layouts.

    Args:
        value: the loaded pickle.
        layouts: the known layouts, each a list of element names such as `sentences` and `audio`. The first one that
            fits is used.
        path: path of the pickle, for the error message.

    Returns:
        A dictionary from the name of an element to its value.

    Raises:
        UsageError: the tuple fits none of the layouts.
    """
    if isinstance(value, list | tuple):
        for layout in layouts:
            if len(layout) == len(value):
                named = dict(zip(layout, value, strict=True))
                if _fits(named):
                    return named
    size = f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    raise UsageError(
        f"{path}: unknown layout (the pickle holds a {type(value).__name__}{size})",
        details=[f"element {i}: {_described(element)}" for i, element in enumerate(value)]
        if isinstance(value, list | tuple) and len(value) < 30
        else [],
        hint=f"give a file of a known layout, with {', '.join(str(len(layout)) for layout in layouts)} elements: see "
        "docs/features.md",
    )


def _fits(named: Mapping[str, Any]) -> bool:
    features = [named[name] for name in named if name in MODALITY]
    if not all(isinstance(d, dict) for d in (named["sentences"], named["labels"], *features)):
        return False
    spoken = next((rows[0] for rows in named["sentences"].values() if len(rows)), "")
    first = [next((rows[0] for rows in d.values() if len(rows)), 0.0) for d in features]
    return isinstance(spoken, str) and not any(isinstance(row, str) for row in first)


def _described(element: Any) -> str:
    size = f" of {len(element)}" if isinstance(element, list | tuple | dict | set) else ""
    first = next(iter(element.values()), None) if isinstance(element, dict) else None
    return f"{type(element).__name__}{size}" + (
        f", each a {type(first).__name__}" if first is not None else ""
    )


Matches = dict[tuple[Any, int], str]  # dialogue in the file, row of the dialogue -> id


def _match(given: Mapping[str, Any], ids: IdMatcher, path: Path) -> tuple[Matches, list[str]]:
    placed: Matches = {}
    unknown: list[str] = []
    if not isinstance(given["ids"], dict):
        raise UsageError(
            f"{path}: the first element is not a dictionary from dialogue to the names of its utterances",
            hint="check that --format fits this file",
        )
    for dialogue, names in given["ids"].items():
        for i, name in enumerate(names):
            found = ids.of(name) or ids.numbered(dialogue, name)
            if found is None:
                unknown.append(f"{dialogue}/{name}")
            else:
                placed[dialogue, i] = found
    check_unique(placed, path)
    return placed, unknown


def check_unique(placed: Mapping[tuple[Any, int], str], path: Path) -> None:
    """Refuse a file in which two rows belong to the same utterance.

    Args:
        placed: utterance id of each matched row: (dialogue, position in the dialogue) -> id.
        path: path of the file, for the error message.

    Raises:
        UsageError: two rows belong to the same utterance. The message names these utterances.
    """
    seen: set[str] = set()
    twice = [name for name in placed.values() if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if twice:
        raise UsageError(
            f"{path}: more than one row for {count_noun(len(twice), 'utterance')}: {first_few(twice)}",
            hint="check that --corpus names the corpus of this file",
        )


def check_sentences(
    sentences: Mapping[Any, Sequence[Any]], placed: Matches, ids: IdMatcher, path: Path
) -> None:
    """Refuse a file if more than 10 % of its sentences differ from those of the same utterances in the manifest.

    Args:
        sentences: dictionary from dialogue to its sentences in the file.
        placed: utterance id of each matched row: (dialogue, position in the dialogue) -> id.
        ids: gives the utterances of the manifest.
        path: path of the file, for the error message.

    Raises:
        UsageError: too many sentences differ. The details show the first differences.
    """
    pairs = [
        (str(sentences[d][i]), ids.by_id[name].text)
        for (d, i), name in placed.items()
        if i < len(sentences.get(d, ()))
    ]
    if agreement(pairs) < MIN_AGREEMENT:
        differ = [f"{a!r} is {b!r} in the manifest" for a, b in pairs if b and agreement([(a, b)]) < 1]
        raise UsageError(
            f"{path}: only {agreement(pairs):.0%} of its sentences are equal to those in the manifest",
            details=differ[:5],
            hint="nothing was written; check that --corpus and --format fit this file",
        )


def feature_of(name: str, given: Mapping[Any, Any], placed: Matches, path: Path) -> FoundFeature:
    """Build one feature from one element of the tuple in a pickle.

    Args:
        name: name of the element, such as `audio` or `roberta1`; `MODALITY` gives its modality.
        given: the element: a dictionary from dialogue to feature rows.
        placed: utterance id of each matched row: (dialogue, position in the dialogue) -> id.

    Raises:
        UsageError: a dialogue has fewer rows than utterances.
    """
    count: dict[Any, int] = {}
    for dialogue, i in placed:
        count[dialogue] = max(count.get(dialogue, 0), i + 1)
    short = [
        f"{d}: {len(given.get(d, ()))} rows of {name}" for d, n in count.items() if len(given.get(d, ())) < n
    ]
    if short:
        raise UsageError(
            f"{path}: some dialogues have fewer rows of the feature {name} than utterances",
            details=short[:20],
            hint="check that the file is complete",
        )
    rows: dict[str, Array] = {}
    for (dialogue, i), utterance in placed.items():
        rows[utterance] = as_numbers(given[dialogue][i], f"{path}: {name} of {utterance}")
    return feature_from_rows(name, MODALITY[name], rows)
