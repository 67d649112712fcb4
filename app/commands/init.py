"""The command `ercache init`: add a corpus to a project, either with the runs of papers or as a corpus of one's own."""

from pathlib import Path
from typing import Annotated, Final

import typer

from app.commands.init_own import init_features, init_folder
from app.commands.plan_table import show_plan
from app.console import MANIFESTS, START, Json, answer, params, say
from app.corpora import choose_folder
from app.manifests import save_manifest, scan_corpus
from app.paper_plan import plan_of
from app.paper_setup import add_papers, check_papers, remove_profiles, switches_of
from ercache.errors import UsageError
from ercache.manifest import MODALITIES, modalities_of
from ercache.params.load import suggestion
from ercache.params.roots import corpus_root

GOES_WITH: Final = {  # the start of a corpus -> further options that make sense with it
    "papers": ("--root", "--remove"),
    "--folder": ("--name", "--remove"),
    "--from": ("--name",),
}


def register(cli: typer.Typer) -> None:
    """Add the command `init` to the command line."""
    cli.command(rich_help_panel=START)(init)


def init(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="PAPER... CORPUS", help="Keys of one paper or several, then the corpus."),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder", help="Instead of PAPER... CORPUS: a folder of your own clips or recordings."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--from", help="Instead of PAPER... CORPUS: a file with features of another project."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of your own corpus. Default: the name of the folder or file."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="Folder of the corpus. Default: as for `ercache scan`.")
    ] = None,
    remove: Annotated[
        bool,
        typer.Option(
            "--remove", help="Take the runs of these papers, or the folder, out of the pipeline again."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Add a corpus to the project, with the runs of papers or with a first experiment.

    Prints which stages will run and which checkpoints are absent. Entries that you wrote in params.yaml stay.

    Example: [dim]ercache init m2fnet avafn meld --root /data/MELD.Raw[/]

    A folder of your own: [dim]ercache init --folder ~/talks[/]

    A file with features: [dim]ercache init --from IEMOCAP_features.pkl[/]
    """
    _check_options(names, folder, file, name, root, remove)
    if folder is not None and remove:
        _remove(*_profiles_of(folder, name), json)
    elif folder is not None:
        init_folder(folder, name, json)
    elif file is not None:
        init_features(file, name, json)
    else:
        _papers(names or [], root, remove, json)


def _check_options(
    names: list[str] | None,
    folder: Path | None,
    file: Path | None,
    name: str | None,
    root: Path | None,
    remove: bool,
) -> None:
    starts = {"papers": bool(names), "--folder": folder is not None, "--from": file is not None}
    given = [start for start, value in starts.items() if value]
    if len(given) != 1:
        raise UsageError(
            f"{' and '.join(given)} cannot be given together" if given else "no corpus was given",
            hint="give PAPER... CORPUS, --folder DIR or --from FILE",
        )
    options = {"--name": name is not None, "--root": root is not None, "--remove": remove}
    wrong = [option for option, value in options.items() if value and option not in GOES_WITH[given[0]]]
    if wrong:
        raise UsageError(
            f"{' and '.join(wrong)} cannot be used with {given[0]}", hint=f"leave out {' and '.join(wrong)}"
        )


def _profiles_of(folder: Path, name: str | None) -> tuple[list[str], str]:
    """Return the profiles in the pipeline for a folder of the user's own, which may be gone, and its corpus."""
    loaded = params()
    corpus = choose_folder(folder, name, loaded).name
    if corpus not in loaded.pipeline:
        raise UsageError(
            f"{corpus!r} is not in the pipeline; nothing was written",
            hint=suggestion(corpus, loaded.pipeline),
        )
    return loaded.pipeline[corpus].profiles, corpus


def _remove(names: list[str], corpus: str, json: bool) -> None:
    """Take papers or profiles out of the pipeline of a corpus, and print which files were written."""
    for line in remove_profiles(names, corpus):
        say(line)
    if json:
        answer({"removed": names})


def _papers(names: list[str], root: Path | None, remove: bool, json: bool) -> None:
    if len(names) < 2:
        raise UsageError(
            "a paper and a corpus are needed, but only one name was given",
            hint="for example `ercache init m2fnet meld --root DIR`",
        )
    *papers, corpus = names
    loaded = params(models=True)
    check_papers(loaded, papers, corpus)
    if remove:
        _remove(papers, corpus, json)
        return
    folder = corpus_root(corpus, loaded, root)
    switches = loaded.corpora.get(corpus) or switches_of(loaded, papers, corpus)
    manifest = scan_corpus(corpus, folder, loaded.model_copy(update={"corpora": {corpus: switches}}))
    save_manifest(manifest, folder, MANIFESTS / f"{corpus}.jsonl")
    modalities = modalities_of(manifest.utterances)
    told = add_papers(papers, corpus, folder, sorted(modalities))
    plan = plan_of(params(), corpus, len(manifest.utterances))
    if json:
        answer(plan.as_json())
        return
    for line in told:
        say(line)
    if lacking := [m for m in MODALITIES if m not in modalities]:
        say(f"warning: {folder} has no {' and no '.join(lacking)}; rows of tables that need it cannot run")
    show_plan(plan)
