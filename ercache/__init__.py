"""What both stages share: manifest, cache file, params, errors, weights, networks, training loop and metrics.

This package imports neither `extract` nor `fusion`. The two stages exchange data only through files defined here.
"""
