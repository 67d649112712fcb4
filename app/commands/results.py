"""What the pipeline is and what came out of it: pipeline, report."""

from pathlib import Path
from typing import Annotated

import typer

from app.console import DATA, Json, answer, params, say
from app.pipeline import PIPELINE_FILE, pipeline_text
from ercache.errors import WorkError


def register(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(pipeline)
    cli.command()(report)


def pipeline(
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 when dvc.yaml is stale; write nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Write dvc.yaml from params.yaml. Example: [dim]ercache pipeline --check[/]"""
    text = pipeline_text(params(models=True))
    fresh = PIPELINE_FILE.is_file() and PIPELINE_FILE.read_text(encoding="utf-8") == text
    if check and not fresh:
        raise WorkError(f"{PIPELINE_FILE} is stale", hint="run `ercache pipeline` and commit the result")
    if not check:
        PIPELINE_FILE.write_text(text, encoding="utf-8")
    if json:
        answer({"path": str(PIPELINE_FILE)})
    else:
        say(f"{PIPELINE_FILE}: {'up to date' if fresh else 'written'}")


def report(
    out: Annotated[Path | None, typer.Option("--out", help="Page to write.")] = None, json: Json = False
) -> None:
    """Write one self-contained HTML page with the figures. Example: [dim]ercache report[/]"""
    from app.report import write_report

    path = write_report(DATA, out)
    if json:
        answer({"path": str(path)})
    else:
        say(f"report: {path}")
