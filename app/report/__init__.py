"""The report: everything under `data/` on one self-contained HTML page.

`gather` reads manifests, caches and runs; one module per section turns them into plain rows; `page` fills the
templates. No number is computed in a template, and no template is filled with markup of a user.
"""

from app.report.page import write_report

__all__ = ["write_report"]
