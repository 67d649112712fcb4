"""Encoders of pictures and faces: crops, descriptors, and convolutional or transformer networks."""
