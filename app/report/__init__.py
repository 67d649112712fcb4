"""The report: one self-contained HTML page about everything under `data/`.

`gather` reads manifests, caches and runs. One module per section turns them into plain rows. `page` fills the
templates. Templates compute no numbers and escape all texts of corpora and users.
"""

from app.report.page import write_report

__all__ = ["write_report"]
