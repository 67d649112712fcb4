"""What the pipeline is and what came out of it: pipeline, report, weights."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.console import DATA, Json, answer, params, say, table
from app.pipeline import PIPELINE_FILE, pipeline_text
from ercache import weights as checkpoints
from ercache.errors import WorkError

weights = typer.Typer(help="Checkpoints of the encoders.", no_args_is_help=True)


def register(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(pipeline)
    cli.command()(report)
    cli.add_typer(weights, name="weights")


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


@weights.command("ls")
def ls(json: Json = False) -> None:
    """List checkpoints: present, sha256, licence. Example: [dim]ercache weights ls[/]"""
    rows = checkpoints.status()
    if json:
        answer([asdict(row) for row in rows])
        return
    shown = [(r.key, r.state, r.detail, r.licence, r.remedy) for r in rows]
    table(("key", "", "detail", "licence", "how to get"), shown)
