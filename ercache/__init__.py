"""Common ground of both stages: manifest, cache file, params, errors, weights, training loop and metrics.

Nothing here knows how features are made or what model reads them; `extract` and `fusion` meet only in these files.
"""
