"""Notes on utterances whose feature was computed from less or other media than requested.

The provenance of a cache file holds them. A file without notes has no such entry.
"""

from collections.abc import Mapping
from typing import Any, Final

KEY: Final = "notes"
MEANING: Final = "computed from less or other media than requested"


def notes_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Read the notes of a cache file.

    Args:
        provenance: provenance of the file. A file of another tool may hold something else under this key.

    Returns:
        Utterance -> note; empty if there are none.
    """
    notes = provenance.get(KEY)
    return {str(u): str(note) for u, note in notes.items()} if isinstance(notes, Mapping) else {}
