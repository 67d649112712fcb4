"""Write the learning curves of an extractor's training as dvclive tables, one per score, for `dvc plots`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dvclive.live import Live

from ercache.trained_extractors import CURVES


class _Tables(Live):
    """Writes tables without a repository: dvclive would create one where DVC has none, and fail without a commit."""

    def _init_dvc(self) -> None:
        pass


def write_curves(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the history of the epochs into the folder of an extractor, without dates or durations."""
    with _Tables(str(folder / CURVES), save_dvc_exp=False, dvcyaml=None) as live:
        for row in history:
            live.step = int(row["epoch"])
            for name, value in row.items():
                if name != "epoch":
                    live.log_metric(name, value)
