"""CREMA-D: 91 actors who speak twelve sentences, with the ratings of listeners."""

from extract.corpora.cremad.scan import ENTRY

__all__ = ["ENTRY"]
