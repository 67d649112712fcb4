"""Encoders of transcripts: transformer networks that give a vector per sentence, word or token."""
