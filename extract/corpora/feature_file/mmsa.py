"""Read corpora from MMSA's feature pickles (MOSI, MOSEI, SIMS), which are dictionaries of train, valid and test."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from ercache.formats.mmsa import mmsa_content
from ercache.formats.mult import MODES, is_mult
from ercache.manifest import Utterance
from extract.corpora.common.splits import Split
from extract.corpora.feature_file.corpus import PART, Turns, named_classes

__all__ = ["is_mmsa", "mmsa_content", "turns_of"]

_BETWEEN: Final = "$_$"  # between video and clip
_ORDERED: Final = ("Negative", "Weakly Negative", "Neutral", "Weakly Positive", "Positive")
_ROUNDED: Final = ("-3", "-2", "-1", "0", "1", "2", "3")  # the sentiment of MOSI and MOSEI, as MMSA rounds it
_SUBSETS: Final = {"train": "train", "valid": "dev", "test": "test"}


def is_mmsa(given: Any) -> bool:
    """Return whether a loaded pickle has MMSA's layout: a dictionary for train, valid and test each, with clip ids."""
    modes = [given[m] for m in MODES if isinstance(given.get(m), dict)] if isinstance(given, dict) else []
    return any("id" in mode for mode in modes) and not is_mult(given)


def turns_of(given: Mapping[str, Any]) -> Turns:
    """Read the utterances, labels and subsets from MMSA's loaded pickle. Each video is a dialogue of one speaker."""
    rows = [
        (mode, i, name)
        for mode in MODES
        if mode in given
        for i, name in enumerate(_listed(given[mode]["id"]))
    ]
    labels = _labels(given)
    videos = {str(name): str(name).partition(_BETWEEN)[0] for _, _, name in rows}
    rows.sort(key=lambda row: (videos[str(row[2])], _clip(str(row[2]))))
    count: Counter[str] = Counter()
    utterances = []
    split: Split = {}
    for mode, i, name in rows:
        video = videos[str(name)]
        texts = _listed(given[mode].get("raw_text", ()))
        identity = str(name).replace(_BETWEEN, "_")
        of = {s: values[mode][i] if i < len(values[mode]) else None for s, values in labels.items()}
        text = str(texts[i]) or None if i < len(texts) else None
        utterances.append(Utterance(identity, video, count[video], video, text, None, None, of, PART))
        count[video] += 1
        subset = _SUBSETS[mode]
        split[subset] = (*split.get(subset, ()), identity)
    return Turns(utterances, {s: _values(s, of) for s, of in labels.items()}, split, [])


def _clip(name: str) -> tuple[int, str]:
    clip = name.rpartition(_BETWEEN)[2]
    return (int(clip), "") if clip.isascii() and clip.isdigit() else (0, clip)


def _labels(given: Mapping[str, Any]) -> dict[str, dict[str, list[str | None]]]:
    """Read the labels in MMSA's loaded pickle.

    `annotation` holds the sentiment words, such as `Positive`. `sentiment7_rounded` holds the rounded sentiment scores
    if they are on the scale from -3 to 3. If both are missing, `label` holds the class numbers.

    Returns:
        Label set -> train, valid or test -> label of each utterance, or None.
    """
    found: dict[str, dict[str, list[str | None]]] = {}
    modes = [mode for mode in MODES if mode in given]
    if any("annotations" in given[mode] for mode in modes):
        found["annotation"] = {
            m: [str(v) if str(v).strip() else None for v in _listed(given[m].get("annotations", ()))]
            for m in modes
        }
    scores = {m: [float(v) for v in _listed(given[m].get("regression_labels", ()))] for m in modes}
    every = [abs(s) for of in scores.values() for s in of if np.isfinite(s)]
    if every and 1 < max(every) <= 3:
        found["sentiment7_rounded"] = {
            m: [str(round(s)) if np.isfinite(s) else None for s in of] for m, of in scores.items()
        }
    if not found:
        classes = {m: [int(v) for v in _listed(given[m].get("classification_labels", ()))] for m in modes}
        if any(classes.values()):
            found["label"] = {m: [str(n) if n >= 0 else None for n in of] for m, of in classes.items()}
    return found


def _values(label_set: str, of: Mapping[str, Sequence[str | None]]) -> tuple[str, ...]:
    used = {value for values in of.values() for value in values if value is not None}
    if label_set == "sentiment7_rounded":
        return _ROUNDED
    if label_set == "label":
        return named_classes([int(value) for value in used])
    known = [value for value in _ORDERED if value in used]
    return (*known, *sorted(used.difference(known)))


def _listed(value: Any) -> list[Any]:
    flat = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else value
    return list(flat)
