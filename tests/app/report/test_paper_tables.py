"""The report shows the rows that `ercache reproduce --out` has written, as they were written."""

from pathlib import Path

from app.report.paper_tables import read_tables, table_views
from fusion.evaluation.row_result import RowResult, rows_file, write_rows

SCORE = {"weighted_f1": {"mean": 0.5, "std": 0.01, "ci95": [0.4, 0.6]}}


def test_rows_come_back_as_they_were_written_and_are_shown_in_percent(tmp_path: Path) -> None:
    rows = [
        RowResult("2", "Theirs", "meld", {"weighted_f1": 44.0}, {}, "another system"),
        RowResult(
            "2", "Ours", "meld", {"weighted_f1": 45.2}, SCORE, "stand-in", deviations=["a", "b", "c", "d"]
        ),
        RowResult("2", "Not here", "meld", {"weighted_f1": 36.2}, {}, "not runnable", "no such cache file"),
    ]
    path = rows_file(tmp_path, "avafn", "meld")
    write_rows(path, rows)
    found = read_tables(path)
    assert found.paper == "avafn" and list(found.rows) == rows
    (view,) = table_views(found)
    assert (view.table, view.corpus, view.metrics, view.others) == ("2", "meld", ["weighted F1"], 1)
    ours, lacking = view.rows
    ((published, score),) = ours.cells
    assert published == 45.2 and score is not None and (score.mean, score.ci95) == (50.0, (40.0, 60.0))
    assert ours.why == "a; b; c; and 1 more"
    assert lacking.cells == [(36.2, None)] and lacking.why == "no such cache file"
