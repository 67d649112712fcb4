"""A toy corpus: files `<part>_<dialogue>_<index>_<label>.wav` in one folder."""

from pathlib import Path

from ercache.digests import digest_of_file
from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Utterance
from ercache.params.schema import Strict
from extract.corpora import CorpusEntry
from extract.corpora.common.entry import ScanProgress

LABELS = {"volume": ("quiet", "loud")}


class Switches(Strict):
    """The corpus has no switches."""


def scan(root: Path, switches: Switches, progress: ScanProgress | None = None) -> Manifest:
    """Make a manifest in which every wav file is an utterance."""
    utterances = []
    for path in sorted(root.glob("*.wav")):
        part, dialogue, index, label = path.stem.split("_")
        ref = MediaRef(path.name, sha256=digest_of_file(path))
        utterances.append(
            Utterance(path.stem, dialogue, int(index), "Ann", None, None, ref, {"volume": label}, part)
        )
    if not utterances:
        raise CorpusError(f"tones: no .wav in {root}", hint="is this the right folder?")
    parts = tuple(dict.fromkeys(u.part for u in utterances))
    split = {part: tuple(u.id for u in utterances if u.part == part) for part in parts}
    return Manifest(
        "tones", "1", {}, LABELS, tuple(utterances), (), {"official": split}, {"official": ("dialogue",)}
    )


ENTRY = CorpusEntry(
    key="tones",
    name="Tones",
    modalities=("audio",),
    parts=("train", "dev", "test"),
    label_sets=LABELS,
    licence="MIT",
    how_to_get="made by a test",
    Switches=Switches,
    scan=scan,
)
