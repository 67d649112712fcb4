"""Compute features: plan, run, pack. The engine turns a manifest into cache files and can be stopped at any time."""

from extract.engine.extraction import Extraction, Failure, extract_corpus
from extract.engine.plan import Feature
from extract.engine.store import Store, default_store

__all__ = ["Extraction", "Failure", "Feature", "Store", "default_store", "extract_corpus"]
