"""RAVDESS: 24 actors speak and sing two sentences."""

from extract.corpora.ravdess.scan import ENTRY

__all__ = ["ENTRY"]
