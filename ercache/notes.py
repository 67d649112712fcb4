"""Notes on single utterances, such as `frames 4 of 6`: the feature was computed from less media, or from other media,
than requested.

The provenance of a cache file holds the notes. If there are no notes, the provenance has no such entry.
"""

from collections.abc import Mapping
from typing import Any, Final

KEY: Final = "notes"
MEANING: Final = "computed from less or other media than requested"


def notes_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Read the notes of a cache file from its provenance.

    Args:
        provenance: provenance of the file. If the entry is not in the expected form, it is ignored.

    Returns:
        A dictionary from utterance id to note; empty if there are no notes.
    """
    notes = provenance.get(KEY)
    return {str(u): str(note) for u, note in notes.items()} if isinstance(notes, Mapping) else {}
