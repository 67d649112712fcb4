"""What people use directly: the command line, the DVC pipeline, the HTML report and generated pages of docs/."""
