"""Corpora as they are distributed, read into manifests: one file per corpus, and the table of them.

A scan trusts the annotation, never a directory listing; it reports every deviation and mends none silently.
"""

from typing import Final

from extract.corpora import clips, cremad, demo, iemocap, meld, mosei, ravdess
from extract.corpora.entry import CorpusEntry

CORPORA: Final[dict[str, CorpusEntry]] = {
    entry.key: entry
    for entry in (
        demo.ENTRY,
        meld.ENTRY,
        iemocap.ENTRY,
        mosei.ENTRY,
        ravdess.ENTRY,
        cremad.ENTRY,
        clips.ENTRY,
    )
}

__all__ = ["CORPORA", "CorpusEntry"]
