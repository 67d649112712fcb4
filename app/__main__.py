"""`python -m app`: the `ercache` command."""

from app.cli import main

main()
