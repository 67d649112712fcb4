"""Encoders of sound: acoustic descriptors, images of spectra, and networks on waveforms."""
