"""Published tables, row by row, beside what the caches at hand give: each row is an experiment with its switches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ercache.digests import digest_of
from ercache.errors import ErcacheError, UsageError
from ercache.params.load import suggestion
from ercache.params.schema import ExperimentParams, Params, Task, split_array_name
from fusion.experiment.resolve import experiment_of
from fusion.experiment.source import read_source
from fusion.models import MODELS
from fusion.papers import Paper, Row, read_paper
from fusion.runs.schema import as_json, read_run
from fusion.training.run import run_digest, train_experiment
from fusion.training.seed import Tick

PLACE = "reproduce"  # below data/models: runs of rows are no experiments of their own
Verdict = Literal["reproduced", "differs", "stand-in", "not runnable", "another system"]


@dataclass(frozen=True)
class Outcome:
    """A row of a table, published and ours.

    Attributes:
        published: metric -> percent on this corpus; empty where the paper has none.
        ours: metric -> `{"mean", "std", "ci95"}`, fractions on test; empty where the row did not run.
        why: what is lacking, where it did not run; what stands in for what, where that is so.
        run: folder of the run.
        per_class, confusion: of the run on test; empty where the row did not run.
        difference: metric -> ours less the published, percent.
        among: true -> predicted -> share of the true ones, of the classes that the paper draws alone, where the run has
            them.
    """

    table: str
    row: str
    corpus: str
    published: dict[str, float]
    ours: dict[str, Any]
    verdict: Verdict
    why: str = ""
    run: str = ""
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    confusion: list[Any] = field(default_factory=list)
    difference: dict[str, float] = field(default_factory=dict)
    among: dict[str, dict[str, float]] = field(default_factory=dict)


def reproduce(
    key: str,
    params: Params,
    data: Path,
    *,
    table: str | None = None,
    row: str | None = None,
    corpus: str | None = None,
    device: str = "cpu",
    progress: Tick | None = None,
) -> Iterator[Outcome]:
    """Every row of a paper's tables on every corpus that params.yaml names for it, trained where it is not yet.

    A row is known by the digest of its experiment: a killed reproduction goes on, and rows of several tables with
    the same switches are one run.

    Args:
        table: key of one table.
        row: name of one row.
        corpus: one corpus.

    Raises:
        UsageError: the paper, the table, the row or the corpus is unknown.
    """
    paper = read_paper(key)
    bases = params.reproduce.get(key, {})
    if not bases or (corpus is not None and corpus not in bases):
        named = f"{key} on {corpus}" if corpus else key
        raise UsageError(
            f"params.yaml does not say how to reproduce {named}",
            hint=f"write `reproduce: {{{key}: {{{corpus or 'CORPUS'}: EXPERIMENT}}}}`",
        )
    chosen = [corpus] if corpus is not None else list(bases)
    starts = [name for on in chosen for name in experiments_of(bases[on])]
    unknown = [name for name in starts if name not in params.experiments]
    if unknown:
        raise UsageError(
            f"params.yaml, reproduce.{key}: unknown experiment {unknown[0]!r}",
            hint=suggestion(unknown[0], params.experiments),
        )
    for part in paper.only(table, row):
        for on in chosen:
            for one in part.rows:
                base = base_of(one, bases[on])
                yield _outcome(paper, part.key, one, on, base, params, data, device, progress)


def experiments_of(bases: str | Mapping[Task, str]) -> list[str]:
    """The experiments that the rows of a paper start from on a corpus: one, or one for each task."""
    return [bases] if isinstance(bases, str) else list(bases.values())


def base_of(row: Row, bases: str | Mapping[Task, str]) -> str:
    """The experiment that a row starts from; without one of its own task, any other's."""
    return bases if isinstance(bases, str) else bases.get(row.task or "erc", next(iter(bases.values())))


def shares_among(
    confusion: Sequence[Any], classes: Sequence[str], chosen: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Of the examples of some classes that were called one of them, the share of each; empty where one is not there."""
    if not chosen or not set(chosen) <= set(classes):
        return {}
    place = {name: classes.index(name) for name in chosen}
    found = {}
    for true in chosen:
        counts = [confusion[place[true]][place[name]] for name in chosen]
        found[true] = {name: n / max(1, sum(counts)) for name, n in zip(chosen, counts, strict=True)}
    return found


def entry_of(row: Row, base: ExperimentParams, name: str) -> ExperimentParams:
    """The experiment of a row: its switches on top of the base.

    Args:
        name: of the base, for the errors.

    Raises:
        UsageError: the base has no features of a modality that the row uses.
    """
    lacking = [m for m in [*(row.modalities or ()), *row.arrays] if m not in base.features]
    if lacking:
        names = dict.fromkeys(lacking)
        papers = MODELS[row.model].paper_encoders if row.model else {}
        raise UsageError(
            f"experiment {name!r} has no {' and no '.join(names)} features",
            hint=f"ercache extract {base.corpus} --features FEATURE (the paper's: "
            f"{', '.join(papers.get(m, 'none here') for m in names)}), and name it in experiments.{name}.features",
        )
    kept = row.modalities or list(base.features)
    features = {
        m: [f"{split_array_name(f)[0]}:{row.arrays[m]}" if m in row.arrays else f for f in base.features[m]]  # type: ignore[index]
        for m in kept
    }
    changed = {"model": row.model, "features": features, "config": {**base.config, **row.config}}
    changed |= {"task": row.task} if row.task else {}
    return ExperimentParams(**{**base.model_dump(), **changed})


def _outcome(
    paper: Paper,
    table: str,
    row: Row,
    corpus: str,
    base: str,
    params: Params,
    data: Path,
    device: str,
    progress: Tick | None,
) -> Outcome:
    published = row.published.get(corpus, {})
    if row.model is None:
        return Outcome(table, row.name, corpus, published, {}, "another system")
    try:
        entry = entry_of(row, params.experiments[base], base)
        run = _trained(entry, params, data, device, progress)
    except ErcacheError as error:
        remedy = f" ({error.hint})" if error.hint else ""
        why = "; ".join([error.message, *error.details]) + remedy
        return Outcome(table, row.name, corpus, published, {}, "not runnable", why)
    record = read_run(run)
    scores, confusion = as_json(record.test), record.confusion
    apart = {name: 100 * scores[name]["mean"] - value for name, value in published.items() if name in scores}
    among = {} if record.several else shares_among(confusion, record.classes, paper.drawn)
    more = (as_json(record.class_scores), confusion, apart, among)
    folder = run.relative_to(data.parent) if run.is_relative_to(data.parent) else run
    if not record.paper_profile or not published:
        why = "other features, sizes or training than the paper's" if not record.paper_profile else ""
        why = why or f"the paper has no {corpus}"
        return Outcome(table, row.name, corpus, published, scores, "stand-in", why, str(folder), *more)
    inside = all(
        scores[m]["ci95"][0] <= value / 100 <= scores[m]["ci95"][1] for m, value in published.items()
    )
    verdict: Verdict = "reproduced" if inside else "differs"
    return Outcome(table, row.name, corpus, published, scores, verdict, "", str(folder), *more)


def _trained(entry: ExperimentParams, params: Params, data: Path, device: str, progress: Tick | None) -> Path:
    """The run of an experiment: the one at hand if it is of these caches and switches, else a new one."""
    name = f"{PLACE}/{digest_of(entry.model_dump(mode='json'))[:16]}"
    with_row = params.model_copy(update={"experiments": {**params.experiments, name: entry}})
    experiment = experiment_of(name, with_row)
    wanted = run_digest(experiment, read_source(data, entry), device)
    folder = data / "models" / name
    at_hand = folder.is_dir() and read_run(folder).provenance.run_digest == wanted
    if not at_hand:
        train_experiment(name, with_row, data, device=device, progress=progress)
    return folder
