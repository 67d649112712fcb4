"""The demo corpus: real media in MELD's layout, with drawn people, synthetic speech and sentences of our own.

How much each modality gives away is fixed in `channels`, and `bayes` says how well any model can do on it.
"""

from extract.corpora.demo.generator.corpus import DemoSummary, generate

__all__ = ["DemoSummary", "generate"]
