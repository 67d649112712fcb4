"""Corpora that exist only as a features file of another project, without media or transcripts.

For each file format there is a reader. It returns a manifest (ids, dialogues, speakers, sentences, labels, splits) and
the features, as far as the file holds them. The features are read by the code of `ercache cache import`.
"""

from extract.corpora.feature_file.corpus import FileCorpus
from extract.corpora.feature_file.read import read_feature_file

__all__ = ["FileCorpus", "read_feature_file"]
