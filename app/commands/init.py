"""The command `ercache init`: make a corpus and the runs of papers part of a project."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from app.console import MANIFESTS, START, Json, answer, params, say, table
from app.manifests import save_manifest, scan_corpus
from app.paper_plan import Plan, plan_of
from app.paper_setup import add_papers, check_papers, remove_papers, switches_of
from ercache.errors import UsageError
from ercache.manifest import MODALITIES, modalities_of
from ercache.params.load import corpus_root


def register(cli: typer.Typer) -> None:
    """Add the command `init` to the command line."""
    cli.command(rich_help_panel=START)(init)


def init(
    names: Annotated[
        list[str], typer.Argument(metavar="PAPER... CORPUS", help="One paper or several, then the corpus.")
    ],
    root: Annotated[
        Path | None, typer.Option("--root", help="Folder of the corpus. Default: as for `ercache scan`.")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the runs out of the pipeline again.")
    ] = False,
    json: Json = False,
) -> None:
    """Add the runs of papers on a corpus to the pipeline, and print what `dvc repro` will do and what is lacking.

    Example: [dim]ercache init m2fnet avafn meld --root /data/MELD.Raw[/]
    """
    if len(names) < 2:
        raise UsageError(
            "name a paper and a corpus", hint="for example `ercache init m2fnet meld --root DIR`"
        )
    *papers, corpus = names
    loaded = params(models=True)
    check_papers(loaded, papers, corpus)
    if remove:
        for line in remove_papers(papers, corpus):
            say(line)
        if json:
            answer({"removed": papers})
        return
    folder = corpus_root(corpus, loaded, root)
    switches = loaded.corpora.get(corpus) or switches_of(loaded, papers, corpus)
    manifest = scan_corpus(corpus, folder, loaded.model_copy(update={"corpora": {corpus: switches}}))
    save_manifest(manifest, folder, MANIFESTS / f"{corpus}.jsonl")
    modalities = modalities_of(manifest.utterances)
    told = add_papers(papers, corpus, folder, sorted(modalities))
    plan = plan_of(params(), corpus, len(manifest.utterances))
    if json:
        weights = [asdict(need) for need in plan.needs]
        answer({"stages": plan.stages, "weights": weights, "estimate_seconds": plan.estimate_seconds})
        return
    for line in told:
        say(line)
    if lacking := [m for m in MODALITIES if m not in modalities]:
        say(f"warning: {folder} has no {' and no '.join(lacking)}; rows of tables that need it cannot run")
    _show(plan)


def _show(plan: Plan) -> None:
    table(("stage",), [(name,) for name in plan.stages], title="`dvc repro` runs")
    rows = [
        (
            need.key,
            "here" if need.present else "LACKING",
            f"{need.bytes / 1e6:,.0f} MB" if need.bytes else "",
            need.command,
        )
        for need in plan.needs
    ]
    if rows:
        table(("checkpoint or folder", "", "size", "to get it"), rows, title="what they need")
    if plan.estimate_seconds is not None:
        text = (
            f"extraction: about {_duration(plan.estimate_seconds)}, from rates measured on {plan.measured_on}"
        )
        without = f"; not measured, so left out: {', '.join(plan.unmeasured)}" if plan.unmeasured else ""
        say(f"{text}{without}. Trainings are not in the estimate.")
    if plan.lacking:
        say(
            f"{len(plan.lacking)} of {len(plan.needs)} are lacking; get them, run `ercache pipeline`, then `dvc repro`"
        )
    else:
        say("next: dvc repro")


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"
