"""IEMOCAP: five sessions with two actors each. An utterance is a turn in a long recording."""

from extract.corpora.iemocap.scan import ENTRY

__all__ = ["ENTRY"]
