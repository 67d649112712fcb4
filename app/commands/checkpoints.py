"""The commands `ercache weights ...`: list, fetch, add and convert checkpoints of the encoders."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.console import FEATURES, Json, answer, check_name, say, table
from ercache import weights as checkpoints
from extract.text.kwrt.conceptnet import CONCEPTNET, write_relations

weights = typer.Typer(help="List, fetch, add and convert checkpoints of the encoders.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="KEY", help="Key of a checkpoint; see `ercache weights ls`.")]


def register(cli: typer.Typer) -> None:
    """Add the group `ercache weights` with the commands `ls`, `fetch`, `add` and `convert` to the command line."""
    cli.add_typer(weights, name="weights", rich_help_panel=FEATURES)


@weights.command("ls")
def ls(json: Json = False) -> None:
    """List all checkpoints, each with its state (present, absent, damaged or refused), source, size and licence.

    Example: [dim]ercache weights ls[/]
    """
    rows = checkpoints.status()
    if json:
        answer([{**asdict(row), "ok": row.ok} for row in rows])
        return
    shown = [
        (r.key, r.state, r.source, f"{r.megabytes:,.0f} MB" if r.megabytes else "", r.licence) for r in rows
    ]
    table(("key", "state", "source", "size", "licence"), shown)
    for row in rows:
        if row.state in ("damaged", "refused"):
            say(f"{row.key}: {row.detail} -> {row.remedy}")
    if any(row.state == "absent" for row in rows):
        say("to get an absent checkpoint: `ercache weights fetch KEY`")


@weights.command("fetch")
def fetch(key: Key, json: Json = False) -> None:
    """Download a checkpoint and check its sha256.

    Example: [dim]ercache weights fetch roberta-large[/]
    """
    _show(key, checkpoints.fetch(_known(key)), json)


@weights.command("add")
def add(
    key: Key,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Files of the checkpoint, or a folder or .zip with them."),
    ],
    json: Json = False,
) -> None:
    """Add a checkpoint from files that you downloaded yourself.

    Example: [dim]ercache weights add wavlm-large downloads/wavlm-large[/]
    """
    _show(key, checkpoints.add(_known(key), files), json)


@weights.command("convert")
def convert(
    key: Key,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file that the authors publish.")],
    json: Json = False,
) -> None:
    """Convert a checkpoint from the format of its authors into the format of ercache, and add it.

    A pickle becomes a safetensors file; no code in the pickle is run. A dump of ConceptNet becomes a table of word
    relations.

    Example: [dim]ercache weights convert emotion2vec emotion2vec_base.pt[/]
    """
    _show(key, [checkpoints.convert(_known(key), file, write_relations if key == CONCEPTNET else None)], json)


def _known(key: str) -> str:
    return check_name(key, checkpoints.checkpoints(), "checkpoint")


def _show(key: str, paths: Sequence[Path], json: bool) -> None:
    origin = checkpoints.provenance(key)
    if json:
        answer([{"file": str(path), "sha256": origin["sha256"][path.name]} for path in paths])
        return
    table(("file", "sha256"), [(path, origin["sha256"][path.name]) for path in paths])
    say(f"{key}: {origin['source']} {origin['revision']}")
