"""Tables for docs/systems.md: validation scores of the alternatives where a paper leaves a choice open."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from app.docs_pages.tables import line
from ercache.metrics import METRICS
from ercache.params.schema import Params
from ercache.wording import count_noun
from fusion.experiment.resolve import Experiment, experiment_of
from fusion.search.ablation import PLACE, value_of_switch
from fusion.search.log import Trial, read_searches

HEAD = ("open choice", "switch", "used here", "alternative", "{} (std)", "difference to ours")


def ablations_text(
    params: Params, reports: Path, deviations: Mapping[str, Sequence[str] | None]
) -> Iterator[str]:
    """Make a heading and a table for every experiment of which `ercache sweep --readings` has tried alternatives.

    The scores come from the last search in the log of the experiment.

    Args:
        params: contents of params.yaml.
        reports: folder that holds the folder with the logs of the searches.
        deviations: name of an experiment -> in which points it differs from its paper; None if it has no paper.

    Yields:
        Paragraphs of Markdown.
    """
    for path in sorted((reports / PLACE.name).glob("*.csv")):
        found = list(read_searches(path).values())[-1]
        base = experiment_of(path.stem, params)
        first = found[0]
        place = f"`{path.stem}` on {base.entry.corpus}, validation, {base.training.seeds} seeds"
        yield f"## Open choices of {base.model.key}: {place}"
        metric = METRICS[first.metric].in_a_sentence
        points = deviations.get(path.stem)
        differs = (
            f" `{path.stem}` differs from its paper in {count_noun(len(points), 'point')}." if points else ""
        )
        yield f"Unchanged: {metric} {_score(first)}.{differs}"
        rows = [_row(base, trial, first) for trial in found[1:]]
        yield "\n".join(
            [line([name.format(metric) for name in HEAD]), line(["---"] * len(HEAD)), *map(line, rows)]
        )


def _row(base: Experiment, trial: Trial, first: Trial) -> tuple[str, ...]:
    ((path, value),) = trial.config.items()
    key = path.partition(".")[2]
    fields = type(base.config).model_fields if path.startswith("config.") else {}
    choice = fields[key].description or "" if key in fields else ""
    result = (trial.reason, "") if trial.reason else (_score(trial), f"{trial.mean - first.mean:+.3f}")
    return choice, f"`{key}`", str(value_of_switch(base, path)), str(value), *result


def _score(trial: Trial) -> str:
    return f"{trial.mean:.3f} ({trial.std:.3f})"
