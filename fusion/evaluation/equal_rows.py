"""Finds rows of a published table that are different networks in the paper, but one and the same network in ercache.

There are two causes. A switch may have no effect with the features of the experiment: the word weights of Cues need a
matrix of word relations. Or the experiment from which the rows are made already has the row's value. Only one of these
rows is trained, because the others would repeat its score.
"""

from collections.abc import Mapping
from typing import Any

from ercache.params.schema import ExperimentParams
from fusion.models import MODELS
from fusion.papers import Paper, PaperTable, TableRow


def resolved(entry: ExperimentParams) -> ExperimentParams:
    """Return a copy of an experiment whose `config` holds all switches of the model, also those left at defaults.

    Experiments with the same switches are then equal, however many switches params.yaml names.

    Raises:
        UsageError: a switch is unknown, or a value is wrong.
    """
    config = MODELS[entry.model].resolve(entry.preset, entry.config)
    values = {name: getattr(config, name) for name in type(config).model_fields}
    return entry.model_copy(update={"config": values})


def idle_switches(entry: ExperimentParams) -> Mapping[str, str]:
    """Return the model switches that change nothing with the features of an experiment: name of switch -> reason."""
    model = MODELS[entry.model]
    roles = [
        role
        for modality, names in entry.features.items()
        for role in model.roles.get(modality, (modality,))[: len(names)]
    ]
    return model.idle(model.resolve(entry.preset, entry.config), roles)


def without_effect(
    paper: Paper, table: PaperTable, entries: Mapping[str, ExperimentParams]
) -> dict[str, str]:
    """Find table rows that repeat the network of another row of the table, although the paper describes two networks.

    Of rows with the same network, one is kept: the paper's full system, or else the first row.

    Args:
        paper: the paper.
        table: one table of this paper.
        entries: name of a row -> its experiment, for the rows that can be trained.

    Returns:
        Name of a repeating row -> why its network is the same as that of the kept row.
    """
    alike: list[list[TableRow]] = []
    for row in (row for row in table.rows if row.name in entries):
        ours = _network(entries[row.name])
        group = next((g for g in alike if _network(entries[g[0].name]) == ours), None)
        if group is None:
            alike.append([row])
        else:
            group.append(row)
    found = {}
    for group in alike:
        kept = min(group, key=lambda row: _is_changed(row, paper, entries[row.name]))
        for row in group:
            entry = entries[row.name]
            if _published(row, paper, entry) != _published(kept, paper, entry):
                found[row.name] = f"the same network as {kept.name!r}: {_reason(row, entry)}"
    return found


def _network(entry: ExperimentParams) -> dict[str, Any]:
    """Return the settings that decide the network and its training: all but the switches without effect."""
    full, idle = resolved(entry).model_dump(mode="json"), idle_switches(entry)
    return {**full, "config": {k: v for k, v in full["config"].items() if k not in idle}}


def _published(row: TableRow, paper: Paper, entry: ExperimentParams) -> Any:
    """Return the config (all switches) of the network that the paper itself uses for a table row."""
    run = paper.run_for(entry.corpus, entry.task)
    return MODELS[entry.model].resolve(run.preset, row.config)


def _is_changed(row: TableRow, paper: Paper, entry: ExperimentParams) -> bool:
    full = TableRow(name=row.name)
    return bool(_published(row, paper, entry) != _published(full, paper, entry))


def _reason(row: TableRow, entry: ExperimentParams) -> str:
    idle = idle_switches(entry)
    reasons = [f"`{name}` {idle[name]}" for name in row.config if name in idle]
    same = [name for name in row.config if name not in idle]
    if same or not reasons:
        values = ", ".join(f"`{name}: {row.config[name]}`" for name in same) or "these switches"
        reasons.append(f"the experiment has {values} anyway")
    return "; ".join(reasons)
