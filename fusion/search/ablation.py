"""Ablation of a paper's open choices: each value of a switch alone, everything else unchanged, scored on validation.

Where a paper is silent or contradicts itself, its model has a switch with a value for each reading. params.yaml lists
them under `sweeps.readings`, and `ercache sweep --readings` runs this.
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
    """Train an experiment once for each value of its open switches, with all of its seeds.

    Nothing is chosen by the scores, and test is not read. Values that the log (`reports/readings/<experiment>.csv`)
    already holds are not trained again.

    Args:
        name: an experiment of params.yaml.
        params: params.yaml.
        space: dotted path of a switch (`config.pool`) -> its values.
        data: folder with manifests/ and caches/; the log is written below it.
        device: as torch names it.
        progress: called after each trial with a title, the trials done, and all trials.

    Returns:
        First the unchanged experiment (its `config` is empty), then one trial for every other value of each switch.

    Raises:
        UsageError: the space names an unknown switch or an impossible value; with all problems.
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
    """The value of a switch, given by its dotted path, in an experiment."""
    group, _, key = path.partition(".")
    return (base.config if group == "config" else base.training).model_dump(mode="json")[key]


def _others(base: Experiment, space: Space) -> Iterator[dict[str, Any]]:
    for path, values in space.items():
        yield from ({path: value} for value in values if value != value_of_switch(base, path))
