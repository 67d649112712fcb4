"""The command line, the pipeline file and the report: everything that a person starts or looks at."""
