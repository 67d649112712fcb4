"""Train extractors (networks that compute features) where a paper does so before its fusion model: `ercache pretrain`.

An extractor is trained on the train subset of a corpus, or on a folder of labelled files; its best epoch is chosen on
validation data, and test data are never read. It records the ids of all utterances that it has seen.
"""
