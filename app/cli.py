"""The entry of the `ercache` command: verbs, exit codes, and errors without tracebacks."""

import sys

import typer
from rich.console import Console

from app.commands import (
    benchmark,
    caches,
    checkpoints,
    exchange,
    extraction,
    inventory,
    learning,
    pretraining,
    reproduction,
    results,
)
from ercache.errors import ErcacheError

cli = typer.Typer(
    name="ercache",
    help="Emotion recognition in conversation from raw video: extract features once, train in seconds.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
)
for module in (
    inventory,
    extraction,
    checkpoints,
    caches,
    exchange,
    pretraining,
    learning,
    reproduction,
    results,
    benchmark,
):
    module.register(cli)


def main() -> None:
    """Run the command line; exit 0 done, 1 failed work, 2 wrong usage, 130 interrupted."""
    try:
        cli()
    except ErcacheError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True)
        sys.exit(2 if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError) else 1)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
