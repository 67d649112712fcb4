"""Read notes on single utterances, such as `frames 4 of 6`, from a cache file.

A note says that the feature of an utterance was computed from less media, or from other media, than requested. The
provenance of the file (how its feature was computed) holds the notes in its entry `notes`, if there are any.
"""

from collections.abc import Mapping
from typing import Any, Final

KEY: Final = "notes"
MEANING: Final = "computed from less or other media than requested"


def notes_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Read the notes of a cache file from its provenance.

    Args:
        provenance: provenance of the file. An entry `notes` that is not a dictionary is ignored.

    Returns:
        A dictionary from utterance id to note; empty if there are no notes.
    """
    notes = provenance.get(KEY)
    return {str(u): str(note) for u, note in notes.items()} if isinstance(notes, Mapping) else {}
