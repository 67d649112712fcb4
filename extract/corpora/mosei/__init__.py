"""CMU-MOSEI: monologues of the web, segments with sentiment and emotions."""

from extract.corpora.mosei.scan import ENTRY

__all__ = ["ENTRY"]
