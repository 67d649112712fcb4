"""CMU-MOSEI: monologues from the web, cut into segments that are rated for sentiment and emotions."""

from extract.corpora.mosei.scan import ENTRY

__all__ = ["ENTRY"]
