"""Generate the demo corpus: media files in MELD's folder layout, with drawn people, synthetic speech and new sentences.

`channels` defines how much each modality reveals about the emotion. `bayes` computes the best accuracy that any model
can reach.
"""

from extract.corpora.demo.generator.corpus import DemoSummary, generate

__all__ = ["DemoSummary", "generate"]
