"""The Typer application with all commands, and the error messages of failed and interrupted commands."""

import errno
import functools
import inspect
import io
import os
import re
import shlex
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from typer.core import TyperArgument, TyperCommand, TyperGroup

from app.commands import (
    benchmark,
    caches,
    checkpoints,
    exchange,
    extraction,
    init,
    listing,
    pretraining,
    reporting,
    reproduction,
    training,
)
from app.console import say
from ercache.errors import ErcacheError

# Commands that keep finished work: when started again, they continue from there.
RESUMABLE: Final = ("scan", "extract", "train", "sweep", "pretrain", "reproduce")


class _PlainHelp:
    """Simplifies the help text of a command: no `<bool>` beside flags, no braces, argument names in capitals."""

    def get_params(self, ctx: Any) -> Any:
        """List the options and arguments of the command, with the placeholders that the help text shows for them."""
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
            elif isinstance(parameter, TyperArgument) and parameter.metavar is None:
                parameter.metavar = str(parameter.name).upper()
        return parameters

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """List the words of the line `Usage: ...` in the help text, without braces."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [re.sub(r"[{}]", "", piece).replace("......", "...") for piece in pieces]


class _Command(_PlainHelp, TyperCommand):
    """A single command, such as `ercache scan`."""


class _Group(_PlainHelp, TyperGroup):
    """A group of commands, such as `ercache cache`."""


class _Root(_Group):
    """The command `ercache` itself. On Ctrl-C, it prints whether finished work is kept."""

    def invoke(self, ctx: Any) -> Any:
        """Run the subcommand that the user gave. On Ctrl-C, print a message and exit with code 130."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            command = shlex.join(["ercache", *sys.argv[1:]])
            rest = f"; finished work is kept, run the same command to continue\n  -> {command}"
            say(f"interrupted{rest if ctx.invoked_subcommand in RESUMABLE else ''}")
            raise typer.Exit(130) from None


cli = typer.Typer(
    name="ercache",
    cls=_Root,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    listing,
    init,
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


def _expand_home(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command so that `~` at the beginning of its path arguments means the home folder.

    Shells do not expand it in `--root=~/clips`.
    """

    def expanded(value: Any) -> Any:
        if isinstance(value, list):
            return [expanded(one) for one in value]
        return Path(os.path.expanduser(value)) if isinstance(value, Path) else value

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        return command(**{name: expanded(value) for name, value in given.items()})

    return run


def _joined_lines(docstring: str) -> str:
    """Join the lines of each paragraph of a docstring, because the help text would keep the line breaks."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(docstring).split("\n\n"))


for info in cli.registered_groups:
    info.cls = _Group
for group in (cli, *(info.typer_instance for info in cli.registered_groups)):
    for entry in group.registered_commands if group else ():
        if entry.callback is not None:
            entry.cls, entry.help = _Command, _joined_lines(entry.callback.__doc__ or "")
            entry.callback = _expand_home(entry.callback)


def _version(asked: bool) -> None:
    if asked:
        try:
            typer.echo(f"ercache {version('ercache')}")
        except PackageNotFoundError:
            typer.echo("ercache (the package is not installed)")
        raise typer.Exit


@cli.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Emotion recognition in conversation from raw video: extract features once, train models in seconds."""


def run() -> None:
    """Parse the command line, run the command, and print errors as messages without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names may hold bytes that are no text
    try:
        cli()
    except ErcacheError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {_escape_markup(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:
        Console(stderr=True).print(
            f"[bold red]error:[/] {_escape_markup(_os_error_text(error))}", soft_wrap=True
        )
        sys.exit(2 if isinstance(error, FileNotFoundError | NotADirectoryError | PermissionError) else 1)


def _os_error_text(error: OSError) -> str:
    """Describe an error of the operating system in words: the file, what failed, and for some errors what to do."""
    if error.filename is None or error.strerror is None:
        return str(error)
    hints = {
        errno.EACCES: "check your rights with `ls -ld`, or use a folder of your own, for example with --out",
        errno.EROFS: "the disk is read-only; use a folder of your own, for example with --out",
    }
    hint = hints.get(error.errno or 0, hints[errno.EACCES] if error.errno == errno.EPERM else "")
    message = f"{error.filename}: {error.strerror.lower()}"
    return f"{message}\n  -> {hint}" if hint else message


def _escape_markup(text: str) -> str:
    return text.replace("[", r"\[")
