"""The benchmark of long recordings: a small one comes to figures, and its cues lie where they should."""

from pathlib import Path

import pytest

from bench import long
from ercache.errors import WorkError


def test_times_of_subtitles_go_beyond_an_hour() -> None:
    assert [long.stamp(t) for t in (0, 59.9996, 3661.25)] == ["00:00:00,000", "00:01:00,000", "01:01:01,250"]


@pytest.mark.full
def test_a_small_recording_comes_to_figures(tmp_path: Path) -> None:
    row = long.measure(tmp_path, "ts", minutes=1, cues=4, size="320x180")
    assert row["units"] == 5 * 4, "the default profile without the extractors that are trained first"
    assert row["over_decode"] == pytest.approx(row["extract_seconds"] / row["decode_seconds"], rel=0.01)
    assert 100 < row["peak_pss_mb"] <= row["peak_rss_mb"] and row["scan_seconds"] > 0


def test_a_command_that_fails_ends_the_benchmark_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="failed with exit status") as caught:
        long.run_ercache(tmp_path, "extract", "folder")
    assert caught.value.details
