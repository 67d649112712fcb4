"""Corpora that consist of a features file of another project alone, without media or transcripts.

Each reader turns a file into a manifest (ids, dialogues, speakers, sentences, labels, splits) and its features, as far
as the file holds them. The readers of the values are those of `ercache cache import`.
"""

from extract.corpora.feature_file.corpus import FileCorpus
from extract.corpora.feature_file.read import read_feature_file

__all__ = ["FileCorpus", "read_feature_file"]
