"""The command `ercache reproduce`: train the rows of published tables, and print our scores beside the published."""

from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.training import show_classes, show_deviations
from app.console import DATA, EXPERIMENTS, Device, Json, answer, device_of, params, say, table
from app.training_table import training_table
from fusion.evaluation.row_result import RowResult, write_rows
from fusion.papers import METRICS


def register(cli: typer.Typer) -> None:
    """Add the command `reproduce` to the command line."""
    cli.command(rich_help_panel=EXPERIMENTS)(reproduce)


def reproduce(
    paper: Annotated[str, typer.Argument(help="Key of a paper, e.g. m2fnet.")],
    number: Annotated[
        str | None, typer.Argument(metavar="TABLE", help="Number of one table. Default: all tables.")
    ] = None,
    row: Annotated[
        str | None,
        typer.Option("--row", help="Run only this row; also print its scores per class and its confusions."),
    ] = None,
    corpus: Annotated[
        str | None,
        typer.Option("--corpus", help="Run on this corpus. Default: all under `reproduce` in params.yaml."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write the rows to this file, as JSON.")
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train the rows (systems) of a published table, and print our scores beside the published ones.

    A row that needs an absent feature is marked as not runnable, with the reason.

    Example: [dim]ercache reproduce m2fnet 2 --corpus demo[/]
    """
    from fusion.papers import read_paper

    read_paper(paper)  # an unknown paper is reported before torch is imported, which takes seconds
    from fusion.evaluation.reproduce import reproduce as outcomes

    loaded = params(models=True)
    with training_table() as watch:
        rows = list(
            outcomes(
                paper,
                loaded,
                DATA,
                table=number,
                row=row,
                corpus=corpus,
                device=device_of(device),
                progress=watch,
            )
        )
    if out is not None:
        write_rows(out, rows)
    if json:
        answer([asdict(r) for r in rows])
        return
    for (key, on), part in groupby(rows, key=lambda r: (r.table, r.corpus)):
        _show(f"{paper}, table {key}, {on}", list(part))
    for outcome in rows if row is not None else ():
        show_classes(outcome.per_class, outcome.confusion)
        if outcome.among:
            shares = [
                (name, *(f"{share:.3f}" for share in row.values())) for name, row in outcome.among.items()
            ]
            table(("share of the true class", *outcome.among), shares, title="as printed in the paper")
    if note := read_paper(paper).note:
        say(f"published results: {note}")
    for verdict in ("stand-in", "no effect here", "not runnable"):
        reasons: dict[str, list[str]] = {}
        for r in rows:
            if r.verdict == verdict:
                reasons.setdefault(r.why, []).append(f"{r.table} {r.row}")
        for why, named in reasons.items():
            more = f" and {len(named) - 1} more" if len(named) > 1 else ""
            say(f"{verdict}: {named[0]}{more}: {why}")
    for outcome in rows if row is not None else ():
        show_deviations(outcome.deviations if outcome.run else None)


def _show(title: str, rows: list[RowResult]) -> None:
    metrics = [m for m in METRICS if any(m in row.published for row in rows)] or ["weighted_f1"]
    columns = ("ours (std)", "95 % interval", "difference")
    head = [column for m in metrics for column in (f"{METRICS[m]}, published", *columns)]
    cells = [[cell for m in metrics for cell in _cells(row, m)] for row in rows]
    held = [i for i in range(len(head)) if any(row[i] for row in cells)]
    body = [(row.row, *[own[i] for i in held], row.summary) for row, own in zip(rows, cells, strict=True)]
    table(("row", *(head[i] for i in held), ""), body, title=title)


def _cells(row: RowResult, metric: str) -> tuple[str, ...]:
    published = f"{row.published[metric]:.2f}" if metric in row.published else ""
    score: dict[str, Any] | None = row.ours.get(metric)
    if score is None:
        return published, "", "", ""
    mean, std, low, high = (100 * value for value in (score["mean"], score["std"], *score["ci95"]))
    difference = f"{row.difference[metric]:+.2f}" if metric in row.difference else ""
    return published, f"{mean:.2f} ({std:.2f})", f"{low:.1f} to {high:.1f}", difference
