"""Reads features and labels of an experiment, cuts context windows, and makes standardised, padded batches."""
