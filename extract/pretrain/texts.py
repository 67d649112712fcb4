"""Load the labelled transcripts of a corpus for training the text extractor, and the tokenizer for them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ercache.digests import digest_of
from ercache.errors import UsageError
from ercache.manifest import Manifest, Utterance
from ercache.weights import Weights, provenance
from extract.encoders.base import Neighbour, Sample
from extract.encoders.text.roberta import max_neighbours
from extract.encoders.text.tokenization import END, PAD, START, UNKNOWN, open_tokenizer, plain_tokenizer
from extract.encoders.text.turn_reader import TurnReader
from extract.pretrain.config import TextConfig
from extract.pretrain.entry import classes_of
from extract.text.dialogue_context import with_speaker
from extract.text.normalise import tidy

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SUBSETS_READ: Final = ("train", "dev")  # subsets of a split that a training may read
BATCHES_SORTED_TOGETHER: Final = 8  # batches of similar length are cut from this many batches in random order


@dataclass(frozen=True)
class Texts:
    """N labelled utterances as token ids, for training or validating the text extractor.

    Attributes:
        ids: ids of the utterances in the corpus, [N].
        labels: class index of each utterance, [N].
        tokens: token ids of each utterance, including its neighbours in the dialogue and special tokens.
    """

    ids: tuple[str, ...]
    labels: Tensor
    tokens: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, size: int, random: torch.Generator) -> Iterator[list[int]]:
        """Yield the batches of one epoch in random order, each as a list of at most `size` indices of utterances.

        Utterances with similar numbers of tokens share a batch, to need less padding.
        """
        order = torch.randperm(len(self), generator=random).tolist()
        cut: list[list[int]] = []
        for start in range(0, len(order), size * BATCHES_SORTED_TOGETHER):
            block = sorted(
                order[start : start + size * BATCHES_SORTED_TOGETHER], key=lambda n: len(self.tokens[n])
            )
            cut += [block[n : n + size] for n in range(0, len(block), size)]
        for n in torch.randperm(len(cut), generator=random).tolist():
            yield cut[n]


@dataclass(frozen=True)
class TextSource:
    """The training and validation data of the text extractor.

    Attributes:
        train, dev: texts for training and validation.
        tokenizer: tokenizer of the checkpoint, or one trained on the training texts.
        classes: names of the labels; a class index points into this tuple.
        seen: dict from the name of the corpus to the ids of all utterances in `train` and `dev` and of the neighbours
            that were read with them.
        digest: hash of tokens, labels, tokenizer and checkpoint.
    """

    train: Texts
    dev: Texts
    tokenizer: "Tokenizer"
    classes: tuple[str, ...]
    seen: dict[str, list[str]]
    digest: str


def source_of_transcripts(manifest: Manifest, label_set: str, split: str, config: TextConfig) -> TextSource:
    """Load the labelled utterances in the train and dev subsets of a split, each with its neighbours in the dialogue.

    If a split divides a dialogue, neighbours in another subset are not read: training sees no test data.

    Args:
        manifest: manifest of the corpus.
        label_set: name of the label set whose labels are learned.
        split: name of the split.
        config: parameters of the extractor.

    Raises:
        UsageError: the corpus has no such label set or split, or the train or dev subset has no labelled text.
        WeightsError: the checkpoint from which the training starts is absent.
    """
    classes = classes_of(manifest, label_set, split)
    subsets = {name: frozenset(ids) for name, ids in manifest.splits[split].items()}
    samples, read = _samples(manifest, subsets, config)
    own = [u for u in manifest.utterances if u.id in samples and u.labels.get(label_set)]
    labels = {u.id: classes.index(str(u.labels[label_set])) for u in own}
    train = [s for i, s in samples.items() if i in subsets.get("train", ()) and i in labels]
    if config.checkpoint is not None:
        tokenizer = open_tokenizer(Weights(config.checkpoint))
    else:
        said = [with_speaker(tidy(s.text, config.events), s.speaker, config.names) for s in train]
        tokenizer = byte_pairs(said, config.vocabulary)
    reader = TurnReader(tokenizer, config.names, config.events, bool(config.past), bool(config.future))
    parts = {
        n: _texts(samples, labels, subsets.get(n, frozenset()), reader, f"{split}/{n}") for n in SUBSETS_READ
    }
    began = None if config.checkpoint is None else provenance(config.checkpoint)
    rows = [[list(t.ids), t.labels.tolist(), [list(row) for row in t.tokens]] for t in parts.values()]
    ids = [u.id for u in manifest.utterances if u.id in read]
    return TextSource(
        parts["train"],
        parts["dev"],
        tokenizer,
        classes,
        {manifest.corpus: ids},
        digest_of([rows, tokenizer.to_str(), began]),
    )


def _samples(
    manifest: Manifest, subsets: Mapping[str, frozenset[str]], config: TextConfig
) -> tuple[dict[str, Sample], set[str]]:
    """Collect the utterances of the train and dev subsets with their neighbours.

    Return a dict from the id of an utterance to its `Sample`, and the ids of all utterances, neighbours included.
    """
    dialogues: dict[str, list[Utterance]] = {}
    for u in manifest.utterances:
        dialogues.setdefault(u.dialogue, []).append(u)
    found: dict[str, Sample] = {}
    read: set[str] = set()
    past, future = max_neighbours(config.past), max_neighbours(config.future)
    for dialogue in dialogues.values():
        for here, u in enumerate(dialogue):
            own = next((name for name in SUBSETS_READ if u.id in subsets.get(name, ())), None)
            if own is None:
                continue
            others = frozenset().union(*(ids for name, ids in subsets.items() if name != own))
            near = dialogue[max(0, here - past) : here], dialogue[here + 1 : here + 1 + future]
            before, after = ([n for n in side if n.id not in others] for side in near)
            read |= {n.id for n in (*before, u, *after)}
            found[u.id] = Sample(
                u.text,
                speaker=_speaker(u, config),
                before=_turns(before, config),
                after=_turns(after, config),
            )
    return found, read


def _turns(utterances: Sequence[Utterance], config: TextConfig) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(u.text, speaker=_speaker(u, config)) for u in utterances)


def _speaker(u: Utterance, config: TextConfig) -> str | None:
    return None if config.names == "none" else u.speaker


def _texts(
    samples: Mapping[str, Sample],
    labels: Mapping[str, int],
    ids: frozenset[str],
    reader: TurnReader,
    what: str,
) -> Texts:
    kept = [(i, s) for i, s in samples.items() if i in ids and i in labels and reader.has_text(s)]
    if not kept:
        raise UsageError(
            f"split/subset {what}: no labelled utterance has a text",
            hint="choose another label set or split, or scan the corpus again with its transcripts",
        )
    return Texts(
        tuple(i for i, _ in kept),
        torch.tensor([labels[i] for i, _ in kept]),
        tuple(reader.sequence(s).ids for _, s in kept),
    )


def byte_pairs(texts: Sequence[str], vocabulary: int) -> "Tokenizer":
    """Train a tokenizer on texts; it works like that of RoBERTa (byte-level BPE, upper and lower case, `<s>`, `</s>`).

    `vocabulary` is the largest number of tokens in its vocabulary.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing((END, 2), (START, 0), add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[START, PAD, END, UNKNOWN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return plain_tokenizer(tokenizer)
