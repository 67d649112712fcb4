"""EmoryNLP: scenes of the series Friends, transcripts with one of seven emotions per utterance."""

from extract.corpora.emorynlp.scan import ENTRY

__all__ = ["ENTRY"]
