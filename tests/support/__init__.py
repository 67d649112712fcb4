"""Helpers of the tests: toy corpora, encoders and checkpoints, hostile media, and simulated restrictions."""
