"""Encoders of sound: acoustic descriptors, pictures of spectra, networks on waveforms."""
