"""params.yaml: its schema, and reading it. All wrong entries are reported together."""
