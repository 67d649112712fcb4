"""Reads and writes finished runs: the record (`run.json`), the weights, the predictions and the scores."""
