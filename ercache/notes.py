"""Notes: what is told of an utterance whose feature rests on less, or on other media, than was asked for.

They stand in the provenance of a cache file, and only where there are any: files without keep the bytes they had.
"""

from collections.abc import Mapping
from typing import Any, Final

KEY: Final = "notes"
MEANING: Final = "rests on less, or on other media, than was asked for"


def notes_of(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Utterance -> note; none where a stranger's file has something else there. Files of ours have them sorted."""
    told = provenance.get(KEY)
    return {str(u): str(note) for u, note in told.items()} if isinstance(told, Mapping) else {}
