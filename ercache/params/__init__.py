"""params.yaml: its schema, and reading it with all wrong entries reported together."""
