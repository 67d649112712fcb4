"""CREMA-D: 91 actors speak twelve sentences; listeners rated the emotions."""

from extract.corpora.cremad.scan import ENTRY

__all__ = ["ENTRY"]
