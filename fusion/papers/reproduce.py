"""Reproduces published tables: each row is an experiment, trained on the caches that are here and compared."""

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
from fusion.papers import Paper, TableRow, read_paper
from fusion.runs.schema import as_json, read_run
from fusion.training.run import run_digest, train_experiment
from fusion.training.seed import EpochCallback

PLACE = "reproduce"  # subfolder of data/models for these runs, which are no experiments of params.yaml
RowStatus = Literal["reproduced", "differs", "stand-in", "not runnable", "another system"]


@dataclass(frozen=True)
class RowResult:
    """A row of a table: published scores and ours.

    Attributes:
        table: key of the table.
        row: name of the row.
        corpus: the corpus.
        published: metric -> percent on this corpus; empty if the paper has none.
        ours: metric -> `{"mean", "std", "ci95"}`, fractions on test; empty if the row did not run.
        verdict: how ours compares with the published scores.
        why: why the row did not run, or why it is only a stand-in for the paper's.
        run: folder of the run.
        per_class: class -> its scores on test; empty if the row did not run.
        confusion: confusion matrix on test; empty if the row did not run.
        difference: metric -> ours minus published, in percentage points.
        among: true class -> predicted class -> share. Only among the classes of the paper's confusion figure; empty if
            the paper has none or the run lacks one of the classes.
    """

    table: str
    row: str
    corpus: str
    published: dict[str, float]
    ours: dict[str, Any]
    verdict: RowStatus
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
    progress: EpochCallback | None = None,
) -> Iterator[RowResult]:
    """Train the rows of a paper's tables, and yield each with the published scores.

    Rows run on every corpus that params.yaml names for the paper. A run is found again by the digest of its experiment:
    a killed reproduction continues where it was, and equal rows of several tables share one run.

    Args:
        key: key of the paper.
        params: params.yaml.
        data: folder with manifests/ and caches/; the runs are written to its models/.
        table: key of one table; None: all.
        row: name of one row; None: all.
        corpus: one corpus; None: all that params.yaml names.
        device: as torch names it.
        progress: called after each epoch.

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
    for part in paper.select(table, row):
        for on in chosen:
            for one in part.rows:
                base = base_of(one, bases[on])
                yield _run_row(paper, part.key, one, on, base, params, data, device, progress)


def experiments_of(bases: str | Mapping[Task, str]) -> list[str]:
    """The base experiments of a paper's rows on a corpus: one, or one for each task."""
    return [bases] if isinstance(bases, str) else list(bases.values())


def base_of(row: TableRow, bases: str | Mapping[Task, str]) -> str:
    """The base experiment of a row: the one of its task, else the first."""
    return bases if isinstance(bases, str) else bases.get(row.task or "erc", next(iter(bases.values())))


def shares_among(
    confusion: Sequence[Any], classes: Sequence[str], chosen: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Confusion among some of the classes: only examples of these that were predicted as one of these.

    Args:
        confusion: [C, C], rows true.
        classes: the C names.
        chosen: some of them.

    Returns:
        True class -> predicted class -> share of the row; empty if one of the chosen classes is unknown.
    """
    if not chosen or not set(chosen) <= set(classes):
        return {}
    place = {name: classes.index(name) for name in chosen}
    found = {}
    for true in chosen:
        counts = [confusion[place[true]][place[name]] for name in chosen]
        found[true] = {name: n / max(1, sum(counts)) for name, n in zip(chosen, counts, strict=True)}
    return found


def entry_of(row: TableRow, base: ExperimentParams, name: str) -> ExperimentParams:
    """The experiment of a row: the base experiment with the row's changes.

    Args:
        row: the row.
        base: the base experiment.
        name: name of the base experiment, for error messages.

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


def _run_row(
    paper: Paper,
    table: str,
    row: TableRow,
    corpus: str,
    base: str,
    params: Params,
    data: Path,
    device: str,
    progress: EpochCallback | None,
) -> RowResult:
    published = row.published.get(corpus, {})
    if row.model is None:
        return RowResult(table, row.name, corpus, published, {}, "another system")
    try:
        entry = entry_of(row, params.experiments[base], base)
        run = _trained(entry, params, data, device, progress)
    except ErcacheError as error:
        remedy = f" ({error.hint})" if error.hint else ""
        why = "; ".join([error.message, *error.details]) + remedy
        return RowResult(table, row.name, corpus, published, {}, "not runnable", why)
    record = read_run(run)
    scores, confusion = as_json(record.test), record.confusion
    difference = {
        name: 100 * scores[name]["mean"] - value for name, value in published.items() if name in scores
    }
    among = {} if record.several else shares_among(confusion, record.classes, paper.confusion_classes)
    more = (as_json(record.class_scores), confusion, difference, among)
    folder = run.relative_to(data.parent) if run.is_relative_to(data.parent) else run
    if not record.paper_profile or not published:
        why = "other features, sizes or training than the paper's" if not record.paper_profile else ""
        why = why or f"the paper has no {corpus}"
        return RowResult(table, row.name, corpus, published, scores, "stand-in", why, str(folder), *more)
    inside = all(
        scores[m]["ci95"][0] <= value / 100 <= scores[m]["ci95"][1] for m, value in published.items()
    )
    verdict: RowStatus = "reproduced" if inside else "differs"
    return RowResult(table, row.name, corpus, published, scores, verdict, "", str(folder), *more)


def _trained(
    entry: ExperimentParams, params: Params, data: Path, device: str, progress: EpochCallback | None
) -> Path:
    """Folder of the experiment's run. Train it, unless there is a run of the same caches and switches."""
    name = f"{PLACE}/{digest_of(entry.model_dump(mode='json'))[:16]}"
    with_row = params.model_copy(update={"experiments": {**params.experiments, name: entry}})
    experiment = experiment_of(name, with_row)
    wanted = run_digest(experiment, read_source(data, entry), device)
    folder = data / "models" / name
    at_hand = folder.is_dir() and read_run(folder).provenance.run_digest == wanted
    if not at_hand:
        train_experiment(name, with_row, data, device=device, progress=progress)
    return folder
