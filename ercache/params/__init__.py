"""Read, check and change params.yaml, the file that holds all choices of a project."""
