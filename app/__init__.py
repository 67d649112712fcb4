"""What people use directly: the command line, the pipeline file, the report and generated pages of docs/."""
