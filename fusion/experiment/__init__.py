"""Prepares an experiment for training: fills in defaults, reads features and labels, and checks everything."""
