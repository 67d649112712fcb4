"""Train an extractor and write its folder: weights, record of the training, ids of the utterances seen, and scores."""

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
from ercache.weights import provenance
from extract.pretrain.config import ExtractorConfig, ExtractorTraining, TextConfig, TextTraining
from extract.pretrain.curves import write_curves
from extract.pretrain.picture import draw
from extract.pretrain.quality import EmbeddingSet, quality
from extract.pretrain.sources import ImageSource
from extract.pretrain.text_training import states_of, train_text
from extract.pretrain.texts import TextSource
from extract.pretrain.training import Tick, Trained, embed_examples, train_extractor

RECIPE: Final = 1  # raise it when the same inputs would give other weights
LAST_FILE: Final = "last.safetensors"
PICTURE: Final = "embedding.png"
OF_IMAGES: Final = ("numpy", "librosa", "torch", "torchvision")  # packages whose versions affect the result
OF_TEXTS: Final = ("numpy", "tokenizers", "torch", "transformers")


@dataclass(frozen=True)
class ImageJob:
    """All that is needed to train one of M2FNet's two image extractors: data, parameters and initial weights.

    Attributes:
        source: the training and validation data.
        config: parameters of the extractor.
        training: epochs, learning rate and other optimisation parameters.
        imagenet: weights of the checkpoint resnet18, from which `init: imagenet` starts; None for `init: scratch`.
    """

    source: ImageSource
    config: ExtractorConfig
    training: ExtractorTraining
    imagenet: Mapping[str, Tensor] | None = None

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of the Python packages whose versions can change the trained weights; the record contains them."""
        return OF_IMAGES


@dataclass(frozen=True)
class TextJob:
    """All that is needed to train the text extractor `text/m2fnet-roberta`: data and parameters."""

    source: TextSource
    config: TextConfig
    training: TextTraining

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of the Python packages whose versions can change the trained weights; the record contains them."""
        return OF_TEXTS


PretrainJob = ImageJob | TextJob


@dataclass(frozen=True)
class _TrainedJob:
    """The result of training an extractor: the network, its embeddings of training and validation data, more files.

    `files` maps names to the contents of files that the extractor also needs, such as its tokenizer.
    """

    trained: Trained
    train: EmbeddingSet
    dev: EmbeddingSet
    files: Mapping[str, str] = field(default_factory=dict)


def pretrain(
    name: str,
    extractor: str,
    job: PretrainJob,
    *,
    out: Path,
    work: Path,
    device: str = "cpu",
    threads: int = 1,
    tick: Tick = lambda _: None,
) -> dict[str, Any]:
    """Train an extractor and write its folder. If an equal training run was interrupted, continue it.

    Args:
        name: name of the trained extractor; features in params.yaml refer to it by this name.
        extractor: key of the encoder that uses the trained network, such as `audio/mel-resnet18`.
        job: data, parameters and initial weights.
        out: folder to write; an existing folder is replaced as a whole.
        work: folder for the state of interrupted training runs.
        device: torch device.
        threads: number of threads of torch.
        tick: function that is called after each epoch, with its scores.

    Returns:
        What `ercache pretrain` prints as JSON: encoder, name, number of examples, best epoch, metrics and so on.
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
    outcome = _train(job, device, threads, state / "state.pt", tick)
    with atomic_folder(out) as folder:
        answer = _write(folder, name, extractor, job, outcome, run, device)
    shutil.rmtree(state, ignore_errors=True)
    return {**answer, "path": str(out)}


def _train(job: PretrainJob, device: str, threads: int, checkpoint: Path, tick: Tick) -> _TrainedJob:
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
        train, dev = (embed_examples(network, part, device) for part in (job.source.train, job.source.dev))
        files = {}
    network.cpu()
    return _TrainedJob(trained, train, dev, files)


def _versions(job: PretrainJob) -> dict[str, str]:
    return {package: version(package) for package in job.packages}


def _write(
    folder: Path, name: str, extractor: str, job: PretrainJob, outcome: _TrainedJob, run: str, device: str
) -> dict[str, Any]:
    trained, source = outcome.trained, job.source
    past, identities = trained.progress, isinstance(source, ImageSource) and source.identities
    about = {"ercache": canonical_json({"extractor": extractor, "run": run})}
    best = {k: v.contiguous() for k, v in trained.extractor.state_dict().items()}
    save_file(best, folder / MODEL, about)
    save_file(_of_extractor(past.last), folder / LAST_FILE, about)
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
        "checkpoint": provenance(key) if (key := getattr(job.config, "checkpoint", None)) else None,
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
    answered_keys = ("extractor", "name", "examples", "selected_on", "best_epoch", "epochs", "metrics")
    return {key: record[key] for key in answered_keys}


def _of_extractor(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the extractor from the weights of the trained model, without a classification head."""
    inside = "extractor."
    own = {k.removeprefix(inside): v for k, v in state.items() if k.startswith(inside)} or dict(state)
    return {k: v.contiguous() for k, v in own.items()}
