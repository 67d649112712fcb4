"""IEMOCAP: five sessions of two actors each, turns of long recordings."""

from extract.corpora.iemocap.scan import ENTRY

__all__ = ["ENTRY"]
