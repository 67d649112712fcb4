"""`ercache init --folder` and `ercache init --from`: add a corpus of the user's own to a project."""

from pathlib import Path

from app.commands.plan_table import show_plan
from app.console import answer, params, say, table
from app.manifests import problem_rows, save_manifest
from ercache.manifest import Manifest


def init_folder(folder: Path, name: str | None, json: bool) -> None:
    """Scan a folder of the user's own, and add its pipeline to the project.

    The pipeline extracts the features of the profile `default`. The function prints the stages of the pipeline and
    the command to run next.
    """
    from app.own_folder import plan_folder
    from app.paper_plan import plan_of

    plan = plan_folder(folder, name, params())
    save_manifest(plan.manifest, plan.root, plan.path)
    written = plan.files.write()
    run = plan_of(plan.files.loaded, plan.corpus, len(plan.manifest.utterances))
    if json:
        answer({
            **run.as_json(), "corpus": plan.corpus, "features": [f.name for f in plan.features],
            "left_out": plan.left_out, "experiment": plan.experiment, "files": [str(plan.path), *map(str, written)],
            "kept": plan.files.kept, "next": plan.command,
        })  # fmt: skip
        return
    if plan.manifest.problems:
        columns = ("status", "reason", "utterances", "details")
        table(columns, problem_rows(plan.manifest.problems), title="problems")
    say(f"{plan.corpus}: {_size(plan.manifest)}")
    for feature, why in plan.left_out.items():
        say(f"{feature} is left out: {why}")
    if plan.experiment is None:
        say(f"no experiment: {plan.no_experiment}")
    _say_files([plan.path, *written], plan.files.kept)
    show_plan(run, plan.command)


def init_features(file: Path, name: str | None, json: bool) -> None:
    """Make a corpus from a file with features of another project: write its caches, manifest and params.

    The function prints what was written, and the command to run next.
    """
    from app.feature_corpus import plan_features

    plan = plan_features(file, name, params())
    packed, written = plan.write()
    notes = [*plan.found.content.notes, *(p.detail for p in plan.manifest.problems)]
    notes += [note for note in packed.notes if note not in notes]
    if not plan.found.content.features:
        notes.insert(
            0,
            f"the file holds sentences and labels, but no vectors: {plan.command.split(' && ')[0]} computes them",
        )
    if json:
        answer({
            "corpus": plan.manifest.corpus, "stages": [], "weights": [], "estimate_seconds": None,
            "estimate_bytes": None, "deviations": [], "utterances": len(plan.manifest.utterances),
            "features": plan.features, "experiment": plan.experiment,
            "files": [*packed.files, *map(str, written)], "kept": plan.files.kept, "notes": notes,
            "next": plan.command,
        })  # fmt: skip
        return
    say(f"{plan.manifest.corpus}: {_size(plan.manifest)}")
    for note in notes:
        say(f"note: {note}")
    if packed.files:
        table(("cache file",), [(path,) for path in packed.files])
    if plan.experiment is None:
        say(f"no experiment: {plan.no_experiment}")
    _say_files(written, plan.files.kept)
    say(f"next: {plan.command}")


def _size(manifest: Manifest) -> str:
    dialogues = len({u.dialogue for u in manifest.utterances})
    return f"{len(manifest.utterances):,} utterances in {dialogues:,} dialogues"


def _say_files(written: list[Path], kept: list[str]) -> None:
    for entry in kept:
        say(f"kept as you wrote it: {entry}")
    say(f"written: {', '.join(map(str, written))}")
