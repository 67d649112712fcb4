"""Scans of small corpora in the process of the test: workers take longer to start than such files to be looked at."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from extract.corpora.common import inspect_media as surveys


@pytest.fixture
def scanned_here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at in this process, and remembered nowhere else; test_survey.py has the processes themselves."""

    def together(root: Path, chunks: Sequence[list[str]], workers: int, found: surveys.Found) -> None:
        for chunk in chunks:
            found(dict(zip(chunk, surveys.look(root, chunk), strict=True)))

    monkeypatch.setattr(surveys, "_together", together)
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path_factory.mktemp("store")))
