"""The entry of the `ercache` command: verbs, exit codes, and errors without tracebacks."""

import errno
import functools
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def _at_home(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with `~` in its paths meaning the user's home, where the shell leaves it (`--root=~/clips`)."""

    def expanded(value: Any) -> Any:
        if isinstance(value, list):
            return [expanded(one) for one in value]
        return Path(os.path.expanduser(value)) if isinstance(value, Path) else value

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        return command(**{name: expanded(value) for name, value in given.items()})

    return run


for group in (cli, *(info.typer_instance for info in cli.registered_groups)):
    for entry in group.registered_commands if group else ():
        entry.callback = _at_home(entry.callback) if entry.callback else None


def main() -> None:
    """Run the command line; exit 0 done, 1 failed work, 2 wrong usage, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        cli()
    except ErcacheError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_plain(_words(error))}", soft_wrap=True)
        sys.exit(2 if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError) else 1)


def _words(error: OSError) -> str:
    """What the system refused, where, and what to do."""
    if error.filename is None or error.strerror is None:
        return str(error)
    hints = {
        errno.EACCES: "may you read and write there? `ls -ld` shows; run in a folder of your own, or give --out",
        errno.EROFS: "its disk can only be read; run in a folder of your own, or give --out",
    }
    hint = hints.get(error.errno or 0, hints[errno.EACCES] if error.errno == errno.EPERM else "")
    told = f"{error.filename}: {error.strerror.lower()}"
    return f"{told}\n  -> {hint}" if hint else told


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


if __name__ == "__main__":
    main()
