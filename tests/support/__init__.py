"""Helpers of the tests: toy corpora, toy encoders, tiny checkpoints, hostile media, and simulated restrictions."""
