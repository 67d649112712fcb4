"""Training of extractors from the command line."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.extraction import Root
from app.console import Device, Json, answer, device_of, params, progress, say, table
from app.scans import manifest_and_root
from app.training_table import training_table
from ercache import trained_extractors
from ercache.cpus import cores
from ercache.errors import UsageError
from ercache.params.load import nearest
from ercache.params.schema import FOLD, Params, PretrainParams
from ercache.paths import default_store, writable
from ercache.weights import checked_files, read_tensors
from extract.pretrain.config import CONFIGS, ExtractorConfig, ExtractorTraining, TextConfig, TextTraining

if TYPE_CHECKING:  # it imports torch, which --help can do without
    from extract.pretrain.run import Job
    from extract.pretrain.sources import Progress, Source


def register(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(pretrain)


def pretrain(
    extractor: Annotated[
        str, typer.Argument(help="Name under `pretrain:` in params.yaml, or its extractor.")
    ],
    root: Root = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Train on the files in FOLDER/LABEL/ instead of a corpus.")
    ] = None,
    split: Annotated[
        str | None, typer.Option("--split", help="Another split; its features are named FEATURE@SPLIT.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Another seed.")] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train an extractor on train, epoch chosen on validation. Example: [dim]ercache pretrain audio/mel-resnet18[/]"""
    loaded = params()
    name, entry = _entry(loaded, extractor, folder)  # before torch is imported, which takes seconds
    import torch

    from extract.encoders.numba_cache import prepare
    from extract.pretrain.run import pretrain as run

    if entry.extractor.startswith("audio/"):
        prepare()
    if split is not None and split != entry.split:
        name, entry = f"{name}{FOLD}{split}", entry.model_copy(update={"split": split})
    if seed is not None:
        entry = entry.model_copy(update={"training": {**entry.training, "seed": seed}})
    with progress() as tick:
        job = _job(loaded, entry, root, device_of(device), tick)
    work = writable(default_store() / "pretrain", "store/pretrain")
    with training_table() as watch:
        result = run(
            name, entry.extractor, job, out=trained_extractors.FOLDER / name, work=work, device=device_of(device),
            threads=min(torch.get_num_threads(), cores()), tick=lambda epoch: watch(name, epoch),
        )  # fmt: skip
    if json:
        answer(result)
        return
    rows = [(metric, f"{value:.4f}") for metric, value in result["metrics"].items()]
    title = f"{name}: epoch {result['best_epoch']} of {result['epochs']}, chosen on validation"
    table(("metric on validation", "value"), rows, title=title)
    say(f"extractor: {result['path']}")


def _entry(loaded: Params, asked: str, folder: Path | None) -> tuple[str, PretrainParams]:
    """The entry that is named, or the only one of an extractor."""
    named = {name: entry for name, entry in loaded.pretrain.items() if asked in (name, entry.extractor)}
    if len(named) > 1:
        raise UsageError(
            f"{asked} is trained by more than one entry of params.yaml", hint=f"name one: {', '.join(named)}"
        )
    if not named:
        known = [*loaded.pretrain, *CONFIGS]
        raise UsageError(
            f"params.yaml has no training of {asked!r} under `pretrain:`", hint=nearest(asked, known)
        )
    name, entry = next(iter(named.items()))
    if folder is not None:
        entry = entry.model_copy(update={"folder": str(folder), "corpus": None})
    return name, entry


def _job(loaded: Params, entry: PretrainParams, root: Path | None, device: str, tick: "Progress") -> "Job":
    """The training with all that it may see."""
    from extract.pretrain.run import ImageJob, TextJob
    from extract.pretrain.texts import of_transcripts

    config_of, training_of = CONFIGS[entry.extractor]
    config, training = config_of(**entry.config), training_of(**entry.training)
    if entry.labels == "identity" and entry.corpus is not None:
        raise UsageError(
            "a corpus has no identities to train on", hint="give --folder DIR, or `labels: class`"
        )
    if isinstance(config, TextConfig):
        assert isinstance(training, TextTraining)
        if entry.corpus is None:
            raise UsageError(
                "texts come with their dialogues, which a folder has not", hint="name a corpus instead"
            )
        manifest, _ = manifest_and_root(entry.corpus, root, loaded, media=False)
        return TextJob(of_transcripts(manifest, entry.label_set, entry.split, config), config, training)
    assert isinstance(config, ExtractorConfig) and isinstance(training, ExtractorTraining)
    source = _source(loaded, entry, config, training.seed, root, device, tick)
    imagenet = _imagenet() if config.init == "imagenet" else None
    return ImageJob(source, config, training, imagenet)


def _source(
    loaded: Params,
    entry: PretrainParams,
    config: ExtractorConfig,
    seed: int,
    root: Path | None,
    device: str,
    tick: "Progress",
) -> "Source":
    from extract.pretrain.sources import Reading, of_corpus, of_folder

    if entry.corpus is None:
        folder = Path(os.path.expanduser(str(entry.folder)))
        if not folder.is_dir():
            raise UsageError(f"no folder {folder}", hint="give --folder DIR")
        return of_folder(folder, config, entry.labels == "identity", seed, tick)
    manifest, media = manifest_and_root(entry.corpus, root, loaded, media=True)
    assert media is not None
    reading = Reading(loaded.engine, loaded.faces, default_store(), media, device)
    return of_corpus(manifest, entry.label_set, entry.split, config, reading, tick)


def _imagenet() -> Any:
    (path,) = checked_files("resnet18").values()
    return read_tensors(path)
