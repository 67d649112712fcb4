"""Encoders of video: features of whole pictures and of the faces in them."""
