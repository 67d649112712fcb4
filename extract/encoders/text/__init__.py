"""Encoders of transcripts: transformer networks that give a vector per utterance, word or token."""
