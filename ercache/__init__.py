"""Code that both stages share: manifests, cache files, params, errors, weights, networks, the training loop, and
metrics.

The two stages are `extract` (media to features) and `fusion` (features to emotions). This package imports neither of
them. The stages exchange data only through files that this package reads and writes.
"""
