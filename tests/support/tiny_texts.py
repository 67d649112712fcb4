"""Tiny checkpoints with the architectures of the text encoders, and tokenizers trained on a few sentences."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import MPNetConfig, MPNetModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from ercache import trained_extractors
from ercache.digests import digest_of_file
from ercache.weights import Weights
from tests.support.checkpoints import tiny_checkpoint

SENTENCES = (
    "Oh my God! I am so happy that you could come to the party tonight, really.",
    "ROSS: Why not? We lost our old dog, and it hurts.",
    "MONICA: There is a fire in the kitchen, run! I’m scared.",
    "FEMALE: MALE: MARY: JAMES: The surprised kangaroo was asleep in the scene.",
)
Config = RobertaConfig | MPNetConfig


def sized(kind: type[RobertaConfig] | type[MPNetConfig], width: int) -> Config:
    """Config of a network with two layers of this width."""
    return kind(
        vocab_size=400,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=514,
        layer_norm_eps=1e-5,
        **({"type_vocab_size": 1} if kind is RobertaConfig else {}),
    )


ROBERTA, MPNET = (sized(kind, 32) for kind in (RobertaConfig, MPNetConfig))


@dataclass(frozen=True)
class Tiny:
    """A tiny checkpoint: its handle, and the network and tokenizer (of transformers) that it was saved from."""

    handle: Weights
    network: torch.nn.Module
    tokenizer: PreTrainedTokenizerFast


def bpe() -> Tokenizer:
    """Train a tokenizer like RoBERTa's: cased, byte-level BPE."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=marks, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def wordpiece() -> Tokenizer:
    """Train a tokenizer like MPNet's: uncased WordPiece."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=marks, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def network_of(kind: type, config: Config) -> torch.nn.Module:
    """Build a network with random weights, large enough that different texts give clearly different states."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind(config)
        for tensor in network.parameters():
            torch.nn.init.normal_(tensor, std=0.2)
    result: torch.nn.Module = network.eval()
    return result


@contextmanager
def taken_in(folder: Path, keys: Sequence[str]) -> Iterator[dict[str, Tiny]]:
    """Context manager: tiny checkpoints under these keys.

    A key that contains `mpnet` gets an MPNet, any other key a RoBERTa. Each checkpoint has a head that no feature uses.
    """
    with ExitStack() as stack:
        yield {
            key: stack.enter_context(one(folder, key, MPNET if "mpnet" in key else ROBERTA)) for key in keys
        }


def made_here(folder: Path, name: str) -> Tiny:
    """Write a tiny RoBERTa as `ercache pretrain` does, but without the record (`extractor.json`)."""
    network, tokenizer = network_of(RobertaModel, ROBERTA), bpe()
    place = trained_extractors.extractor_folder(folder, name)
    place.mkdir(parents=True)
    bare = {n: t.contiguous() for n, t in network.state_dict().items() if not n.startswith("pooler.")}
    save_file(bare, place / trained_extractors.MODEL)
    (place / trained_extractors.TOKENIZER).write_text(tokenizer.to_str(), encoding="utf-8")
    handle = Weights(f"{trained_extractors.PREFIX}{name}", data=folder)
    return Tiny(handle, network, _of_transformers(tokenizer))


def write_record(place: Path, extractor: str, config: dict[str, Any]) -> None:
    """Write the record (`extractor.json`) of a trained extractor: its encoder, switches, and the sha256 of files."""
    digests = {
        file: digest_of_file(place / file)
        for file in (trained_extractors.MODEL, trained_extractors.TOKENIZER)
    }
    record = {"extractor": extractor, "config": config, "sha256": digests, "run": "0"}
    (place / trained_extractors.RECORD).write_text(json.dumps(record), encoding="utf-8")


def _of_transformers(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    marks = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks)


@contextmanager
def one(folder: Path, key: str, config: Config) -> Iterator[Tiny]:
    """Context manager: one tiny checkpoint under this key."""
    if isinstance(config, MPNetConfig):
        network, tokenizer, prefix = network_of(MPNetModel, config), wordpiece(), "mpnet."
    else:
        network, tokenizer, prefix = network_of(RobertaModel, config), bpe(), "roberta."
    tensors = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    files = {"tokenizer.json": tokenizer.to_str(), "config.json": network.config.to_dict()}
    with tiny_checkpoint(key, folder, {**tensors, "lm_head.bias": torch.zeros(3)}, files):
        yield Tiny(Weights(key), network, _of_transformers(tokenizer))
