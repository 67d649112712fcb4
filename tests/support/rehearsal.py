"""Rehearse the road of a paper as a person goes it: a miniature corpus, small checkpoints, `ercache init`, `dvc repro`.

The checkpoints have random weights. If the files of a checkpoint state the size of its network, the network is tiny;
otherwise it has its published size.
"""

import gzip
import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import torch
import torchvision
import yaml
from transformers import BertConfig, BertModel, MPNetConfig, RobertaConfig, ViTConfig, ViTModel

from ercache.weights import convert
from extract.encoders.audio import mel_vit, passt
from tests.e2e.conftest import ROOT, Project
from tests.support import tiny_audio, tiny_texts, tiny_visual
from tests.support.checkpoints import tiny_checkpoint

SOUNDS: Final = {
    "wav2vec2-large": "audio/wav2vec2-large",
    "wavlm-base-plus": "audio/wavlm-base-plus",
}  # checkpoint -> encoder
TEXTS: Final = {"roberta-base": 768, "roberta-large": 1024, "mpnet": 768}  # checkpoint -> width
FACES: Final = {"dan-affectnet7": "dan", "efficientface": "efficientface", "jaa-net": "jaa-net"}
CONCEPTNET: Final = "conceptnet-assertions-5.7.0.csv.gz"
BERT: Final = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}


@contextmanager
def small_checkpoints(folder: Path, keys: Iterable[str]) -> Iterator[None]:
    """Context manager: these checkpoints are in the weights store, also for processes started inside the `with` block.

    Raises:
        KeyError: there is no small version of a checkpoint.
    """
    torch.manual_seed(0)
    with ExitStack() as stack:
        for key in keys:
            if key in TEXTS:
                kind = MPNetConfig if key == "mpnet" else RobertaConfig
                stack.enter_context(tiny_texts.one(folder, key, tiny_texts.sized(kind, TEXTS[key])))
            elif key == "conceptnet":
                stack.enter_context(tiny_checkpoint("conceptnet-here", folder, {"one": torch.ones(1)}))
                convert(key, _relations(folder / CONCEPTNET))
            else:
                stack.enter_context(tiny_checkpoint(key, folder, *_content(key, folder)))
        yield


def _content(key: str, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return the tensors of a small checkpoint (or the path of their file), and its other files."""
    if key == "vit-large-in21k":  # Cues reads its last layers, too
        config = mel_vit.CONFIGS[key]
        network = ViTModel(ViTConfig.from_dict(config), add_pooling_layer=True)
        return {tiny_audio.older_vit(n): t for n, t in network.state_dict().items()}, {"config.json": config}
    if key in SOUNDS:
        depth = {"num_hidden_layers": 24} if key == "wav2vec2-large" else {}  # the paper reads its last layer
        network, _, files, published = tiny_audio.network_of(SOUNDS[key], **depth)
        return {published(name): tensor for name, tensor in network.state_dict().items()}, files
    if key in FACES:
        _, tensors, files = tiny_visual.MAKERS[FACES[key]](folder)
        return tensors, files
    if key in ("resnet18", "resnet50"):
        return torchvision.models.get_model(key, weights=None).state_dict(), {}
    if key == "bert-large":
        config = BertConfig(vocab_size=99, **BERT)
        return {f"bert.{n}": t for n, t in BertModel(config).state_dict().items()}, {
            "config.json": config.to_dict()
        }
    return {"passt": passt.build}[key]().state_dict(), {}


def _relations(path: Path) -> Path:
    rows = [
        f"/a/x\t/r/IsA\t/c/en/{a}\t/c/en/{b}/n\t{{}}\n" for a, b in (("zebra", "animal"), ("fire", "heat"))
    ]
    path.write_bytes(gzip.compress("".join(rows).encode()))
    return path


def make_checkout(folder: Path, epochs: int = 1) -> Project:
    """Make a project as a clone has it, a Git and DVC repository, whose papers train for few epochs and one seed."""
    for name in (
        "params.yaml",
        "papers",
        "fusion/papers",
        "extract/versions.yaml",
        "docs/benchmarks.json",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    for path in (folder / "papers").glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for entry in content.get("pretrain", {}).values():
            entry["training"] = {**entry.get("training", {}), "epochs": epochs, "patience": epochs}
        for runs in content["corpora"].values():
            for entry in runs["experiments"].values():
                entry["training"] = {
                    "recipe": entry["training"],
                    "epochs": epochs,
                    "patience": epochs,
                    "seeds": 1,
                }
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    (folder / ".gitignore").write_text("/store\n/tiny\n/data\n/params.local.yaml\n", encoding="utf-8")
    project = Project(folder, folder / "store", passed=("ERCACHE_WEIGHTS", "ERCACHE_CHECKPOINTS"))
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        project.run(*command)
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots", dirs_exist_ok=True)
    return project


def identities(folder: Path, people: int = 40, images: int = 6) -> None:
    """Write a folder of faces in the form of CASIA-WebFace: one subfolder for each person."""
    from PIL import Image

    drawn = torch.Generator().manual_seed(0)
    for person in range(people):
        base = torch.randint(0, 256, (8, 8, 3), generator=drawn, dtype=torch.uint8)
        for number in range(images):
            noise = torch.randint(0, 32, base.shape, generator=drawn, dtype=torch.uint8)
            picture = Image.fromarray((base // 2 + noise).numpy()).resize((64, 64))
            path = folder / f"{person:07}" / f"{number:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
