"""Reproduces published tables: trains each row as an experiment on local caches, and compares the scores."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ercache.digests import digest_of
from ercache.errors import ErcacheError, UsageError
from ercache.params.load import suggestion
from ercache.params.schema import ExperimentParams, Params, Task, split_array_name
from fusion.evaluation.equal_rows import resolved, without_effect
from fusion.evaluation.row_result import RowResult, RowStatus
from fusion.experiment.resolve import experiment_of
from fusion.papers import Paper, PaperTable, TableRow, papers, read_paper
from fusion.papers.deviations import deviations_of, in_short
from fusion.runs.schema import as_json, read_run
from fusion.training.run import digests_of, train_experiment
from fusion.training.seed import EpochCallback

PLACE = "reproduce"  # subfolder of data/models for these runs, which are no experiments of params.yaml


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
    """Train the rows of a paper's tables one by one, and yield our scores of each row beside the published ones.

    A row is trained on every scanned corpus that params.yaml names for the paper. If a finished run with the same
    settings and caches exists, its scores are used instead. A killed reproduction therefore continues where it stopped,
    and equal rows of several tables share one run. A row is not trained if its network repeats another row's (see
    `fusion.evaluation.equal_rows`).

    Args:
        key: short name of the paper, such as `m2fnet`.
        params: contents of params.yaml.
        data: folder with manifests/ and caches/; runs are written to models/ in this folder.
        table: key of one table, such as `2`; None for all tables.
        row: name of one row; None for all rows.
        corpus: name of one corpus; None for all scanned corpora that params.yaml names for the paper. If none of them
            is scanned, all are tried.
        device: name of a torch device, such as `cpu` or `cuda:0`.
        progress: called after each epoch.

    Yields:
        One result for each row and corpus.

    Raises:
        UsageError: the paper, the table, the row or the corpus is unknown.
    """
    paper = read_paper(key)
    bases = params.reproduce.get(key, {})
    if not bases or (corpus is not None and corpus not in bases):
        named = f"{key} on {corpus}" if corpus else key
        raise UsageError(
            f"params.yaml names no experiment from which to reproduce {named}",
            hint=f"add `reproduce: {{{key}: {{{corpus or 'CORPUS'}: EXPERIMENT}}}}` to params.yaml",
        )
    at_hand = [on for on in bases if (data / "manifests" / f"{on}.jsonl").is_file()]
    chosen = [corpus] if corpus is not None else at_hand or list(bases)
    starts = [name for on in chosen for name in experiments_of(bases[on])]
    unknown = [name for name in starts if name not in params.experiments]
    if unknown:
        raise UsageError(
            f"params.yaml, reproduce.{key}: unknown experiment {unknown[0]!r}",
            hint=suggestion(unknown[0], params.experiments),
        )
    for part in paper.select(table, row):
        for on in chosen:
            if table is None and not paper.concerns(part, on):
                continue
            (whole,) = paper.select(part.key)
            idle = without_effect(paper, whole, dict(entries_of(whole, bases[on], params)))
            for one in part.rows:
                if one.name in idle:
                    figures = one.published.get(on, {})
                    yield RowResult(part.key, one.name, on, figures, {}, "no effect here", idle[one.name])
                    continue
                base = base_of(one, bases[on])
                yield _run_row(paper, part.key, one, on, base, params, data, device, progress)


def entries_of(
    table: PaperTable, bases: str | Mapping[Task, str], params: Params
) -> Iterator[tuple[str, ExperimentParams]]:
    """Yield the name and the experiment of each table row that can be trained.

    Left out are rows whose model ercache lacks, and rows whose base experiment (the experiment of params.yaml from
    which a row is made) is unknown or lacks a feature.

    Args:
        table: the published table.
        bases: name of the base experiment; or task (erc, epc) -> name.
        params: contents of params.yaml.
    """
    for row in table.rows:
        base = base_of(row, bases)
        if row.model is not None and base in params.experiments:
            with suppress(ErcacheError):  # the row tells its error when it is run
                yield row.name, resolved(entry_of(row, params.experiments[base], base))


def experiments_of(bases: str | Mapping[Task, str]) -> list[str]:
    """Return the names of the experiments from which a paper's table rows are made: one, or one for each task."""
    return [bases] if isinstance(bases, str) else list(bases.values())


def base_of(row: TableRow, bases: str | Mapping[Task, str]) -> str:
    """Return the name of the experiment of params.yaml from which a table row is made.

    If `bases` names one for each task (erc, epc), it is that of the row's task; if this task has none, the first one.
    """
    return bases if isinstance(bases, str) else bases.get(row.task or "erc", next(iter(bases.values())))


def shares_among(
    confusion: Sequence[Any], classes: Sequence[str], chosen: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Restrict a confusion matrix to some classes, and turn each row into shares that add up to 1.

    Args:
        confusion: confusion counts [C, C]; a row holds the utterances of one true class.
        classes: names of the C classes.
        chosen: names of the classes to keep, as true and as predicted classes.

    Returns:
        True class -> predicted class -> share of the row; empty if no class is chosen or a chosen class is unknown.
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
    """Make the experiment of a table row: a copy of the base experiment with the changes of the row.

    Args:
        row: the row of the published table.
        base: the base experiment in params.yaml.
        name: name of the base experiment, for error messages.

    Raises:
        UsageError: the base experiment has no feature for a modality that the row uses.
    """
    lacking = [m for m in [*(row.modalities or ()), *row.arrays] if m not in base.features]
    if lacking:
        names = dict.fromkeys(lacking)
        encoders = _encoders_of(row, base)
        raise UsageError(
            f"experiment {name!r} has no {' and no '.join(names)} features",
            hint=f"run `ercache extract {base.corpus} --features FEATURE` (the paper's encoder: "
            f"{', '.join(encoders.get(m, 'not in ercache') for m in names)}), and add FEATURE to "
            f"experiments.{name}.features in params.yaml",
        )
    kept = row.modalities or list(base.features)
    features = {
        m: [f"{split_array_name(f)[0]}:{row.arrays[m]}" if m in row.arrays else f for f in base.features[m]]  # type: ignore[index]
        for m in kept
    }
    changed = {"model": row.model, "features": features, "config": {**base.config, **row.config}}
    changed |= {"task": row.task} if row.task else {}
    return ExperimentParams(**{**base.model_dump(), **changed})


def _encoders_of(row: TableRow, base: ExperimentParams) -> dict[str, str]:
    """Return which encoders the paper of a table row uses: modality -> names of encoders, joined by `and`."""
    if row.model not in papers():
        return {}
    paper = read_paper(row.model)
    listed = paper.run_for(base.corpus, row.task or base.task).features
    keys = {m: [paper.features[split_array_name(n)[0]].encoder for n in names] for m, names in listed.items()}
    return {modality: " and ".join(dict.fromkeys(found)) for modality, found in keys.items()}


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
        entry = resolved(entry_of(row, params.experiments[base], base))
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
    deviations = deviations_of(record, row) or []
    over_folds = as_json(record.over_folds) if record.over_folds else {}
    more = (as_json(record.class_scores), confusion, difference, among, deviations, over_folds)
    folder = run.relative_to(data.parent) if run.is_relative_to(data.parent) else run
    if deviations or not published:
        why = in_short(deviations) or f"the paper has no {corpus}"
        return RowResult(table, row.name, corpus, published, scores, "stand-in", why, str(folder), *more)
    inside = all(
        scores[m]["ci95"][0] <= value / 100 <= scores[m]["ci95"][1] for m, value in published.items()
    )
    verdict: RowStatus = "reproduced" if inside else "differs"
    return RowResult(table, row.name, corpus, published, scores, verdict, "", str(folder), *more)


def _trained(
    entry: ExperimentParams, params: Params, data: Path, device: str, progress: EpochCallback | None
) -> Path:
    """Return the run folder of an experiment; the experiment is trained first, unless an equal run exists already.

    Equal runs have the same settings and caches.

    Args:
        entry: the experiment, with the values of all switches.
    """
    name = f"{PLACE}/{digest_of(entry.model_dump(mode='json'))[:16]}"
    same = [other for other, known in params.experiments.items() if _is_same(known, entry)]
    with_row = params.model_copy(update={"experiments": {**params.experiments, name: entry}})
    for other in (name, *same):
        folder = data / "models" / other
        if not folder.is_dir():
            continue
        wanted = digests_of(experiment_of(other, with_row), with_row, data, device)
        if read_run(folder).provenance.run_digest == wanted:
            return folder
    train_experiment(name, with_row, data, device=device, progress=progress)
    return data / "models" / name


def _is_same(known: ExperimentParams, entry: ExperimentParams) -> bool:
    """Whether an experiment of params.yaml (`known`) equals that of a table row (`entry`, with all its switches)."""
    return known.model == entry.model and known.corpus == entry.corpus and resolved(known) == entry
