"""Encoders of sound: acoustic descriptors, networks on spectrograms, and networks on waveforms."""
