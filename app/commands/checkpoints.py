"""Checkpoints of the encoders: weights ls, fetch, add, convert."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.console import Json, answer, known, say, table
from ercache import weights as checkpoints
from extract.text.kwrt.conceptnet import CONCEPTNET, write_relations

weights = typer.Typer(
    help="Checkpoints of the encoders: what is here, and how to get the rest.", no_args_is_help=True
)

Key = Annotated[str, typer.Argument(metavar="KEY", help="Checkpoint; see `ercache weights ls`.")]


def register(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.add_typer(weights, name="weights")


@weights.command("ls")
def ls(json: Json = False) -> None:
    """List checkpoints: present, sha256, licence, how to get. Example: [dim]ercache weights ls[/]"""
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
        say("absent: `ercache weights fetch KEY` gets one, or says which files to bring by hand")


@weights.command("fetch")
def fetch(key: Key, json: Json = False) -> None:
    """Download a checkpoint and check it. Example: [dim]ercache weights fetch roberta-large[/]"""
    _told(key, checkpoints.fetch(_known(key)), json)


@weights.command("add")
def add(
    key: Key,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files, a folder or a .zip.")],
    json: Json = False,
) -> None:
    """Take in files brought by hand. Example: [dim]ercache weights add wavlm-large downloads/wavlm-large[/]"""
    _told(key, checkpoints.add(_known(key), files), json)


@weights.command("convert")
def convert(
    key: Key,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As its authors publish it.")],
    json: Json = False,
) -> None:
    """Make safetensors of a published pickle, of which nothing is run, or word relations of ConceptNet's dump. Example: [dim]ercache weights convert emotion2vec emotion2vec_base.pt[/]"""  # noqa: E501 typer shows the whole first paragraph as one line
    _told(key, [checkpoints.convert(_known(key), file, write_relations if key == CONCEPTNET else None)], json)


def _known(key: str) -> str:
    return known(key, checkpoints.checkpoints(), "checkpoint")


def _told(key: str, paths: Sequence[Path], json: bool) -> None:
    made = checkpoints.provenance(key)
    if json:
        answer([{"file": str(path), "sha256": made["sha256"][path.name]} for path in paths])
        return
    table(("file", "sha256"), [(path, made["sha256"][path.name]) for path in paths])
    say(f"{key}: {made['source']} {made['revision']}")
