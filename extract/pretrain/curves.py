"""The curves of an extractor's training as dvclive writes them: a table for each score, by epoch, for `dvc plots`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dvclive.live import Live

from ercache.trained_extractors import CURVES


class _Tables(Live):
    """It looks at no repository: where DVC has none it would make and stage one, and refuse one without a commit."""

    def _init_dvc(self) -> None:
        pass


def write_curves(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write what `history` says of each epoch into the folder of an extractor, without a date or a duration."""
    with _Tables(str(folder / CURVES), save_dvc_exp=False, dvcyaml=None) as live:
        for row in history:
            live.step = int(row["epoch"])
            for name, value in row.items():
                if name != "epoch":
                    live.log_metric(name, value)
