"""Benchmarks: each a ratio against a stated reference, measured in one run. `make bench` writes docs/benchmarks.*."""
