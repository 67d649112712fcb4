"""Corpora as they are distributed, read into manifests: a folder for each, whose `scan.py` ends with its entry.

A scan trusts the annotation, never a directory listing; it reports every deviation and mends none silently.
"""

from typing import Final

from ercache.registry import Registry, lacking
from extract.corpora.common.entry import CorpusEntry

CORPORA: Final = Registry[CorpusEntry](
    "extract.corpora", "ercache.corpora", lambda entry: entry.key, lambda entry: lacking(entry, CorpusEntry)
)

__all__ = ["CORPORA", "CorpusEntry"]
