"""Write the learning curves of a trained extractor (loss and scores of each epoch) as tables, for `dvc plots`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dvclive.live import Live

from ercache.trained_extractors import CURVES


class _Tables(Live):
    """Lets dvclive write its tables in any folder, without a git repository.

    Unchanged, dvclive would create a repository where there is none, and fail in a repository without a commit.
    """

    def _init_dvc(self) -> None:
        pass


def write_curves(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the scores of all epochs as tables into the folder of a trained extractor, one table per score."""
    with _Tables(str(folder / CURVES), save_dvc_exp=False, dvcyaml=None) as live:
        for row in history:
            live.step = int(row["epoch"])
            for name, value in row.items():
                if name != "epoch":
                    live.log_metric(name, value)
