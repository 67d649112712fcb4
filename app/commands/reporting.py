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
        typer.Option(
            "--write", metavar="FILE", help="Put the tables into this page, and the pictures beside it."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Every trained experiment beside the others on its corpus. Example: [dim]ercache systems --json[/]"""
    from app.docs_pages.systems import write_page
    from app.systems import against_reference, against_single, groups, reference_of, trained

    loaded = params(models=True)
    found = trained(loaded, MODELS)
    if write is not None:
        changed = write_page(write, found, loaded, DATA / "reports" / "sweeps")
        say(f"{write}: {'written' if changed else 'up to date'}")
        return
    parts: list[dict[str, Any]] = [
        {
            "corpus": group[0].entry.corpus,
            "task": group[0].entry.task,
            "reference": reference_of(group),
            "against_reference": against_reference(group),
            "against_single": against_single(group),
        }
        for group in groups(found)
    ]
    if json:
        answer(parts)
        return
    for part in parts:
        titles = {
            "against_reference": f"minus {part['reference']}",
            "against_single": "all modalities minus it",
        }
        for key, title in titles.items():
            shown = [
                (r["system"], f"{r['test']['weighted_f1']['mean']:.3f}", *_compared(r)) for r in part[key]
            ]
            if shown:
                head = ("system", "weighted F1 on test", title, "p (Holm)")
                table(head, shown, title=f"{part['corpus']}, {part['task']}")


def _compared(row: Mapping[str, Any]) -> tuple[str, str]:
    return (f"{row['difference']:+.3f}", f"{row['p']:.4f}") if "p" in row else ("", "")
