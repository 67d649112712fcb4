"""Models are small here: one thread is the fastest, also when tests run side by side."""

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
    """Frozen layers of Cues of a width of 64, with tensors of their own."""
    monkeypatch.setitem(bridges_file.SIZES, "base", TINY)
