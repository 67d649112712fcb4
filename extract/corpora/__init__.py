"""Read corpora as they are distributed and write manifests (lists of utterances).

Each corpus has a folder with a `scan.py` that defines how to read it. A scan trusts the annotation, not the file names
in a folder. It reports every deviation and repairs nothing silently.
"""

from typing import Final

from ercache.registry import Registry, lacking
from extract.corpora.common.entry import CorpusEntry

CORPORA: Final = Registry[CorpusEntry](
    "extract.corpora", "ercache.corpora", lambda entry: entry.key, lambda entry: lacking(entry, CorpusEntry)
)

__all__ = ["CORPORA", "CorpusEntry"]
