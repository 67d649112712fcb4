"""Benchmarks of ercache: each one measures ercache and a reference in the same run."""
