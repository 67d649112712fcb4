"""Ablation of a paper's open choices: changes one switch at a time, and scores each value on the validation data.

Where a paper is silent or contradicts itself, its model has a switch with one value for each possible reading.
params.yaml lists these switches under `sweeps.readings`; `ercache sweep --readings` runs the ablation.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ercache.params.schema import Params
from fusion.experiment.resolve import Experiment, experiment_of
from fusion.experiment.source import read_source
from fusion.search.log import Trial, append_trial, read_log
from fusion.search.sweep import SUBSETS, Space, check_space, run_trial, search_digest

PLACE = Path("reports") / "readings"


def ablate_open_choices(
    name: str,
    params: Params,
    space: Space,
    data: Path = Path("data"),
    *,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Trial]:
    """Train an experiment with each value of the switches for open choices, one switch at a time, with all its seeds.

    The test data are not read, and no value is selected: the scores are only reported. Trials that the log
    (`reports/readings/<experiment>.csv`) already holds are not repeated.

    Args:
        name: name of an experiment in params.yaml.
        params: contents of params.yaml.
        space: dotted path of a switch (such as `config.pool`) -> values to try.
        data: folder with manifests/ and caches/; the log is written to reports/ in this folder.
        device: name of a torch device, such as `cpu` or `cuda:0`.
        progress: called after each trial with a title, the number of finished trials and the number of all trials.

    Returns:
        First the unchanged experiment (its `config` is empty), then one trial for every other value of each switch.

    Raises:
        UsageError: `space` names an unknown switch or an impossible value; the message lists all.
    """
    base = experiment_of(name, params)
    check_space(base.entry, params, space)
    source = read_source(data, base.entry, SUBSETS)
    seeds = base.training.seeds
    search = search_digest(base, source, space, seeds, 0)
    log = data / PLACE / f"{name}.csv"
    done = read_log(log, search)
    wanted = [{}, *_others(base, space)]
    for number in range(len(done), len(wanted)):
        done.append(run_trial(number, name, params, wanted[number], source, seeds, device))
        append_trial(log, search, done[-1])
        if progress is not None:
            progress(f"ablation of {name}", len(done), len(wanted))
    return done


def value_of_switch(base: Experiment, path: str) -> Any:
    """Return the value that a switch has in an experiment; `path` is dotted, such as `config.pool`."""
    group, _, key = path.partition(".")
    return (base.config if group == "config" else base.training).model_dump(mode="json")[key]


def _others(base: Experiment, space: Space) -> Iterator[dict[str, Any]]:
    for path, values in space.items():
        yield from ({path: value} for value in values if value != value_of_switch(base, path))
