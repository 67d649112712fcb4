"""Read corpora as they are distributed into manifests. Each corpus has a folder whose `scan.py` defines its entry.

A scan trusts the annotation, not a directory listing. It reports every deviation and repairs nothing silently.
"""

from typing import Final

from ercache.registry import Registry, lacking
from extract.corpora.common.entry import CorpusEntry

CORPORA: Final = Registry[CorpusEntry](
    "extract.corpora", "ercache.corpora", lambda entry: entry.key, lambda entry: lacking(entry, CorpusEntry)
)

__all__ = ["CORPORA", "CorpusEntry"]
