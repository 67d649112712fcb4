"""Tiny checkpoints of the audio networks: full width, one or two layers, random tensors, published file layout."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ercache.nets.speech_networks import build
from ercache.weights import Weights
from extract.encoders import ENCODERS
from extract.encoders.audio import emotion2vec, mel_vit, passt, whisper
from extract.encoders.audio.speech import SpeechKind
from extract.encoders.base import Encoder
from tests.support.checkpoints import tiny_checkpoint

TINY_SPEECH = {
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "conv_dim": [32] * 7,
    "num_conv_pos_embeddings": 16,
}
TINY_WHISPER = {**whisper.CONFIG, "encoder_layers": 1, "encoder_ffn_dim": 64, "decoder_layers": 1}
TINY_VIT = {**mel_vit.CONFIGS["vit-large-in21k"], "num_hidden_layers": 3, "intermediate_size": 64}
OLD_NAMES = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


@dataclass(frozen=True)
class Tiny:
    """A tiny network in memory, and its checkpoint on disk. `weights` is the handle of the checkpoint."""

    key: str
    network: Any
    config: dict[str, Any]
    weights: Weights

    def encoder(self, **params: Any) -> Encoder:
        """Build the encoder with this checkpoint."""
        kind = ENCODERS[self.key]
        return kind(kind.Params(**params), "cpu", self.weights)


@dataclass
class Shelf:
    """A dictionary of tiny checkpoints. Each one is made when it is first needed."""

    folder: Path
    stack: ExitStack
    made: dict[str, Tiny] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Tiny:
        if key not in self.made:
            self.made[key] = self._make(key)
        return self.made[key]

    def _make(self, key: str) -> Tiny:
        torch.manual_seed(len(self.made))
        network, config, files, rename = network_of(key)
        state = {rename(name): tensor for name, tensor in network.state_dict().items()}
        return Tiny(key, network, config, self.bring(f"tiny-{key.split('/')[1]}", state, files))

    def bring(self, name: str, state: dict[str, torch.Tensor], files: dict[str, Any]) -> Weights:
        """Add the files of a checkpoint under a name, as `ercache weights add` does."""
        self.stack.enter_context(tiny_checkpoint(name, self.folder, state, files))
        return Weights(name)


@contextmanager
def shelf(folder: Path) -> Iterator[Shelf]:
    """Context manager: an empty dictionary of tiny checkpoints that are made when needed.

    PaSST and emotion2vec have no config.json, so the depth in their code is patched.
    """
    import pytest

    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setattr(passt, "DEPTH", 1)
        patch.setattr(emotion2vec, "DEPTHS", (1, 1))
        yield Shelf(folder, stack)


def network_of(key: str, **changes: Any) -> tuple[Any, dict[str, Any], dict[str, Any], Callable[[str], str]]:
    """Build the tiny network of an encoder.

    Args:
        changes: other entries of the config of a speech network.

    Returns:
        The network, its config, its other files, and a function that gives the published name of each tensor.
    """
    kind = ENCODERS[key]
    if isinstance(kind, SpeechKind):
        facts = kind.network
        config = {**facts.config, **TINY_SPEECH, "model_type": facts.family, **changes}
        files = {"config.json": config, "preprocessor_config.json": {"do_normalize": facts.normalised}}
        prefix = "" if facts.emotion else f"{facts.family}."
        network = build(facts.family, config, facts.emotion).eval()
        return network, config, files, lambda name: prefix + older(name)
    if key == "audio/whisper-small":
        network = whisper.build(TINY_WHISPER).eval()
        return network, TINY_WHISPER, {"config.json": TINY_WHISPER}, lambda name: f"model.encoder.{name}"
    if key == "audio/mel-vit":
        from transformers.models.vit.modeling_vit import ViTConfig, ViTModel

        network = ViTModel(ViTConfig.from_dict(TINY_VIT), add_pooling_layer=True).eval()
        return network, TINY_VIT, {"config.json": TINY_VIT}, older_vit
    network = (passt if key == "audio/passt" else emotion2vec).build().eval()
    return network, {}, {}, str


def older(name: str) -> str:
    """Translate a tensor name of a speech network to the name before transformers 5."""
    for new, old in OLD_NAMES.items():
        name = name.replace(new, old)
    return name


def older_vit(name: str) -> str:
    """Translate a tensor name of a ViT to the name before transformers 5."""
    pairs = (
        ("layers.", "encoder.layer."),
        ("attention.q_proj.", "attention.attention.query."),
        ("attention.k_proj.", "attention.attention.key."),
        ("attention.v_proj.", "attention.attention.value."),
        ("attention.o_proj.", "attention.output.dense."),
        ("mlp.fc1.", "intermediate.dense."),
        ("mlp.fc2.", "output.dense."),
    )
    for new, old in pairs:
        name = name.replace(new, old)
    return name


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Random noise with a standard deviation of a tenth of full scale."""
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)
