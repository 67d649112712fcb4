"""Searches on validation data: hyperparameters, and the open choices of a paper."""
