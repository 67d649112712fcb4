"""`python -m app` runs the `ercache` command."""

from app.cli import main

main()
