"""Corpora in the tuple pickles of DialogueRNN, MMGCN, MM-DFN, M3NET and COSMIC.

Such a pickle is a tuple without names for its elements. An element is a dictionary from dialogue to a list with one
item per utterance (ids, speakers, labels, vectors, sentences), or a list of the dialogues in train or test. The number
of elements and their types show which project's layout it is.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ercache.formats import cosmic, dialogue_pickle
from ercache.formats.content import FileContent
from ercache.formats.dialogue_pickle import MODALITY, Matches, feature_of
from ercache.manifest import Utterance
from extract.corpora.common.splits import Split
from extract.corpora.feature_file.corpus import PART, UNKNOWN, Turns, named_classes
from extract.corpora.iemocap.facts import LABEL_SETS as IEMOCAP_SETS
from extract.corpora.meld.scan import LABEL_SETS as MELD_SETS

FORMS: Final = {
    **dict.fromkeys(dialogue_pickle.LAYOUTS, "dialogue-pickle"),
    **dict.fromkeys(cosmic.LAYOUTS, "cosmic"),
    **dict.fromkeys(cosmic.WITHOUT_VECTORS, "cosmic"),
}
MAX_CLASSES: Final = 1000
_LISTS: Final = {"train": "train", "test": "test", "valid": "dev"}  # element -> subset
_IEMOCAP: Final = re.compile(r"(Ses0[1-5])[MF]_.+")
_SENTIMENTS: Final = ("neutral", "positive", "negative")  # order in the files of MELD


def layout_of(value: Any) -> tuple[str, ...] | None:
    """Recognise the layout of a loaded pickle by the number and types of its elements.

    Returns:
        The meaning of each element (`ids`, `speakers`, `labels` and so on); None if no known layout fits.
    """
    if not isinstance(value, list | tuple):
        return None
    fitting = (layout for layout in FORMS if len(layout) == len(value))
    return next((layout for layout in fitting if all(map(_fits, layout, value))), None)


def _fits(name: str, element: Any) -> bool:
    if name in _LISTS:
        return isinstance(element, list | tuple | set | frozenset | np.ndarray)
    if name == "other":
        return True
    if not isinstance(element, dict):
        return False
    first = next((rows[0] for rows in element.values() if _is_sequence(rows) and len(rows)), None)
    if first is None:
        return all(_is_sequence(rows) for rows in element.values())
    if name == "sentences":
        return isinstance(first, str)
    if name in MODALITY:
        return not isinstance(first, str) and np.ndim(first) > 0
    return name == "speakers" or np.ndim(first) == 0


def _is_sequence(rows: Any) -> bool:
    return isinstance(rows, list | tuple | np.ndarray)


def read_tuple(value: Sequence[Any], layout: Sequence[str], path: Path) -> tuple[Turns, FileContent]:
    """Read a tuple pickle as a corpus.

    Args:
        value: the loaded pickle.
        layout: the meaning of each element, from `layout_of`.
        path: path of the file, for messages.

    Returns:
        Two values: the utterances with labels and subsets; and the features.

    Raises:
        UsageError: a dialogue has fewer vectors than utterances, or vectors are no numbers.
    """
    given = dict(zip(layout, value, strict=True))
    ids = _ids(given)
    sets = _label_sets(given, ids)
    utterances = [
        Utterance(
            ids[dialogue, i], str(dialogue), i, _speaker(given, dialogue, i), _sentence(given, dialogue, i), None, None,
            {name: _label(given[element], dialogue, i, values) for name, (element, values) in sets.items()}, PART,
        )
        for dialogue, i in ids
    ]  # fmt: skip
    notes = []
    if "label" in sets:
        notes.append(("numbered_labels", "the file does not name its labels: they are the numbers in it"))
    features = [feature_of(name, given[name], ids, path) for name in layout if name in MODALITY]
    label_sets = {name: values for name, (_, values) in sets.items()}
    return Turns(utterances, label_sets, _given(given, ids), notes), FileContent(tuple(features))


def _ids(given: Mapping[str, Any]) -> Matches:
    """Give each utterance an id that is unique in the corpus.

    It is the utterance's name in the file if the names are unique. Otherwise it is made from the dialogue and this
    name, or from the dialogue and the position in it.

    Returns:
        A dictionary from (dialogue, position in the dialogue) to id, in the order of the file.
    """
    named = given.get("ids")
    if named is None:
        return {(d, i): f"{d}_{i}" for d, rows in given["sentences"].items() for i in range(len(rows))}
    names = {(d, i): str(name) for d, rows in named.items() for i, name in enumerate(rows)}
    count = Counter(names.values())
    if len(count) == len(names) and all(map(str.isprintable, count)) and all(count):
        return names
    numbered = all(str(d).isdigit() for d in named) and all(map(str.isdigit, count))
    whole = {
        place: f"dia{place[0]}_utt{name}" if numbered else f"{place[0]}_{name}"
        for place, name in names.items()
    }
    unique = len(set(whole.values())) == len(whole)
    return whole if unique else {(d, i): f"{d}_{i}" for d, i in names}


def _sentence(given: Mapping[str, Any], dialogue: Any, i: int) -> str | None:
    rows = given["sentences"].get(dialogue, ())
    return str(rows[i]) or None if i < len(rows) else None


def _speaker(given: Mapping[str, Any], dialogue: Any, i: int) -> str:
    """Return the speaker of utterance `i` of a dialogue.

    The file gives a name, a number, or a one-hot vector whose 1 is at the speaker's index. In IEMOCAP, the session is
    put before `M` or `F`, because each session has two other people.
    """
    rows = given["speakers"].get(dialogue, ())
    if i >= len(rows):
        return UNKNOWN
    if isinstance(rows[i], str):
        session = _IEMOCAP.fullmatch(str(dialogue))
        return f"{session[1]}{rows[i]}" if session and rows[i] in ("M", "F") else rows[i] or UNKNOWN
    return f"speaker{int(np.argmax(rows[i])) if np.ndim(rows[i]) else int(rows[i])}"


def _label_sets(given: Mapping[str, Any], ids: Matches) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Find out which label sets a file holds: those of IEMOCAP or MELD if it fits, else numbered classes.

    Returns:
        A dictionary from label set to two values: the element of the file that holds its class numbers (`labels` or
        `sentiments`), and the names of its classes.
    """
    numbers = _numbers(given["labels"])
    dialogues = [str(dialogue) for dialogue, _ in ids]
    sets: dict[str, tuple[str, tuple[str, ...]]] = {}
    if all(map(_IEMOCAP.fullmatch, dialogues)) and max(numbers, default=0) < len(IEMOCAP_SETS["six"]):
        sets["six"] = ("labels", IEMOCAP_SETS["six"])
    elif "sentiments" in given and max(numbers, default=0) < len(MELD_SETS["emotion7"]):
        sets["emotion7"] = ("labels", MELD_SETS["emotion7"])
        if max(_numbers(given["sentiments"]), default=0) < len(_SENTIMENTS):
            sets["sentiment3"] = ("sentiments", _SENTIMENTS)
    elif numbers:
        sets["label"] = ("labels", named_classes(numbers))
    return sets


def _numbers(element: Mapping[Any, Any]) -> list[int]:
    numbers = [int(label) for rows in element.values() for label in rows]
    if max(numbers, default=0) >= MAX_CLASSES:
        raise ValueError(f"the label {max(numbers)} is no number of a class")
    return numbers


def _label(element: Mapping[Any, Any], dialogue: Any, i: int, values: tuple[str, ...]) -> str | None:
    rows = element.get(dialogue, ())
    number = int(rows[i]) if i < len(rows) else -1
    return values[number] if 0 <= number < len(values) else None


def _given(given: Mapping[str, Any], ids: Matches) -> Split:
    split: Split = {}
    for element, subset in _LISTS.items():
        listed = {str(dialogue) for dialogue in given.get(element, ())}
        split[subset] = tuple(name for (dialogue, _), name in ids.items() if str(dialogue) in listed)
    return {subset: split[subset] for subset in ("train", "dev", "test") if split[subset]}
