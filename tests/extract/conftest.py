"""Fixtures: small corpora are scanned in the process of the test, where no workers have to start."""

from concurrent.futures import Executor, Future

import pytest

from extract.corpora.common import inspect_media as inspect_module


class Here(Executor):
    """Runs everything at once, in this process."""

    def submit(self, work, /, *arguments, **named):  # type: ignore[no-untyped-def, override]
        future = Future()  # type: ignore[var-annotated]
        future.set_result(work(*arguments, **named))
        return future


@pytest.fixture
def scanned_here(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inspect files in this process and cache nothing outside the test; test_inspect_media.py tests the processes."""

    monkeypatch.setattr(inspect_module, "open_pool", lambda _: Here())
    monkeypatch.setenv("ERCACHE_STORE", str(tmp_path_factory.mktemp("store")))
