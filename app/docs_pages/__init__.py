"""Generate tables and pictures in docs/: of encoders, papers and trained systems."""
