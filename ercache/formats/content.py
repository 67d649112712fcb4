"""Types for the content of another project's file: its features by utterance id, and notes for the user."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ercache.cache import Array, ArraySpec
from ercache.errors import UsageError
from ercache.manifest import MODALITIES, Manifest
from ercache.reasons import Reason

ARRAY: Final = "features"  # array name of a feature whose file does not name its array
SHOWN: Final = 5
# Words in common names of encoders, by modality. They are searched for in this order.
_WORDS: Final[Mapping[str, str]] = {
    "audio": "audio|acoustic|hubert|wav2vec|wavlm|whisper|vggish|covarep|egemaps|opensmile|mfcc|data2vec|emotion2vec",
    "visual": "visual|vision|video|face|clip|manet|emonet|resnet|senet|densenet|dino|msceleb|fer2013|affectnet|eva0?2",
    "text": "text|word|glove|bert|xlnet|electra|llama|vicuna|chatglm|baichuan|bloom|falcon|sentence|mpnet|minilm|gpt",
}


@dataclass(frozen=True)
class FoundFeature:
    """One feature found in a file of another project.

    Attributes:
        name: name of the feature in the file; used to name the imported feature.
        modality: text, audio or visual.
        ids: ids of the utterances that have the feature, in any order.
        read: function that takes the id of an utterance and returns a dictionary from array name to values: one vector
            [D] of D numbers, or T rows [T, ...]. It may be called several times per utterance.
        specs: name, shape and type of each array; if empty, they are derived from the values.
        gaps: utterances that the file lists without values: utterance id -> why there are none.
        frames: utterance id -> number of frames that the encoder read, if it differs from the number of rows.
    """

    name: str
    modality: str
    ids: tuple[str, ...]
    read: Callable[[str], Mapping[str, Array]]
    specs: tuple[ArraySpec, ...] = ()
    gaps: Mapping[str, Reason] = field(default_factory=dict)
    frames: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FileContent:
    """Everything that a reader found in a file of another project.

    Attributes:
        features: the features.
        notes: sentences for the user: what a cache cannot hold, and which rows of the file belong to no utterance.
        claims: what the file itself says about its origin, as JSON values.
        name: name for the imported feature; "" to use the name of the file.
    """

    features: tuple[FoundFeature, ...]
    notes: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""


def feature_from_rows(name: str, modality: str, rows: Mapping[str, Array]) -> FoundFeature:
    """Build a `FoundFeature` from one array per utterance. Utterances with an empty array are left out.

    Args:
        name: name of the feature in the file.
        modality: text, audio or visual.
        rows: dictionary from utterance id to a vector [D] of D numbers, or to T rows [T, ...].
    """
    full = {utterance: row for utterance, row in rows.items() if row.size}
    return FoundFeature(name, modality, tuple(full), lambda utterance: {ARRAY: full[utterance]})


def modality_of(name: str, given: str) -> str:
    """Find the modality of a feature: the user's option or, without it, the modality that a name suggests.

    Args:
        name: name of a file, feature or encoder, such as `hubert_large`, which suggests audio.
        given: value of the option `--modality`; "" if the user gave none.

    Returns:
        `text`, `audio` or `visual`.

    Raises:
        UsageError: the option is not one of these three, or it is not given and the name suggests no modality.
    """
    if given:
        if given not in MODALITIES:
            raise UsageError(f"unknown modality {given!r}", hint=f"give one of {', '.join(MODALITIES)}")
        return given
    for modality, words in _WORDS.items():
        if re.search(words, name.lower()):
            return modality
    raise UsageError(
        f"the name {name!r} does not show whether the feature is text, audio or visual",
        hint="give --modality text, audio or visual",
    )


def first_few(names: Sequence[object], most: int = SHOWN) -> str:
    """Shorten a list of names for a message: the first `most` names, then how many follow, as in `a, b and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def label_notes(manifest: Manifest, given: Mapping[str, object], sets: Sequence[str]) -> list[str]:
    """Compare the labels in a file with the labels in the manifest. The manifest is not changed.

    Args:
        given: dictionary from utterance id to the label in the file, an index into the classes of a label set.
        sets: names of label sets. Labels are compared with the first of these label sets that the manifest has.

    Returns:
        Sentences for the user: how many labels are equal, and which ones differ.
    """
    name = next((s for s in sets if s in manifest.label_sets), None)
    if name is None or not given:
        return ["labels were not compared: the manifest has no label set of known order"] if given else []
    values = manifest.label_sets[name]
    own = {u.id: u.labels.get(name) for u in manifest.utterances}
    differ = [utterance for utterance, label in given.items() if own[utterance] != _value(values, label)]
    if not differ:
        return [f"labels: {len(given)} compared with {name}, all are equal"]
    return [
        f"labels: {len(differ)} of {len(given)} differ from {name}, whose labels stay: {first_few(differ)}"
    ]


def _value(values: Sequence[str], label: object) -> str | None:
    index = int(label) if isinstance(label, int | float) or hasattr(label, "__index__") else -1
    return values[index] if 0 <= index < len(values) else None
