"""Compute features in three steps: plan the work, run the encoders, and write the results into cache files.

The engine turns a manifest (the list of a corpus' utterances) into HDF5 cache files of features. A run can be stopped
at any time and resumed.
"""

from extract.engine.extraction import Extraction, Failure, extract_corpus
from extract.engine.plan import Feature
from extract.engine.store import Store, default_store

__all__ = ["Extraction", "Failure", "Feature", "Store", "default_store", "extract_corpus"]
