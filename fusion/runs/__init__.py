"""Finished runs: the record of a run, and predictions from its weights."""
