"""params.yaml: its schema, and the reading that tells all findings at once."""
