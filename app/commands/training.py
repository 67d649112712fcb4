"""Stage 2 from the command line: train, evaluate, compare, sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from app.commands.experiment_options import planned
from app.console import DATA, Device, Json, answer, device_of, known, params, progress, say, table
from app.training_table import training_table
from ercache.params.schema import Params
from ercache.training import SCORE

COMPARED = "weighted F1 on test; p values are Holm-corrected"


def register(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(train)
    cli.command()(evaluate)
    cli.command()(case)
    cli.command()(compare)
    cli.command()(sweep)


def train(
    experiment: Annotated[str | None, typer.Argument(help="Name in params.yaml; or give --model.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Key of a model.")] = None,
    corpus: Annotated[str | None, typer.Option("--corpus", help="Corpus to train on.")] = None,
    features: Annotated[
        str | None, typer.Option("--features", help="Names in params.yaml, by comma.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="erc: recognition; epc: of the next utterance.")
    ] = None,
    label_set: Annotated[str | None, typer.Option("--label-set", help="Labels of the corpus.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Split of the corpus.")] = None,
    folds: Annotated[
        str | None, typer.Option("--folds", help="Train and test every fold of this name, e.g. loso.")
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Number of runs.")] = None,
    allow_random_weights: Annotated[
        bool,
        typer.Option(
            "--allow-random-weights", help="Accept features of untrained encoders; marks the result."
        ),
    ] = False,
    allow_leak: Annotated[
        bool,
        typer.Option("--allow-leak", help="Accept checkpoints that have seen test data; marks the result."),
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train all seeds of an experiment, epoch chosen on validation. Example: [dim]ercache train m2fnet[/]

    Without an experiment: [dim]ercache train --model bc_lstm --corpus iemocap --features minilm --folds loso[/]
    """
    asked = {
        "model": model, "corpus": corpus, "features": features, "task": task, "label_set": label_set,
        "split": split, "folds": folds, "seeds": seeds,
    }  # fmt: skip
    given = {k: v for k, v in asked.items() if v is not None}
    planned(
        params(), experiment, given
    )  # what is misspelt is told before torch is imported, which takes seconds
    from fusion.training.run import train_experiment

    name, loaded = planned(params(models=True), experiment, given)
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
    for fold, told in result.get("folds", {}).items():
        _scores(f"{name}, fold {fold}", told["test"])
    together = ", all folds together" if "folds" in result else ""
    _scores(f"{name} on test{together}, epoch chosen on validation", result["test"])
    _warn(name, result["marks"])
    say(f"run: {DATA / 'models' / name}")


def evaluate(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a trained run, e.g. data/models/m2fnet.")],
    lacking: Annotated[
        str, typer.Option("--lacking", metavar="M,..", help="Modalities that no utterance has in this test.")
    ] = "",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Score a trained run again from its weights. Example: [dim]ercache evaluate data/models/m2fnet[/]"""
    from fusion.evaluation.evaluate import evaluate as score

    gone = [name for name in lacking.split(",") if name]
    result = score(model_dir, DATA, device=device_of(device), lacking=gone)
    if json:
        answer(result)
        return
    _scores(f"{model_dir} on test{' without ' + ' and '.join(gone) if gone else ''}", result["test"])
    _warn(str(model_dir), result["marks"])
    show_classes(result["per_class"], result["confusion"])


def show_classes(per_class: Mapping[str, Mapping[str, float]], confusion: Sequence[Sequence[int]]) -> None:
    """Precision, recall and F1 of every class, and the confusion matrix."""
    rows = [
        (name, *[f"{row[m]:.3f}" for m in ("precision", "recall", "f1")], row["support"])
        for name, row in per_class.items()
    ]
    table(("class", "precision", "recall", "F1", "support"), rows)
    counts = [(name, *row) for name, row in zip(per_class, confusion, strict=True)]
    table(("true \\ predicted", *per_class), counts)


def case(
    model_dir: Annotated[Path, typer.Argument(help="Folder of a trained avafn, e.g. data/models/avafn.")],
    dialogue: Annotated[str, typer.Argument(help="As the manifest names it, e.g. train_dia1.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which of its models.")] = 0,
    json: Json = False,
) -> None:
    """What AVAFN looked at in one dialogue. Example: [dim]ercache case data/models/avafn train_dia1[/]"""
    from fusion.evaluation.case_study import case_study

    found = case_study(model_dir, DATA, dialogue, seed)
    if json:
        answer(found)
        return
    history = [*(f"{w:.4f}" for w in found["history_weights"]), ""]
    rows = [
        (turn["speaker"], turn["text"], turn["label"] or "", turn["predicted"], f"{heard:.4f}", past)
        for turn, heard, past in zip(found["turns"], found["audio_attention"][-1], history, strict=True)
    ]
    head = ("speaker", "text", "label", "predicted", "sound, for the last turn", "context, at the last turn")
    table(head, rows, title=f"{dialogue}, seed {seed}")


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders of trained runs.")],
    json: Json = False,
) -> None:
    """Compare runs on the same test part: paired bootstrap over dialogues, McNemar, Holm-corrected.

    Example: [dim]ercache compare data/models/m2fnet data/models/concat[/]
    """
    from fusion.evaluation.significance import compare as pairs

    rows = pairs(runs)
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
        )
        for r in rows
    ]
    table(("a", "b", "a - b", "95 % interval", "p bootstrap", "p McNemar"), shown, title=COMPARED)
    for name, marks in {r[run]: r[f"marks_{run}"] for r in rows for run in ("a", "b")}.items():
        _warn(name, marks)


def sweep(
    experiment: Annotated[str, typer.Argument(help="Name in params.yaml.")],
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Configurations to try.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Trainings of each.")] = None,
    readings: Annotated[
        bool, typer.Option("--readings", help="Instead: each reading of what the paper leaves open, alone.")
    ] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Search hyper-parameters on validation only; every trial is logged. Example: [dim]ercache sweep m2fnet[/]"""
    known(experiment, params().experiments, "experiment")  # before torch is imported, which takes seconds
    from fusion.search.sweep import sweep as search

    loaded = params(models=True)
    model = loaded.experiments[known(experiment, loaded.experiments, "experiment")].model
    if readings:
        _readings(experiment, model, loaded, device_of(device), json)
        return
    spaces = loaded.sweeps.spaces
    owner = experiment if experiment in spaces else model
    space = spaces[known(owner, spaces, "search space (params.yaml, sweeps.spaces)")]
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
    rows = [*best["config"].items(), ("validation weighted F1", f"{best[SCORE]:.4f}")]
    table(("best of " + str(result["trials"]), ""), rows, title=experiment)
    say(f"log: {result['log']}")


def _readings(experiment: str, model: str, loaded: Params, device: str, json: bool) -> None:
    from fusion.search.ablation import readings as read

    spaces = loaded.sweeps.readings
    space = spaces[known(model, spaces, "readings (params.yaml, sweeps.readings)")]
    with progress() as tick:
        found = read(experiment, loaded, space, DATA, device=device, progress=tick)
    if json:
        answer([asdict(trial) for trial in found])
        return
    rows = [
        (", ".join(f"{k}: {v}" for k, v in t.config.items()) or "as it is", f"{t.mean:.4f}", t.reason)
        for t in found
    ]
    table(("reading", "validation weighted F1", "failed"), rows, title=experiment)


def _warn(run: str, marks: Sequence[str]) -> None:
    """What a reader must know about a result before quoting it."""
    for mark in marks:
        say(f"mark of {run}: {mark}")


def _scores(title: str, scores: dict[str, Any]) -> None:
    rows = [
        (m, f"{s['mean']:.4f}", f"{s['std']:.4f}", f"{s['ci95'][0]:.4f} to {s['ci95'][1]:.4f}")
        for m, s in scores.items()
    ]
    table(("metric", "mean", "std over seeds", "95 % interval"), rows, title=title)
