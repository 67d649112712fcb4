"""The report: one self-contained HTML page about everything under `data/`.

`gather.py` reads manifests, caches and runs. One file per section of the page turns them into rows of numbers and
texts. `page.py` fills the HTML templates with these rows. The templates compute nothing, and escape all texts.
"""

from app.report.page import write_report

__all__ = ["write_report"]
