"""The engine: plan -> run -> pack. It turns a manifest and features into cache files and can be stopped anywhere."""

from extract.engine.extraction import Extraction, Failure, extract_corpus
from extract.engine.plan import Feature
from extract.engine.store import Store, default_store

__all__ = ["Extraction", "Failure", "Feature", "Store", "default_store", "extract_corpus"]
