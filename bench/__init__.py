"""Benchmarks: each compares our code with a stated reference in one run. `make bench` writes docs/benchmarks.*."""
