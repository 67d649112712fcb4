"""`python -m app` runs the command `ercache` without installing the package."""

from app.cli import main

main()
