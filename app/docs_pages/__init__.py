"""Tables and pictures in docs/ that are generated from registries and from trained runs."""
