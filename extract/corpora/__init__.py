"""Corpora as they are distributed, read into manifests: one file per corpus, and the table of them.

A scan trusts the annotation, never a directory listing; it reports every deviation and mends none silently.
"""

from typing import Final

from extract.corpora.common.entry import CorpusEntry
from extract.corpora.cremad import scan as cremad
from extract.corpora.demo import scan as demo
from extract.corpora.folder import scan as folder
from extract.corpora.iemocap import scan as iemocap
from extract.corpora.meld import scan as meld
from extract.corpora.mosei import scan as mosei
from extract.corpora.ravdess import scan as ravdess

CORPORA: Final[dict[str, CorpusEntry]] = {
    entry.key: entry
    for entry in (
        demo.ENTRY,
        meld.ENTRY,
        iemocap.ENTRY,
        mosei.ENTRY,
        ravdess.ENTRY,
        cremad.ENTRY,
        folder.ENTRY,
    )
}

__all__ = ["CORPORA", "CorpusEntry"]
