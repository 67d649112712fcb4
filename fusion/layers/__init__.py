"""Layers and losses that several fusion models share."""
