"""Encoders of transcripts: sentence and token states of transformer networks."""
