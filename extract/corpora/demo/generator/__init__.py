"""Generate the demo corpus: real media files in MELD's layout, with drawn people, synthetic speech and own sentences.

`channels` defines how much each modality reveals about the emotion; `bayes` computes the best accuracy any model can
reach.
"""

from extract.corpora.demo.generator.corpus import DemoSummary, generate

__all__ = ["DemoSummary", "generate"]
