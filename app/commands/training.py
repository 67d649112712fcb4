"""The commands of stage 2 (features to emotions): `ercache train`, `evaluate`, `case`, `compare` and `sweep`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.experiment_options import resolve_experiment
from app.console import (
    DATA,
    EXPERIMENTS,
    Device,
    Json,
    answer,
    check_name,
    device_of,
    params,
    progress,
    say,
    table,
)
from app.training_table import training_table
from ercache.params.schema import Params
from ercache.training.selection import METRIC, score_of

COMPARED = "{} on test; p values are Holm-corrected"


def register(cli: typer.Typer) -> None:
    """Add the commands `train`, `evaluate`, `case`, `compare` and `sweep` to the command line."""
    for command in (train, evaluate, case, compare, sweep):
        cli.command(rich_help_panel=EXPERIMENTS)(command)


def train(
    experiment: Annotated[
        str | None, typer.Argument(help="Experiment of params.yaml. Without one, give --model.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Model; see `ercache models`.")] = None,
    corpus: Annotated[str | None, typer.Option("--corpus", help="Corpus to train on.")] = None,
    features: Annotated[
        str | None, typer.Option("--features", help="Features of params.yaml, separated by commas.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task", help="erc: recognise the emotion of each utterance; epc: predict that of the next one."
        ),
    ] = None,
    label_set: Annotated[
        str | None, typer.Option("--label-set", help="Label set of the corpus, e.g. emotion7.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Split of the corpus, e.g. official.")] = None,
    folds: Annotated[
        str | None,
        typer.Option("--folds", help="Cross-validation: name of a group of splits (folds), e.g. loso."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Number of training runs, with seeds 0, 1, ...")
    ] = None,
    allow_random_weights: Annotated[
        bool,
        typer.Option(
            "--allow-random-weights",
            help="Accept features of encoders with random weights; the result is marked.",
        ),
    ] = False,
    allow_leak: Annotated[
        bool,
        typer.Option("--allow-leak", help="Accept encoders trained on test data; the result is marked."),
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train an experiment with all its seeds, and test it. The best epoch is chosen on validation data.

    Example: [dim]ercache train m2fnet[/]

    Example without an experiment: [dim]ercache train --model bc_lstm --corpus iemocap --features minilm[/]
    """
    options = {
        "model": model, "corpus": corpus, "features": features, "task": task, "label_set": label_set,
        "split": split, "folds": folds, "seeds": seeds,
    }  # fmt: skip
    given = {k: v for k, v in options.items() if v is not None}
    # Misspelt names are reported before torch is imported, which takes seconds.
    resolve_experiment(params(), experiment, given, tell=say)
    from fusion.training.run import train_experiment

    name, loaded = resolve_experiment(params(models=True), experiment, given)
    with training_table() as watch:
        result = train_experiment(
            name,
            loaded,
            DATA,
            device=device_of(device),
            allow_random_weights=allow_random_weights,
            allow_leak=allow_leak,
            progress=watch,
        )
    if json:
        answer(result)
        return
    for fold, scores in result.get("folds", {}).items():
        _scores(f"{name}, fold {fold}", scores["test"])
    together = ", all folds together" if "folds" in result else ""
    _scores(f"{name} on test{together}, epoch chosen on validation", result["test"])
    _warn(name, result["marks"])
    say(f"run: {DATA / 'models' / name}")


def evaluate(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a trained run, e.g. data/models/m2fnet.")],
    lacking: Annotated[
        str,
        typer.Option("--lacking", metavar="M,..", help="Remove these modalities from all test utterances."),
    ] = "",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Test a trained run again from its saved weights.

    Prints scores, the confusion matrix, and in which points the run deviates from the paper of its model.

    Example: [dim]ercache evaluate data/models/m2fnet[/]
    """
    from fusion.evaluation.evaluate import evaluate as score

    removed = [name for name in lacking.split(",") if name]
    result = score(model_dir, DATA, device=device_of(device), lacking=removed)
    if json:
        answer(result)
        return
    _scores(f"{model_dir} on test{' without ' + ' and '.join(removed) if removed else ''}", result["test"])
    _warn(str(model_dir), result["marks"])
    show_deviations(result["deviations"])
    show_classes(result["per_class"], result["confusion"])


def show_deviations(deviations: Sequence[str] | None) -> None:
    """Print in which points a run deviates from the paper of its model; nothing if the model has no paper."""
    if deviations:
        table(("deviations from the paper",), [(text,) for text in deviations])
    elif deviations is not None:
        say("deviations from the paper: none")


def show_classes(per_class: Mapping[str, Mapping[str, float]], confusion: Sequence[Sequence[int]]) -> None:
    """Print a table with precision, recall and F1 of every class, and a table with the confusion matrix."""
    rows = [
        (name, *[f"{row[m]:.3f}" for m in ("precision", "recall", "f1")], row["support"])
        for name, row in per_class.items()
    ]
    table(("class", "precision", "recall", "F1", "support"), rows)
    counts = [(name, *row) for name, row in zip(per_class, confusion, strict=True)]
    table(("true \\ predicted", *per_class), counts)


def case(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a trained AVAFN, e.g. data/models/avafn.")],
    dialogue: Annotated[str, typer.Argument(help="Dialogue of the manifest, e.g. train_dia1.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the training run to show.")] = 0,
    json: Json = False,
) -> None:
    """Print the attention weights of a trained AVAFN for each turn of one dialogue (the case study of the paper).

    Example: [dim]ercache case data/models/avafn train_dia1[/]
    """
    from fusion.evaluation.case_study import case_study

    found = case_study(model_dir, DATA, dialogue, seed)
    if json:
        answer(found)
        return
    history = [*(f"{w:.4f}" for w in found["history_weights"]), ""]
    rows = [
        (turn["speaker"], turn["text"], turn["label"] or "", turn["predicted"], f"{audio:.4f}", past)
        for turn, audio, past in zip(found["turns"], found["audio_attention"][-1], history, strict=True)
    ]
    head = (
        "speaker",
        "text",
        "label",
        "predicted",
        "audio attention, last turn",
        "context weight, last turn",
    )
    table(head, rows, title=f"{dialogue}, seed {seed}")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of trained runs.")],
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="E.g. macro_f1, uar, accuracy. Default: the metric that chose the epochs of the runs.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Test whether runs on the same test subset differ: by paired bootstrap, McNemar's test and a paired t-test.

    The bootstrap resamples dialogues. The t-test pairs training runs of the same seed and fold. All p values are
    Holm-corrected.

    Example: [dim]ercache compare data/models/m2fnet data/models/concat --metric uar[/]
    """
    from fusion.evaluation.significance import compare as pairs

    rows = pairs(runs, metric)
    if json:
        answer(rows)
        return
    shown = [
        (
            r["a"],
            r["b"],
            f"{r['difference']:+.3f}",
            f"{r['ci95'][0]:+.3f}, {r['ci95'][1]:+.3f}",
            f"{r['p']:.4f}",
            f"{r['p_mcnemar']:.4f}",
            "" if r["p_t"] is None else f"{r['p_t']:.4f}",
        )
        for r in rows
    ]
    head = ("a", "b", "a - b", "95 % interval", "p bootstrap", "p McNemar", "p t-test")
    table(head, shown, title=COMPARED.format(_named(rows[0]["metric"])))
    for name, marks in {r[run]: r[f"marks_{run}"] for r in rows for run in ("a", "b")}.items():
        _warn(name, marks)


def sweep(
    experiment: Annotated[str, typer.Argument(help="Experiment of params.yaml.")],
    trials: Annotated[
        int | None,
        typer.Option("--trials", min=1, help="Number of configurations to try. Default: `sweeps.trials`."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Number of training runs per configuration.")
    ] = None,
    readings: Annotated[
        bool,
        typer.Option(
            "--readings", help="Instead, try the alternatives of the choices that the paper leaves open."
        ),
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Search hyper-parameters of an experiment by validation score. Every trial is logged.

    Example: [dim]ercache sweep m2fnet[/]
    """
    # A misspelt name is reported before torch is imported, which takes seconds.
    check_name(experiment, params().experiments, "experiment")
    from fusion.search.sweep import sweep as search

    _, loaded = resolve_experiment(params(models=True), experiment, {}, tell=say)
    model = loaded.experiments[experiment].model
    if readings:
        _readings(experiment, model, loaded, device_of(device), json)
        return
    spaces = loaded.sweeps.spaces
    owner = experiment if experiment in spaces else model
    space = spaces[check_name(owner, spaces, "search space (params.yaml, sweeps.spaces)")]
    budget = loaded.sweeps
    with progress() as tick:
        result = search(
            experiment,
            loaded,
            space,
            trials or budget.trials,
            DATA,
            seeds=seeds or budget.seeds,
            device=device_of(device),
            progress=tick,
        )
    if json:
        answer(result)
        return
    best = result["best"]
    metric = result["metric"]
    rows = [*best["config"].items(), (f"validation {_named(metric)}", f"{best[score_of(metric)]:.4f}")]
    table(("best of " + str(result["trials"]), ""), rows, title=experiment)
    say(f"log: {result['log']}")


def _readings(experiment: str, model: str, loaded: Params, device: str, json: bool) -> None:
    from fusion.search.ablation import ablate_open_choices as read

    spaces = loaded.sweeps.readings
    space = spaces[check_name(model, spaces, "readings (params.yaml, sweeps.readings)")]
    with progress() as tick:
        found = read(experiment, loaded, space, DATA, device=device, progress=tick)
    if json:
        answer([asdict(trial) for trial in found])
        return
    rows = [
        (", ".join(f"{k}: {v}" for k, v in t.config.items()) or "unchanged", f"{t.mean:.4f}", t.reason)
        for t in found
    ]
    metric = found[0].metric if found else METRIC
    table(("alternative", f"validation {_named(metric)}", "failed"), rows, title=experiment)


def _named(metric: str) -> str:
    """Return the name of a metric as it is written inside a sentence, instead of its key such as `weighted_f1`."""
    from ercache.metrics import METRICS

    return METRICS[metric].in_a_sentence


def _warn(run: str, marks: Sequence[str]) -> None:
    """Print the warnings that belong to the scores of a run, for example that it used random weights."""
    for mark in marks:
        say(f"warning: {run}: {mark}")


def _scores(title: str, scores: dict[str, Any]) -> None:
    rows = [
        (m, f"{s['mean']:.4f}", f"{s['std']:.4f}", f"{s['ci95'][0]:.4f} to {s['ci95'][1]:.4f}")
        for m, s in scores.items()
    ]
    table(("metric", "mean", "std over seeds", "95 % interval"), rows, title=title)
