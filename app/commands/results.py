"""What the pipeline is and what came out of it: pipeline, report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from app.console import DATA, MODELS, Json, answer, params, say, table
from app.pipeline import PIPELINE_FILE, pipeline_text
from ercache.errors import WorkError


def register(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(pipeline)
    cli.command()(report)
    cli.command()(systems)


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


def systems(
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Put the tables into this page, between its marks."),
    ] = None,
    json: Json = False,
) -> None:
    """Every trained experiment beside the others on its corpus. Example: [dim]ercache systems --json[/]"""
    from app.systems import REFERENCE, against_reference, against_single, groups, trained
    from app.systems_page import write_page

    loaded = params(models=True)
    found = trained(loaded, MODELS)
    if write is not None:
        changed = write_page(write, found, loaded, DATA / "reports" / "sweeps")
        say(f"{write}: {'written' if changed else 'up to date'}")
        return
    parts = [(g[0].entry.corpus, against_reference(g), against_single(g)) for g in groups(found)]
    if json:
        names = ("corpus", "against_reference", "against_single")
        answer([dict(zip(names, part, strict=True)) for part in parts])
        return
    for corpus, models, singles in parts:
        for rows, title in ((models, f"minus {REFERENCE}"), (singles, "all modalities minus it")):
            shown = [(r["system"], f"{r['test']['weighted_f1']['mean']:.3f}", *_compared(r)) for r in rows]
            if shown:
                table(("system", "weighted F1 on test", title, "p (Holm)"), shown, title=corpus)


def _compared(row: Mapping[str, Any]) -> tuple[str, str]:
    return (f"{row['difference']:+.3f}", f"{row['p']:.4f}") if "p" in row else ("", "")
