"""Layers and losses that two or more fusion models share."""
