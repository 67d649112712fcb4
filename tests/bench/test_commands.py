"""Every benchmark that `python -m bench NAME` runs can be called."""

from pathlib import Path
from unittest.mock import create_autospec

import pytest

from bench import extract
from bench.__main__ import BENCHES
from ercache.params.load import load_params


@pytest.mark.parametrize("name", ["extract", "extract_paper", "extract_sound"])
def test_the_sets_of_extraction_are_measured_with_the_projects_engine(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = create_autospec(extract.measure, return_value={"clips": 1})
    monkeypatch.setattr(extract, "measure", measure)
    assert BENCHES[name](tmp_path) == {"clips": 1}
    assert measure.call_args.kwargs["engine"] == load_params().engine
