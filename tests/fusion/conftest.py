"""Fixtures of the fusion tests. The models are small, so one thread is fastest, even with parallel tests."""

from collections.abc import Iterator

import pytest
import torch

import fusion.models.cues.bridges as bridges_file
from tests.support.cues_batches import TINY


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen layers for Cues with a width of 64 and random weights."""
    monkeypatch.setitem(bridges_file.SIZES, "base", TINY)
