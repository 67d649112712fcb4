"""Trains experiments, and writes run folders: several seeds in parallel, cross-validation folds, hard examples."""
