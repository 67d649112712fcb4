"""MELD: dialogues of the series Friends, one clip for each utterance."""

from extract.corpora.meld.scan import ENTRY

__all__ = ["ENTRY"]
