"""What the readings of a paper do: each value of a switch alone, all else as the experiment has it, on validation."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ercache.params.schema import Params
from fusion.experiment.resolve import Experiment, experiment_of
from fusion.experiment.source import read_source
from fusion.search.log import Trial, append, read_log
from fusion.search.sweep import SUBSETS, Space, check_space, search_digest, tried

PLACE = Path("reports") / "readings"


def readings(
    name: str,
    params: Params,
    space: Space,
    data: Path = Path("data"),
    *,
    device: str = "cpu",
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Trial]:
    """Train an experiment with each reading, with all of its seeds; nothing is chosen, and test is not read.

    Readings that the log (`reports/readings/<experiment>.csv`) holds already are not trained again.

    Args:
        space: dotted path (`config.pool`) -> the readings of that switch.

    Returns:
        The experiment as it is, whose `config` is empty, then every other value of each switch, in order.

    Raises:
        UsageError: the space names no switch or a value that it cannot have; with all findings.
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
        done.append(tried(number, name, params, wanted[number], source, seeds, device))
        append(log, search, done[-1])
        if progress is not None:
            progress(f"readings of {name}", len(done), len(wanted))
    return done


def held_by(base: Experiment, path: str) -> Any:
    """The value that an experiment has for a dotted path."""
    group, _, key = path.partition(".")
    return (base.config if group == "config" else base.training).model_dump(mode="json")[key]


def _others(base: Experiment, space: Space) -> Iterator[dict[str, Any]]:
    for path, values in space.items():
        yield from ({path: value} for value in values if value != held_by(base, path))
