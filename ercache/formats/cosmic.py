"""Read the RoBERTa feature pickles of COSMIC (IEMOCAP, MELD): sentence vectors of four layers, grouped by dialogue.

The pickles have no utterance ids. The MELD file has all utterances of a dialogue in order. The IEMOCAP file leaves out
utterances that have none of its six emotions, so its rows are matched with the manifest by sentence, speaker and label.
"""

from pathlib import Path
from typing import Any, Final

from ercache.errors import UsageError
from ercache.formats.content import FileContent, first_few, label_notes
from ercache.formats.dialogue_pickle import (
    EMOTIONS,
    Matches,
    check_sentences,
    check_unique,
    feature_of,
    named_elements,
)
from ercache.formats.ids import IdMatcher, TextLine, match_lines
from ercache.formats.unpickle import load_pickle
from ercache.manifest import Manifest
from ercache.wording import count_noun

_LAYERS: Final = ("roberta1", "roberta2", "roberta3", "roberta4")  # the last layer first
_TAIL: Final = ("sentences", "train", "test", "valid")
LAYOUTS: Final[tuple[tuple[str, ...], ...]] = (
    ("speakers", "labels", *_LAYERS, *_TAIL),  # IEMOCAP
    ("speakers", "labels", "sentiments", *_LAYERS, *_TAIL),  # MELD
)
# The files from which COSMIC computed these vectors: they hold sentences and labels alone.
WITHOUT_VECTORS: Final[tuple[tuple[str, ...], ...]] = (
    ("speakers", "labels", *_TAIL),  # IEMOCAP
    ("speakers", "labels", "sentiments", *_TAIL),  # MELD
)
NO_VECTORS: Final = "the file holds sentences and labels of COSMIC, but no vectors"


def read_cosmic(path: Path, manifest: Manifest, modality: str) -> FileContent:
    """Read a RoBERTa feature pickle of COSMIC.

    Args:
        modality: ignored, because all features in the file are text.

    Raises:
        UsageError: the file has another layout, no vectors, holds code, or its sentences differ from the manifest.
    """
    loaded = load_pickle(path)
    if has_no_vectors(loaded):
        raise UsageError(
            f"{path}: {NO_VECTORS}, so there is nothing to import",
            hint="the vectors are in *_features_roberta.pkl; to make a corpus of its sentences and labels, run "
            f"`ercache init --from {path}`",
        )
    given = named_elements(loaded, LAYOUTS, path)
    ids = IdMatcher(manifest)
    placed: Matches = {}
    unknown: list[str] = []
    unclear: list[str] = []
    label_set = next((s for s in EMOTIONS if s in manifest.label_sets), None)
    for dialogue, sentences in given["sentences"].items():
        utterances = ids.dialogue(dialogue)
        if not utterances:
            unknown.append(str(dialogue))
            continue
        lines = [_line(given, dialogue, i, manifest, label_set) for i in range(len(sentences))]
        paired = match_lines(lines, utterances, label_set)
        placed |= {(dialogue, i): name for i, name in paired.items()}
        unclear += [f"{dialogue}/{i} {str(s)[:30]!r}" for i, s in enumerate(sentences) if i not in paired]
    if unclear and not placed:
        raise UsageError(
            f"{path}: no sentence in the file is in the manifest",
            details=unclear[:5],
            hint="nothing was written; check that --corpus and --format fit this file",
        )
    check_unique(placed, path)
    check_sentences(given["sentences"], placed, ids, path)
    notes = (
        [f"{len(unknown)} of its dialogues are not in the manifest: {first_few(unknown)}"] if unknown else []
    )
    if unclear:
        notes.append(
            f"{count_noun(len(unclear), 'row')} left out, because several utterances fit: {first_few(unclear)}"
        )
    labels = {
        name: given["labels"][d][i] for (d, i), name in placed.items() if i < len(given["labels"].get(d, ()))
    }
    notes += label_notes(manifest, labels, EMOTIONS)
    notes.append("speakers, sentences and lists of dialogues were not imported: the manifest has its own")
    notes.append(
        "the text encoder was trained on the training dialogues of this corpus: see docs/features.md"
    )
    return FileContent(
        tuple(feature_of(layer, given[layer], placed, path) for layer in _LAYERS), tuple(notes)
    )


def has_no_vectors(loaded: Any) -> bool:
    """Whether a loaded pickle is a COSMIC file that holds only sentences and labels, and no feature vectors."""
    if not isinstance(loaded, list | tuple):
        return False
    for layout in WITHOUT_VECTORS:
        if len(layout) == len(loaded):
            place = layout.index("sentences")
            dicts, lists = loaded[: place + 1], loaded[place + 1 :]
            first = (
                next((rows[0] for rows in dicts[-1].values() if len(rows)), None)
                if isinstance(dicts[-1], dict)
                else 0
            )
            return (
                isinstance(first, str)
                and all(isinstance(d, dict) for d in dicts)
                and not any(isinstance(listed, dict) for listed in lists)
            )
    return False


def _line(
    given: dict[str, Any], dialogue: object, i: int, manifest: Manifest, label_set: str | None
) -> TextLine:
    speakers, labels = given["speakers"].get(dialogue, ()), given["labels"].get(dialogue, ())
    speaker = speakers[i] if i < len(speakers) and isinstance(speakers[i], str) else ""
    values = manifest.label_sets[label_set] if label_set else ()
    known = i < len(labels) and 0 <= int(labels[i]) < len(values)
    return TextLine(str(given["sentences"][dialogue][i]), speaker, values[int(labels[i])] if known else None)
