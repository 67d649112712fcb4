"""MELD: dialogues of the series Friends, with one video clip per utterance."""

from extract.corpora.meld.scan import ENTRY

__all__ = ["ENTRY"]
