"""Fixtures: small corpora are scanned in the process of the test, where no workers have to start."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from extract.corpora.common import inspect_media as inspect_module


@pytest.fixture
def scanned_here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect files in this process and cache nothing outside the test; test_inspect_media.py tests the processes."""

    def together(
        root: Path, chunks: Sequence[list[str]], workers: int, on_found: inspect_module.OnFound
    ) -> None:
        for chunk in chunks:
            on_found(dict(zip(chunk, inspect_module.inspect_files(root, chunk), strict=True)))

    monkeypatch.setattr(inspect_module, "_inspect_in_pool", together)
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path_factory.mktemp("store")))
