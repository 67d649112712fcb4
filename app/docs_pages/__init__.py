"""Pages of docs/ that are made from the registries and from runs."""
