"""The commands `ercache pipeline`, `report` and `systems`: write the DVC pipeline, show and compare results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from app.console import DATA, MODELS, REPORTS, Json, answer, params, say, table
from app.pipeline import PIPELINE_FILE, pipeline_files, stale_files, write_files
from ercache.errors import WorkError


def register(cli: typer.Typer) -> None:
    """Add the commands `pipeline`, `report` and `systems` to the command line."""
    for command in (pipeline, report, systems):
        cli.command(rich_help_panel=REPORTS)(command)


def pipeline(
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if a file is out of date.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the DVC pipeline of params.yaml: the stages (dvc.yaml), and the encoder versions and checkpoints they use.

    Example: [dim]ercache pipeline --check[/]
    """
    texts = pipeline_files(params(models=True))
    stale = stale_files(texts)
    if check and stale:
        raise WorkError(
            f"files of the pipeline are absent or out of date: {' and '.join(map(str, stale))}",
            hint="run `ercache pipeline` and commit the result",
        )
    write_files({path: texts[path] for path in stale})
    if json:
        answer({"path": str(PIPELINE_FILE)})
    else:
        say(f"written: {', '.join(map(str, stale))}" if stale else f"{PIPELINE_FILE}: up to date")


def report(
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: data/reports/report.html.")
    ] = None,
    json: Json = False,
) -> None:
    """Write an HTML page about corpora, caches and results. It is one file with all figures inside.

    Example: [dim]ercache report[/]
    """
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
            "--write",
            metavar="FILE",
            help="Update the tables in this Markdown page and the pictures beside it.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compare the trained models of each corpus with a reference model, and all modalities with each single one.

    Example: [dim]ercache systems --json[/]
    """
    from app.docs_pages.systems import write_page
    from app.systems import (
        against_reference,
        against_single,
        comparable_groups,
        reference_of,
        trained_systems,
    )

    loaded = params(models=True)
    found = trained_systems(loaded, MODELS)
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
        for group in comparable_groups(found)
    ]
    if json:
        answer(parts)
        return
    for part in parts:
        titles = {
            "against_reference": f"minus {part['reference']}",
            "against_single": "all modalities minus this one",
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
