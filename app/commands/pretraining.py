"""The command `ercache pretrain`: train an extractor (an encoder of your own) on a corpus or a folder of files."""

from pathlib import Path
from typing import Annotated

import typer

from app.commands.extraction import Root
from app.console import DATA, FEATURES, Device, Json, answer, device_of, params, progress, say, table
from app.manifests import manifest_and_root
from app.training_table import training_table
from ercache.cpus import cores
from ercache.paths import default_store, writable
from ercache.trained_extractors import extractor_folder
from extract.pretrain.entry import reads_media, training_entry


def register(cli: typer.Typer) -> None:
    """Add the command `pretrain` to the command line."""
    cli.command(rich_help_panel=FEATURES)(pretrain)


def pretrain(
    extractor: Annotated[
        str, typer.Argument(help="Name under `pretrain:` in params.yaml, or key of an extractor.")
    ],
    root: Root = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Train on the files FOLDER/LABEL/* instead of a corpus.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Train on this split. Its features are then named FEATURE@SPLIT."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Random seed.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train an extractor (an encoder of your own) on the train subset of a corpus.

    The best epoch is chosen on validation data.

    Example: [dim]ercache pretrain audio/mel-resnet18[/]
    """
    loaded = params()
    # Wrong arguments are reported before torch is imported, which takes seconds.
    name, entry = training_entry(loaded, extractor, folder=folder, split=split, seed=seed)
    import torch

    from extract.encoders.numba_cache import prepare
    from extract.pretrain.job import training_job
    from extract.pretrain.run import pretrain as run

    if entry.extractor.startswith("audio/"):
        prepare()
    manifest, media_root = None, None
    if entry.corpus is not None:
        manifest, media_root = manifest_and_root(entry.corpus, root, loaded, media=reads_media(entry))
    with progress() as tick:
        job = training_job(
            entry, manifest, media_root, engine=loaded.engine, faces=loaded.faces, store=default_store(),
            device=device_of(device), progress=tick,
        )  # fmt: skip
    work = writable(default_store() / "pretrain", "store/pretrain")
    with training_table() as show_epoch:
        result = run(
            name, entry.extractor, job, out=extractor_folder(DATA, name), work=work, device=device_of(device),
            threads=min(torch.get_num_threads(), cores()), tick=lambda epoch: show_epoch(name, epoch),
        )  # fmt: skip
    if json:
        answer(result)
        return
    rows = [(metric, f"{value:.4f}") for metric, value in result["metrics"].items()]
    title = f"{name}: epoch {result['best_epoch']} of {result['epochs']}, chosen on validation"
    table(("metric on validation", "value"), rows, title=title)
    say(f"extractor: {result['path']}")
