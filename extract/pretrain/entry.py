"""Find the training run that `ercache pretrain NAME` means in params.yaml, and apply the command's options to it."""

from pathlib import Path

from ercache.errors import UsageError
from ercache.manifest import Manifest
from ercache.params.load import suggestion
from ercache.params.papers import file_of
from ercache.params.schema import SPLIT_MARK, Params, PretrainParams
from extract.pretrain.config import CONFIGS, TextConfig


def training_entry(
    params: Params,
    wanted: str,
    *,
    folder: Path | None = None,
    split: str | None = None,
    seed: int | None = None,
) -> tuple[str, PretrainParams]:
    """Find a training run of an extractor in params.yaml, and apply options of the command line to it.

    A run is found by its name, or by the key of the encoder that it trains if only one run trains this encoder. Runs
    in the files of papers are found only by name.

    Args:
        params: content of params.yaml and of the papers' files.
        wanted: name of the run under `pretrain:`, or key of an encoder, such as `audio/mel-resnet18`.
        folder: if given, train on the labelled files in this folder instead of a corpus.
        split: if given, train on this split; the name of the run becomes `<name>@<split>`.
        seed: if given, train with this seed.

    Returns:
        Name and parameters of the training run, with the options applied.

    Raises:
        UsageError: no run or several runs fit, or the options and parameters contradict each other.
    """
    own = {name: e for name, e in params.pretrain.items() if file_of(params, "pretrain", name) is None}
    named = {name: entry for name, entry in own.items() if wanted == entry.extractor}
    named |= {wanted: params.pretrain[wanted]} if wanted in params.pretrain else {}
    if len(named) > 1:
        raise UsageError(
            f"params.yaml has more than one training run for the encoder {wanted}",
            hint=f"give the name of one of these runs: {', '.join(named)}",
        )
    if not named:
        hint = suggestion(wanted, [*params.pretrain, *CONFIGS])
        raise UsageError(f"params.yaml has no training run {wanted!r} under `pretrain:`", hint=hint)
    ((name, entry),) = named.items()
    if folder is not None:
        entry = entry.model_copy(update={"folder": str(folder), "corpus": None})
    if split is not None and split != entry.split:
        name, entry = f"{name}{SPLIT_MARK}{split}", entry.model_copy(update={"split": split})
    if seed is not None:
        entry = entry.model_copy(update={"training": {**entry.training, "seed": seed}})
    _check(entry)
    return name, entry


def reads_media(entry: PretrainParams) -> bool:
    """Return True if a training run reads audio or video files, and False if it reads only transcripts."""
    return not issubclass(CONFIGS[entry.extractor][0], TextConfig)


def _check(entry: PretrainParams) -> None:
    if entry.labels == "identity" and entry.corpus is not None:
        raise UsageError(
            "a training run with `labels: identity` needs a folder of labelled files, not a corpus",
            hint="give --folder DIR, or set `labels: class` in the run under `pretrain:` in params.yaml",
        )
    if entry.corpus is None and not reads_media(entry):
        raise UsageError(
            "the text extractor needs dialogues, so it cannot be trained on a folder of labelled files",
            hint="leave out --folder, and set `corpus` in the run under `pretrain:` in params.yaml",
        )


def classes_of(manifest: Manifest, label_set: str, split: str) -> tuple[str, ...]:
    """Return the classes that a training run learns from a corpus.

    Args:
        manifest: manifest of the corpus.
        label_set: name of the label set whose labels are learned.
        split: name of the split whose train and dev subsets are read.

    Raises:
        UsageError: the corpus has no such label set or split.
    """
    if label_set not in manifest.label_sets:
        raise UsageError(
            f"the corpus {manifest.corpus} has no label set {label_set!r}",
            hint=suggestion(label_set, manifest.label_sets),
        )
    if split not in manifest.splits:
        raise UsageError(
            f"the corpus {manifest.corpus} has no split {split!r}", hint=suggestion(split, manifest.splits)
        )
    return tuple(manifest.label_sets[label_set])
