"""One training from its examples to the folder of an extractor: weights, record, ids seen, curves, quality, picture."""

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from safetensors.torch import save_file
from torch import Tensor

from ercache.digests import canonical_json, digest_of, digest_of_file
from ercache.files import replaced_folder, write_csv, write_json
from ercache.made import MODEL, RECORD, SEEN
from extract.pretrain.config import ExtractorConfig, ExtractorTraining
from extract.pretrain.picture import draw
from extract.pretrain.quality import quality
from extract.pretrain.sources import Source
from extract.pretrain.training import Tick, Trained, of, train_extractor

RECIPE: Final = 1  # raised when the same inputs would give other weights
LAST: Final = "last.safetensors"
PICTURE: Final = "embedding.png"
PACKAGES: Final = ("numpy", "librosa", "torch", "torchvision")


def pretrain(
    name: str,
    extractor: str,
    source: Source,
    config: ExtractorConfig,
    training: ExtractorTraining,
    *,
    out: Path,
    work: Path,
    imagenet: Mapping[str, Tensor] | None = None,
    device: str = "cpu",
    threads: int = 1,
    tick: Tick = lambda *_: None,
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
            "config": config.model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            "source": source.digest,
            "versions": {package: version(package) for package in PACKAGES},
            "device": device.split(":")[0],
            "threads": threads,
        }
    )
    state = work / run
    trained = train_extractor(
        source.train, source.dev, config, training, imagenet=imagenet, identities=source.identities,
        device=device, threads=threads, checkpoint=state / "state.pt", tick=tick,
    )  # fmt: skip
    with replaced_folder(out) as folder:
        answer = _write(folder, name, extractor, source, config, training, trained, run, device)
    shutil.rmtree(state, ignore_errors=True)
    return {**answer, "path": str(out)}


def _write(
    folder: Path,
    name: str,
    extractor: str,
    source: Source,
    config: ExtractorConfig,
    training: ExtractorTraining,
    trained: Trained,
    run: str,
    device: str,
) -> dict[str, Any]:
    past = trained.progress
    about = {"ercache": canonical_json({"extractor": extractor, "run": run})}
    best = {k: v.contiguous() for k, v in trained.extractor.state_dict().items()}
    save_file(best, folder / MODEL, about)
    save_file(_of_extractor(past.last), folder / LAST, about)
    (folder / SEEN).write_text(canonical_json(source.seen) + "\n", encoding="utf-8")
    embedded = of(trained.extractor, source.train), of(trained.extractor, source.dev)
    found = {} if source.identities else quality(*embedded, len(source.classes))
    method = draw(embedded[1], source.classes, folder / PICTURE)
    names = [key for key in past.history[0] if key != "epoch"]
    write_csv(
        folder / "curves.csv",
        ("epoch", *names),
        [[int(r["epoch"]), *(r[n] for n in names)] for r in past.history],
    )
    metrics = {trained.score: past.best_score, **{f"validation_{k}": v for k, v in found.items()}}
    write_json(folder / "metrics.json", metrics)
    record = {
        "extractor": extractor,
        "name": name,
        "config": config.model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "labels": "identity" if source.identities else "class",
        "classes": [] if source.identities else list(source.classes),
        "seen": {corpus: len(ids) for corpus, ids in source.seen.items()},
        "images": {"train": len(source.train), "dev": len(source.dev)},
        "selected_on": trained.score,
        "best_epoch": past.best_epoch,
        "epochs": len(past.history),
        "metrics": metrics,
        "picture": method,
        "versions": {package: version(package) for package in PACKAGES},
        "device": device.split(":")[0],
        "run": run,
        "sha256": {file: digest_of_file(folder / file) for file in (MODEL, SEEN)},
    }
    write_json(folder / RECORD, record)
    told = ("extractor", "name", "images", "selected_on", "best_epoch", "epochs", "metrics")
    return {key: record[key] for key in told}


def _of_extractor(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The extractor's part of a state that may hold a head too."""
    inside = "extractor."
    own = {k.removeprefix(inside): v for k, v in state.items() if k.startswith(inside)} or dict(state)
    return {k: v.contiguous() for k, v in own.items()}
