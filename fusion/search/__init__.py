"""Searches that are scored on validation data: hyperparameter sweeps, and ablations of a paper's open choices."""
