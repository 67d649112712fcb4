"""The commands `ercache cache import` and `ercache cache export`: exchange features with other projects."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from app.commands.caches import caches
from app.console import CACHES, MANIFESTS, Json, answer, say, table
from ercache.cache import CacheFile
from ercache.errors import ParamsError, UsageError
from ercache.manifest import Manifest, read_manifest
from ercache.params.load import PARAMS_FILE, read_yaml, suggestion
from ercache.params.schema import IMPORTED

# Written out, so that --help need not import the readers.
READ = (
    "mmgcn",
    "mm-dfn",
    "dialoguernn",
    "cosmic",
    "mmsa",
    "mult",
    "csd",
    "merbench",
    "lhotse",
    "table",
    "csv",
    "pickle",
    "npy",
    "npz",
    "safetensors",
    "parquet",
)
SUFFIXES = {"npz": "npz", "safetensors": "safetensors", "parquet": "parquet", "mmsa": "pkl"}


def register(cli: typer.Typer) -> None:
    """Add the commands `import` and `export` to the group `ercache cache`."""
    caches.command("import")(import_)
    caches.command("export")(export)


def import_(
    file: Annotated[
        Path,
        typer.Argument(help="File of another project. For the formats merbench, table and npy: a folder."),
    ],
    form: Annotated[str, typer.Option("--format", help=f"Format of the file: {', '.join(READ)}.")],
    corpus: Annotated[str, typer.Option("--corpus", help="Corpus that the utterances belong to.")],
    name: Annotated[
        str,
        typer.Option("--name", help="Name of the feature. If the file has several: prefix of all names."),
    ] = "",
    modality: Annotated[
        str, typer.Option("--modality", help="text, audio or visual; needed if the file does not say it.")
    ] = "",
    out: Annotated[Path, typer.Option("--out", help="Folder for the caches.")] = CACHES,
    json: Json = False,
) -> None:
    """Import a feature file of another project as caches. Run `ercache scan` for the corpus first.

    Example: [dim]ercache cache import features.pkl --format mmgcn --corpus meld[/]
    """
    from ercache.formats.formats import import_file

    manifest = read_manifest(MANIFESTS / f"{_plain(corpus)}.jsonl")
    packed = import_file(file, form, manifest, out, name, modality)
    for note in packed.notes:
        say(f"note: {note}")
    lines = undeclared_lines(packed.features)
    if json:
        answer({"utterances": packed.utterances, "features": packed.features, "files": packed.files,
                "total": len(manifest.utterances), "notes": packed.notes, "params": lines})  # fmt: skip
        return
    table(("cache file",), [(path,) for path in packed.files],
          title=f"{packed.utterances} of {len(manifest.utterances)} utterances have imported features")  # fmt: skip
    if lines:
        say(f"to train on {'it' if len(lines) == 1 else 'them'}, add to params.yaml under `features:`")
        for line in lines:
            say(f"  {line}")
    say(f"then: ercache train --model MODEL --corpus {corpus} --features {','.join(packed.features)}")


def undeclared_lines(features: Sequence[str]) -> list[str]:
    """Return the lines for params.yaml that name imported features, without the features that it names already."""
    try:
        declared = read_yaml(PARAMS_FILE).get("features") if PARAMS_FILE.is_file() else None
    except ParamsError:  # every command that reads the params tells what is wrong with them
        declared = None
    return [f"{name}: {{encoder: {IMPORTED}}}" for name in features if name not in (declared or {})]


def export(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="A cache file. The format mmsa takes several.")
    ],
    form: Annotated[
        str, typer.Option("--format", help="Format to write: npz, safetensors, parquet or mmsa.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File to write. Default: the name of the cache, in the current folder."),
    ] = None,
    label_set: Annotated[
        str,
        typer.Option(
            "--label-set", help="mmsa only: label set to write. Default: the first in the manifest."
        ),
    ] = "",
    split: Annotated[
        str,
        typer.Option(
            "--split",
            help="mmsa only: split of the corpus to write as train, valid, test. Default: corpus parts.",
        ),
    ] = "",
    array: Annotated[
        str, typer.Option("--array", help="mmsa only: array to write, if the cache has several.")
    ] = "",
    json: Json = False,
) -> None:
    """Export caches to a file that other projects can read.

    Example: [dim]ercache cache export data/caches/meld/text/minilm.train.h5 --format npz[/]
    """
    if form not in SUFFIXES:
        raise UsageError(f"unknown format {form!r}", hint=suggestion(form, SUFFIXES))
    if form != "mmsa" and len(files) > 1:
        raise UsageError(
            f"the format {form} takes one cache file, but {len(files)} were given",
            hint="export them one by one",
        )
    out = out or Path(f"{files[0].stem}.{SUFFIXES[form]}")
    if out.resolve() in {file.resolve() for file in files} or out.is_dir():
        raise UsageError(
            f"cannot write to {out}: it is {'a folder' if out.is_dir() else 'the cache itself'}",
            hint="give another file with --out",
        )
    with ExitStack() as stack:
        opened = [stack.enter_context(CacheFile(file)) for file in files]
        count, lost = _export(opened, form, out, label_set, split, array)
        features = list(dict.fromkeys(str(cache.provenance["feature"]) for cache in opened))
    if json:
        answer({"utterances": count, "features": features, "file": str(out), "not_carried": lost})
        return
    table(("not in the file",), [(line,) for line in lost], title=f"{count} utterances written to {out}")


def _export(
    opened: list[CacheFile], form: str, out: Path, label_set: str, split: str, array: str
) -> tuple[int, list[str]]:
    corpus = str(opened[0].provenance["corpus"])
    manifest = _manifest(corpus)
    if form == "mmsa":
        from ercache.formats.mmsa_file import write_mmsa

        if manifest is None:
            raise UsageError(f"the format mmsa needs the texts and labels in the manifest of {corpus}, which is absent",
                             hint=f"`ercache scan {corpus}` makes {MANIFESTS}/{corpus}.jsonl")  # fmt: skip
        return write_mmsa(opened, manifest, out, label_set, split, array)
    from ercache.formats.export import WRITERS
    from ercache.formats.flat_cache import flatten_cache

    return len(opened[0].entries), WRITERS[form](flatten_cache(opened[0], manifest), out)


def _manifest(corpus: str) -> Manifest | None:
    path = MANIFESTS / f"{_plain(corpus)}.jsonl"
    return read_manifest(path) if path.is_file() else None


def _plain(corpus: str) -> str:
    """Return the name of a corpus unchanged.

    Raises:
        UsageError: the name is empty or looks like a path, so it would lead to a wrong manifest file.
    """
    if not corpus or "/" in corpus or "\\" in corpus or corpus.startswith("."):
        raise UsageError(f"{corpus!r} is not the name of a corpus", hint="`ercache corpora` lists them")
    return corpus
