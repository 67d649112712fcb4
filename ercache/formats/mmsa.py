"""Read MMSA's feature pickles (MOSI, MOSEI, SIMS).

Layout: a dictionary of `train`, `valid` and `test`. Each of the three is a dictionary with feature arrays, padded to
one length, and with utterance names `video$_$clip`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ercache.cache import Array
from ercache.errors import UsageError
from ercache.formats.content import FileContent, feature_from_rows, first_few
from ercache.formats.ids import MIN_AGREEMENT, IdMatcher, agreement
from ercache.formats.mult import MODALITY, MODES, is_mult, mult_content
from ercache.formats.numbers import as_numbers
from ercache.formats.padding import cut_padding
from ercache.formats.unpickle import load_pickle
from ercache.manifest import Manifest


@dataclass
class _Gathered:
    """Collects what an MMSA file holds in its dictionaries train, valid and test, by utterance id of our manifest."""

    ids: IdMatcher
    path: Path
    rows: dict[str, dict[str, tuple[Array, int | None]]] = field(
        default_factory=lambda: {k: {} for k in MODALITY}
    )
    unknown: list[str] = field(default_factory=list)
    spoken: list[tuple[str, str | None]] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    padded: list[str] = field(default_factory=list)

    def add(self, mode: str, part: Mapping[str, Any]) -> None:
        """Collect the features of one of the dictionaries train, valid and test, and compare its texts and labels.

        Args:
            mode: key of the dictionary: train, valid or test.
            part: the dictionary: utterance names in `id`, and feature arrays.
        """
        names = [str(name) for name in _listed(part["id"])]
        placed = {i: found for i, name in enumerate(names) if (found := self.ids.of(name, mode)) is not None}
        self.unknown += [name for i, name in enumerate(names) if i not in placed]
        texts, labels = _listed(part.get("raw_text", ())), _listed(part.get("annotations", ()))
        self.spoken += [(str(texts[i]), self.ids.by_id[u].text) for i, u in placed.items() if i < len(texts)]
        self.differing += [u for i, u in placed.items() if i < len(labels) and not self._has(u, labels[i])]
        for key in (k for k in MODALITY if k in part):
            values = _values(part[key], len(names), f"{self.path}: {key} of {mode}")
            lengths = _lengths(part, key, values)
            if lengths is None:
                self.padded.append(f"{key} of {mode}")
            for i, utterance in placed.items():
                if utterance in self.rows[key]:
                    raise UsageError(
                        f"{self.path}: two rows belong to utterance {utterance}",
                        hint="check that --corpus names the corpus of this file",
                    )
                self.rows[key][utterance] = (values[i], None if lengths is None else lengths[i])

    def _has(self, utterance: str, label: object) -> bool:
        """Whether the manifest gives this label to the utterance. True for a label that is in no label set at all."""
        known = {value for values in self.ids.manifest.label_sets.values() for value in values}
        return str(label) not in known or str(label) in self.ids.by_id[utterance].labels.values()


def read_mmsa(path: Path, manifest: Manifest, modality: str) -> FileContent:
    """Read a feature pickle of MMSA.

    If the file gives the lengths of the sequences (in `audio_lengths`, or by the mask in `text_bert`), padding is
    removed at the start or the end, wherever the zeros are. Otherwise padding is kept, because zeros may be values.

    Args:
        modality: ignored, because the layout of the file defines the modality of each feature.

    Raises:
        UsageError: the file has another layout, holds code, or its texts differ from the manifest.
    """
    return mmsa_content(load_pickle(path), path, manifest)


def mmsa_content(given: Any, path: Path, manifest: Manifest) -> FileContent:
    """Turn an MMSA pickle that is already loaded into features. A pickle of MulT is accepted, too.

    Args:
        given: the loaded pickle.
        path: path of the pickle, for error messages.
        manifest: manifest of the corpus.

    Raises:
        UsageError: the pickle has another layout, or its texts differ from the manifest.
    """
    if is_mult(given):
        return mult_content(given, path, manifest)
    modes = [m for m in MODES if isinstance(given, dict) and isinstance(given.get(m), dict)]
    if not any("id" in given[mode] for mode in modes):
        found_keys = first_few(list(given)) if isinstance(given, dict) else type(given).__name__
        message = (
            f"{path}: not an MMSA file, which is a dictionary of train, valid and test, each with `id` "
            f"(found: {found_keys})"
        )
        raise UsageError(message, hint="check --format; docs/features.md describes the formats")
    gathered = _Gathered(IdMatcher(manifest), path)
    for mode in modes:
        gathered.add(mode, given[mode])
    if agreement(gathered.spoken) < MIN_AGREEMENT:
        raise UsageError(
            f"{path}: only {agreement(gathered.spoken):.0%} of its texts are equal to those in the manifest",
            hint="nothing was written; check that --corpus names the corpus of this file",
        )
    notes, claims, found = _notes(gathered), {}, []
    for key in (k for k in MODALITY if gathered.rows[k]):
        rows = gathered.rows[key]
        kept = {utterance: values for utterance, (values, length) in rows.items() if length is None}
        cut = cut_padding([(u, values, length) for u, (values, length) in rows.items() if length is not None])
        notes += cut.notes(key)
        claims[key] = "kept" if not cut.rows else f"cut at the {cut.side}"
        found.append(feature_from_rows(key, MODALITY[key], kept | cut.rows))
    return FileContent(tuple(found), tuple(notes), {"padding": claims})


def _notes(gathered: _Gathered) -> list[str]:
    notes = []
    if gathered.padded:
        notes.append(
            f"the file gives no lengths, so padding is kept as values: {first_few(gathered.padded, 9)}"
        )
    if gathered.unknown:
        notes.append(
            f"{len(gathered.unknown)} of its utterances are not in the manifest: {first_few(gathered.unknown)}"
        )
    if gathered.differing:
        differing = f"{len(gathered.differing)} annotations differ from the labels of the manifest"
        notes.append(f"{differing}: {first_few(gathered.differing)}")
    return [
        *notes,
        "labels, texts, modes and text_bert (token ids) were not imported: the manifest has its own",
    ]


def _listed(value: Any) -> list[Any]:
    flat = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else value
    return list(flat)


def _values(value: Any, count: int, where: str) -> Array:
    values = as_numbers(value, where)
    if values.ndim < 2 or len(values) != count:
        message = f"{where}: the array has shape {list(values.shape)}, but there are {count} utterances"
        raise UsageError(message, hint="check that the file is complete")
    return values


def _lengths(part: Mapping[str, Any], key: str, values: Array) -> list[int] | None:
    """Read how many rows of each utterance are values and not padding. None if the file has no valid lengths.

    Args:
        part: the dictionary train, valid or test of the file.
        key: key of the feature array in it: text, audio or vision.
        values: the feature array.
    """
    if values.ndim < 3:
        return None
    told = part.get(f"{key}_lengths")
    if told is None and key == "text" and getattr(part.get("text_bert"), "ndim", 0) == 3:
        told = part["text_bert"][:, 1].sum(axis=1)  # of token numbers, mask and segments
    if told is None:
        return None
    lengths = [int(n) for n in _listed(told)]
    fits = len(lengths) == len(values) and all(0 <= n <= values.shape[1] for n in lengths)
    return lengths if fits else None
