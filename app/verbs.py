"""The tree of the verbs, and what is said when one of them fails or is interrupted."""

import errno
import functools
import io
import os
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from typer.core import TyperGroup

from app.commands import (
    benchmark,
    caches,
    checkpoints,
    exchange,
    extraction,
    listing,
    pretraining,
    reporting,
    reproduction,
    training,
)
from app.console import say
from ercache.errors import ErcacheError

# Verbs that keep what is finished: begun again, they do the rest.
RESUMED: Final = ("scan", "extract", "train", "sweep", "pretrain", "reproduce")


class _Verbs(TyperGroup):
    """Says what Ctrl-C has left."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            said = shlex.join(["ercache", *sys.argv[1:]])
            rest = f": what is finished is kept, and the same command goes on from there\n  -> {said}"
            say(f"interrupted{rest if ctx.invoked_subcommand in RESUMED else ''}")
            raise typer.Exit(130) from None


cli = typer.Typer(
    name="ercache",
    cls=_Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    listing,
    extraction,
    checkpoints,
    caches,
    exchange,
    pretraining,
    training,
    reproduction,
    reporting,
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


def _version(asked: bool) -> None:
    if asked:
        try:
            typer.echo(f"ercache {version('ercache')}")
        except PackageNotFoundError:
            typer.echo("ercache, not installed")
        raise typer.Exit


@cli.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Emotion recognition in conversation from raw video: extract features once, train in seconds."""


def run() -> None:
    """Run the verb of the command line."""
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
