"""Generate docs/papers.md: for every table of every paper, which rows have been trained, and with which features.

`python -m app.docs_pages.papers > docs/papers.md` writes the page for the repository, which holds no trained runs.
`python -m app.docs_pages.papers data` prints the page with the runs in the user's own data folder.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from app.docs_pages.tables import line
from ercache.params.load import load_params
from ercache.params.schema import ExperimentParams, Params, split_array_name
from ercache.wording import count_noun
from extract.encoders import ENCODERS
from fusion.evaluation.equal_rows import without_effect
from fusion.evaluation.reproduce import entries_of, experiments_of
from fusion.evaluation.row_result import read_rows, rows_file
from fusion.papers import Paper, PaperTable, TableRow, papers, read_paper
from fusion.papers.deviations import recorded_deviations
from fusion.runs.schema import RECORD, read_run

NAMES: Final = {"m2fnet": "M2FNet", "avafn": "AVAFN", "avtca": "AVT-CA", "amuse": "AMuSE", "cues": "Cues"}
DEMO: Final = "demo"
NEVER: Final = "never"
STAND_IN: Final = "stand-in"
HEAD: Final = """\
# What was run of the papers' tables

<!-- `python -m app.docs_pages.papers > docs/papers.md` writes this page -->

For every table of every paper: which rows have been run, and with what. The repository holds no run on a paper's
corpus. `python -m app.docs_pages.papers data` prints this page with the runs and tables of your checkout: a cell then
has the verdict and the number of [deviations](training.md#deviations-from-the-paper)."""
MEANINGS: Final = {
    f"`{NEVER}`": "the row has not been run on this corpus; `ercache init PAPER CORPUS --root DIR` and `dvc repro` run "
    "it, as `papers/PAPER.yaml` says",
    f"`{STAND_IN}`": "the row can be run on the demo corpus, with features that are not the paper's: those of the "
    "experiment above the table",
    "`no effect here`": "with these features and sizes, the same network as another row of the table",
    "`no features`": "the experiment has no features for what the row reads",
    "`another system`": "ercache does not have this system, and shows its published figures only",
}
FOOT: Final = """\
The demo corpus is generated, and no paper has figures on it: a row there says nothing about the paper. Scores on it,
and on MELD's words alone, are in [systems side by side](systems.md). A row is the paper's only if its verdict is
`reproduced` or `differs`: those have no deviation."""


def page_text(params: Params, data: Path | None = None) -> str:
    """Make the text of docs/papers.md.

    Args:
        params: contents of params.yaml, with the experiments of the papers.
        data: folder with models/ (trained runs) and reports/tables/ (reproduced tables); None for a page without runs.
    """
    meanings = [line(("in a table", "meaning")), line(("---", "---")), *map(line, MEANINGS.items())]
    parts = [HEAD, "\n".join(meanings), FOOT]
    for key in sorted(papers(), key=list(NAMES).index):
        parts += _paper_text(read_paper(key), params, data)
    return "\n\n".join(parts) + "\n"


def _paper_text(paper: Paper, params: Params, data: Path | None) -> Iterator[str]:
    yield f"## {NAMES[paper.key]}\n\n{paper.title}. How ercache reads it: [its page](papers/{paper.key}.md)."
    bases = params.reproduce[paper.key]
    yield _runs_table([name for corpus in bases for name in experiments_of(bases[corpus])], params, data)
    for table in paper.tables:
        concerned = [corpus for corpus in bases if _has_cells(paper, table, corpus)]
        cells = {corpus: _cells(paper, table, corpus, params, data) for corpus in concerned}
        yield f"### {_title(table.key)}: {table.title}"
        rows = [line(("row", *concerned)), line(["---"] * (1 + len(concerned)))]
        yield "\n".join([*rows, *_lines(table.rows, cells)])


def _title(key: str) -> str:
    return f"Table {key}" if key.isdigit() else f"Figures of {key}"


def _has_cells(paper: Paper, table: PaperTable, corpus: str) -> bool:
    return corpus == DEMO or paper.concerns(table, corpus)


def _lines(rows: Sequence[TableRow], cells: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for other, group in groupby(rows, key=lambda row: row.model is None):
        part = list(group)
        if other:
            names = "; ".join(row.name for row in part)
            yield line(
                (f"{count_noun(len(part), 'row')} of others: {names}", *("another system" for _ in cells))
            )
        else:
            yield from (line((row.name, *(of[row.name] for of in cells.values()))) for row in part)


def _runs_table(names: Sequence[str], params: Params, data: Path | None) -> str:
    head = ("experiment", "corpus", "task", "features", "trained")
    lines = [line(head), line(["---"] * len(head))]
    for name in names:
        entry = params.experiments[name]
        features = "; ".join(f"{m}: {', '.join(listed)}" for m, listed in entry.features.items())
        lines.append(line((f"`{name}`", entry.corpus, entry.task, features, _trained(name, entry, data))))
    return "\n".join(lines)


def _trained(name: str, entry: ExperimentParams, data: Path | None) -> str:
    folder = None if data is None else data / "models" / name
    if folder is None or not (folder / RECORD).is_file():
        return "no run here" if entry.corpus == DEMO else NEVER
    found = recorded_deviations(read_run(folder)) or []
    return f"yes, {count_noun(len(found), 'deviation')}" if found else "yes, as in the paper"


def _cells(paper: Paper, table: PaperTable, corpus: str, params: Params, data: Path | None) -> dict[str, str]:
    """Return the text of each row of a table on a corpus: name of the row -> text.

    The text is the verdict of `ercache reproduce` if the row has been trained. If not, it is `no features`,
    `no effect here`, `stand-in` or `never`; the page explains these words.
    """
    done = _written(paper, table, corpus, data)
    entries = dict(entries_of(table, params.reproduce[paper.key][corpus], params))
    idle = without_effect(paper, table, entries)
    found = {}
    for row in table.rows:
        if row.name in done:
            found[row.name] = done[row.name]
        elif row.name not in entries or not _has_arrays(entries[row.name], params):
            found[row.name] = "no features"
        elif row.name in idle:
            found[row.name] = "no effect here"
        else:
            found[row.name] = STAND_IN if corpus == DEMO else NEVER
    return found


def _written(paper: Paper, table: PaperTable, corpus: str, data: Path | None) -> dict[str, str]:
    """Read the verdicts that `ercache reproduce --out` has written for the rows of a table: name of the row -> verdict.

    Empty if there is no such file, or `data` is None.
    """
    path = None if data is None else rows_file(data, paper.key, corpus)
    rows = read_rows(path) if path is not None and path.is_file() else ()
    return {row.row: row.summary for row in rows if row.table == table.key and row.corpus == corpus}


def _has_arrays(entry: ExperimentParams, params: Params) -> bool:
    """Whether the features of an experiment have all arrays that it names (as in `feature:array`)."""
    for name in (name for listed in entry.features.values() for name in listed):
        feature, array = split_array_name(name)
        kind = ENCODERS[params.features[feature].encoder]
        made = kind.arrays(kind.Params(**params.features[feature].params))
        if array and array not in {spec.name for spec in made}:
            return False
    return True


if __name__ == "__main__":
    sys.stdout.write(page_text(load_params(Path("params.yaml")), *map(Path, sys.argv[1:2])))
