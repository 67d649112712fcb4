"""What a reader finds in a file of another project: features by the ids of a manifest, and what must be told."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ercache.cache import Array, ArraySpec
from ercache.errors import UsageError
from ercache.manifest import MODALITIES, Manifest
from ercache.reasons import Reason

ARRAY: Final = "features"  # name of the one array of a feature whose file gives it none
SHOWN: Final = 5
# Words of the names under which encoders are known in the field; looked for in this order.
_WORDS: Final[Mapping[str, str]] = {
    "audio": "audio|acoustic|hubert|wav2vec|wavlm|whisper|vggish|covarep|egemaps|opensmile|mfcc|data2vec|emotion2vec",
    "visual": "visual|vision|video|face|clip|manet|emonet|resnet|senet|densenet|dino|msceleb|fer2013|affectnet|eva0?2",
    "text": "text|word|glove|bert|xlnet|electra|llama|vicuna|chatglm|baichuan|bloom|falcon|sentence|mpnet|minilm|gpt",
}


@dataclass(frozen=True)
class FoundFeature:
    """One feature of a file.

    Attributes:
        name: how the file calls it; becomes a part of the feature's name, or all of it.
        ids: of the manifest, in any order: the utterances that have it.
        read: id -> array name -> [D] or [T, ...]; asked for more than once.
        specs: arrays as they must be; found out from the values when empty.
        gaps: utterances that the file names without giving values, and why.
        frames: id -> frames, where the file tells another number than that of the rows.
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
    """All that a file gives.

    Attributes:
        notes: what a cache cannot hold, and rows that belong to no utterance; one sentence each.
        claims: what the file itself says about its making, JSON-like.
        name: what its feature is called, where the file's own name does not say.
    """

    features: tuple[FoundFeature, ...]
    notes: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""


def feature_from_rows(name: str, modality: str, rows: Mapping[str, Array]) -> FoundFeature:
    """A feature that is in memory already; a row without content is none."""
    full = {utterance: row for utterance, row in rows.items() if row.size}
    return FoundFeature(name, modality, tuple(full), lambda utterance: {ARRAY: full[utterance]})


def modality_of(name: str, told: str) -> str:
    """The modality that was told, or the one that the name of an encoder gives away.

    Raises:
        UsageError: it is none of the three, or must be told.
    """
    if told:
        if told not in MODALITIES:
            raise UsageError(f"unknown modality {told!r}", hint=f"one of {', '.join(MODALITIES)}")
        return told
    for modality, words in _WORDS.items():
        if re.search(words, name.lower()):
            return modality
    raise UsageError(
        f"the modality of {name!r} cannot be told from its name", hint="give --modality text, audio or visual"
    )


def first_few(names: Sequence[object], most: int = SHOWN) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def label_notes(manifest: Manifest, given: Mapping[str, object], sets: Sequence[str]) -> list[str]:
    """Compare labels of a file with the manifest's; the manifest's stay.

    Args:
        given: id -> label, as an index into a label set.
        sets: label sets whose order the file uses; the first that the manifest has is taken.
    """
    name = next((s for s in sets if s in manifest.label_sets), None)
    if name is None or not given:
        return ["labels are not compared: the manifest has no label set of known order"] if given else []
    values = manifest.label_sets[name]
    own = {u.id: u.labels.get(name) for u in manifest.utterances}
    differ = [utterance for utterance, label in given.items() if own[utterance] != _value(values, label)]
    if not differ:
        return [f"labels: {len(given)} compared with {name}, all equal"]
    return [
        f"labels: {len(differ)} of {len(given)} differ from {name}, whose labels stay: {first_few(differ)}"
    ]


def _value(values: Sequence[str], label: object) -> str | None:
    index = int(label) if isinstance(label, int | float) or hasattr(label, "__index__") else -1
    return values[index] if 0 <= index < len(values) else None
