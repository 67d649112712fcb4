"""Build the HTML page of the report from manifests, caches and runs, and write it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.report.classes import ClassTable, Confusion, class_table, confusion_of
from app.report.corpus import corpus_view
from app.report.coverage import coverage_view
from app.report.curves import CurveView, curve_views
from app.report.extractors import FIGURES, extractor_rows
from app.report.gather import ReportData, gather
from app.report.palette import colours_of, ink_on
from app.report.paper_tables import table_views
from app.report.runs import Run
from app.report.scores import Compare, GroupView, compare_runs, group_view
from app.report.timeline import LONGEST, SHORTEST, TimelineView, timeline_view
from ercache.errors import UsageError
from ercache.files import atomic_file

OPEN_MATRICES = 4  # confusion matrices that are shown; those of other runs can be unfolded


@dataclass(frozen=True)
class Results:
    """What the report shows about one group of runs with the same corpus, label set, split and task.

    Attributes:
        scores: table and plot of the scores, and differences between the runs.
        curves: learning curves of each run that stores them.
        classes: F1 scores per class; None if no run stores them.
        confusions: confusion matrix of each run that stores one.
        timeline: one test conversation with the predictions of the best run; None if there are none.
        colours: dictionary from class name to colour.
    """

    scores: GroupView
    curves: Sequence[CurveView]
    classes: ClassTable | None
    confusions: Sequence[Confusion]
    timeline: TimelineView | None
    colours: dict[str, str]


def write_report(data: Path = Path("data"), out: Path | None = None) -> Path:
    """Write one self-contained HTML page about everything under a data folder. Equal data give equal bytes.

    Args:
        data: folder with `manifests/`, `caches/`, `extractors/` and `models/`; each of them may be absent.
        out: file to write; by default `<data>/reports/report.html`.

    Returns:
        Path of the page.

    Raises:
        UsageError: the data folder does not exist.
    """
    if not data.is_dir():
        raise UsageError(f"data folder not found: {data}", hint="run this in the folder of your project")
    out = out or data / "reports" / "report.html"
    text = render(gather(data))
    with atomic_file(out) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return out


def render(gathered: ReportData, compare: Compare = compare_runs) -> str:
    """Fill the templates of the report, and return the HTML page as a text.

    Args:
        gathered: all data that the report shows.
        compare: function that takes run folders and tests the difference of every pair of runs.
    """
    corpora = dict.fromkeys([m.corpus for m in gathered.manifests] + [c.corpus for c in gathered.caches])
    coverage = [
        coverage_view(corpus, caches, gathered.manifest(corpus))
        for corpus in corpora
        if (caches := [c for c in gathered.caches if c.corpus == corpus])
    ]
    results = [_results(runs, gathered, compare) for runs in gathered.groups().values()]
    page = _environment().get_template("report.html.j2")
    return page.render(
        corpora=[corpus_view(manifest) for manifest in gathered.manifests],
        coverage=coverage,
        results=results,
        extractors=extractor_rows(gathered.extractors),
        headings=tuple(FIGURES.values()),
        tables=[view for found in gathered.tables for view in table_views(found)],
        unreadable=gathered.unreadable,
        open_matrices=OPEN_MATRICES,
        fitting=(SHORTEST, LONGEST),
    )


def _results(runs: Sequence[Run], gathered: ReportData, compare: Compare) -> Results:
    manifest = gathered.manifest(runs[0].record.corpus)
    label_sets = manifest.label_sets if manifest else {}
    labels = [*label_sets.get(runs[0].record.label_set, ()), *runs[0].record.classes]
    return Results(
        scores=group_view(runs, gathered, compare),
        curves=curve_views(runs),
        classes=class_table(runs),
        confusions=[matrix for run in runs if (matrix := confusion_of(run))],
        timeline=timeline_view(runs[0], manifest),
        colours=colours_of(list(dict.fromkeys(labels))),
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # in every template, because ids, names and transcripts may hold markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"n": _count, "pct": _percent, "plural": _plural, "p": _p_value, "signed": _signed}
    environment.globals["ink_on"] = ink_on
    return environment


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{value:.1f}"


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _plural(value: int, noun: str, many: str = "") -> str:
    return f"{value:,} {noun if value == 1 else many or noun + 's'}"
