"""Benchmarks of ercache: each one measures ercache and, in the same run, a reference such as plain research code."""
