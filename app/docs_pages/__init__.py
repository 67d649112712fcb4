"""Tables and pictures of docs/ that are generated from registries and from trained runs."""
