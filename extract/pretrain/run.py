"""One training from its examples to the folder of an extractor: weights, record, ids seen, curves, quality, picture."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from safetensors.torch import save_file
from torch import Tensor

from ercache.digests import canonical_json, digest_of, digest_of_file
from ercache.files import atomic_folder, write_json
from ercache.trained_extractors import MODEL, RECORD, SEEN, TOKENIZER
from extract.pretrain.config import ExtractorConfig, ExtractorTraining, TextConfig, TextTraining
from extract.pretrain.curves import write_curves
from extract.pretrain.picture import draw
from extract.pretrain.quality import Embedded, quality
from extract.pretrain.sources import Source
from extract.pretrain.text_training import states_of, train_text
from extract.pretrain.texts import TextSource
from extract.pretrain.training import Tick, Trained, of, train_extractor

RECIPE: Final = 1  # raised when the same inputs would give other weights
LAST: Final = "last.safetensors"
PICTURE: Final = "embedding.png"
OF_IMAGES: Final = ("numpy", "librosa", "torch", "torchvision")  # packages that decide what comes out
OF_TEXTS: Final = ("numpy", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class ImageJob:
    """A training of one of the two extractors of images.

    Attributes:
        imagenet: tensors of the checkpoint resnet18, for `init: imagenet`.
    """

    source: Source
    config: ExtractorConfig
    training: ExtractorTraining
    imagenet: Mapping[str, Tensor] | None = None

    @property
    def packages(self) -> tuple[str, ...]:
        """Whose versions decide what comes out."""
        return OF_IMAGES


@dataclass(frozen=True)
class TextJob:
    """A training of the extractor of texts."""

    source: TextSource
    config: TextConfig
    training: TextTraining

    @property
    def packages(self) -> tuple[str, ...]:
        """Whose versions decide what comes out."""
        return OF_TEXTS


Job = ImageJob | TextJob


@dataclass(frozen=True)
class _Outcome:
    """What a job has made: the network, what it makes of train and dev, and files beside the weights."""

    trained: Trained
    train: Embedded
    dev: Embedded
    files: Mapping[str, str] = field(default_factory=dict)


def pretrain(
    name: str,
    extractor: str,
    job: Job,
    *,
    out: Path,
    work: Path,
    device: str = "cpu",
    threads: int = 1,
    tick: Tick = lambda _: None,
) -> dict[str, Any]:
    """Train an extractor and write its folder; a killed training goes on where it was.

    Args:
        name: under which features name it.
        extractor: key of the encoder that it is for.
        out: the folder, replaced as a whole.
        work: where the state of unfinished trainings lies.

    Returns:
        The answer of `ercache pretrain`.
    """
    run = digest_of(
        {
            "recipe": RECIPE,
            "extractor": extractor,
            "config": job.config.model_dump(mode="json"),
            "training": job.training.model_dump(mode="json"),
            "source": job.source.digest,
            "versions": _versions(job),
            "device": device.split(":")[0],
            "threads": threads,
        }
    )
    state = work / run
    outcome = _done(job, device, threads, state / "state.pt", tick)
    with atomic_folder(out) as folder:
        answer = _write(folder, name, extractor, job, outcome, run, device)
    shutil.rmtree(state, ignore_errors=True)
    return {**answer, "path": str(out)}


def _done(job: Job, device: str, threads: int, checkpoint: Path, tick: Tick) -> _Outcome:
    if isinstance(job, TextJob):
        trained = train_text(
            job.source, job.config, job.training,
            device=device, threads=threads, checkpoint=checkpoint, tick=tick,
        )  # fmt: skip
        network = trained.extractor.to(device)
        train, dev = (states_of(network, part, device) for part in (job.source.train, job.source.dev))
        files = {TOKENIZER: job.source.tokenizer.to_str(pretty=True)}
    else:
        trained = train_extractor(
            job.source.train, job.source.dev, job.config, job.training, imagenet=job.imagenet,
            identities=job.source.identities, device=device, threads=threads, checkpoint=checkpoint, tick=tick,
        )  # fmt: skip
        network = trained.extractor.to(device)
        train, dev = (of(network, part, device) for part in (job.source.train, job.source.dev))
        files = {}
    network.cpu()
    return _Outcome(trained, train, dev, files)


def _versions(job: Job) -> dict[str, str]:
    return {package: version(package) for package in job.packages}


def _write(
    folder: Path, name: str, extractor: str, job: Job, outcome: _Outcome, run: str, device: str
) -> dict[str, Any]:
    trained, source = outcome.trained, job.source
    past, identities = trained.progress, isinstance(source, Source) and source.identities
    about = {"ercache": canonical_json({"extractor": extractor, "run": run})}
    best = {k: v.contiguous() for k, v in trained.extractor.state_dict().items()}
    save_file(best, folder / MODEL, about)
    save_file(_of_extractor(past.last), folder / LAST, about)
    (folder / SEEN).write_text(canonical_json(source.seen) + "\n", encoding="utf-8")
    for file, text in outcome.files.items():
        (folder / file).write_text(text, encoding="utf-8")
    found = {} if identities else quality(outcome.train, outcome.dev, len(source.classes))
    method = draw(outcome.dev, source.classes, folder / PICTURE)
    write_curves(folder, past.history)
    metrics = {trained.score: past.best_score, **{f"validation_{k}": v for k, v in found.items()}}
    write_json(folder / "metrics.json", metrics)
    record = {
        "extractor": extractor,
        "name": name,
        "config": job.config.model_dump(mode="json"),
        "training": job.training.model_dump(mode="json"),
        "labels": "identity" if identities else "class",
        "classes": [] if identities else list(source.classes),
        "seen": {corpus: len(ids) for corpus, ids in source.seen.items()},
        "examples": {"train": len(source.train), "dev": len(source.dev)},
        "selected_on": trained.score,
        "best_epoch": past.best_epoch,
        "epochs": len(past.history),
        "metrics": metrics,
        "picture": method,
        "versions": _versions(job),
        "device": device.split(":")[0],
        "run": run,
        "sha256": {file: digest_of_file(folder / file) for file in (MODEL, SEEN, *outcome.files)},
    }
    write_json(folder / RECORD, record)
    told = ("extractor", "name", "examples", "selected_on", "best_epoch", "epochs", "metrics")
    return {key: record[key] for key in told}


def _of_extractor(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The extractor's part of a state that may hold a head too."""
    inside = "extractor."
    own = {k.removeprefix(inside): v for k, v in state.items() if k.startswith(inside)} or dict(state)
    return {k: v.contiguous() for k, v in own.items()}
