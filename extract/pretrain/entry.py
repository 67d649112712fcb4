"""Find a training run under `pretrain:` in params.yaml, and apply the options of the command line to it."""

from pathlib import Path

from ercache.errors import UsageError
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
    """Find a training run by its name, or by the key of its extractor if only one run trains this extractor.

    A key stands for a run of params.yaml. The runs of papers, which have files of their own, are found by their names.

    Args:
        params: content of params.yaml.
        wanted: name under `pretrain:` in params.yaml, or key of an extractor.
        folder: train on the labelled files in this folder instead of a corpus.
        split: train on another split; the name of the run becomes `<name>@<split>`.
        seed: train with another seed.

    Returns:
        Name and parameters of the training run, with the options applied.

    Raises:
        UsageError: no run or several runs fit, or the parameters contradict each other.
    """
    own = {name: e for name, e in params.pretrain.items() if file_of(params, "pretrain", name) is None}
    named = {name: entry for name, entry in own.items() if wanted == entry.extractor}
    named |= {wanted: params.pretrain[wanted]} if wanted in params.pretrain else {}
    if len(named) > 1:
        raise UsageError(
            f"params.yaml has more than one training run of {wanted}",
            hint=f"give the name of one of them: {', '.join(named)}",
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
    """Return whether the training run reads audio or video files; otherwise it reads transcripts only."""
    return not issubclass(CONFIGS[entry.extractor][0], TextConfig)


def _check(entry: PretrainParams) -> None:
    if entry.labels == "identity" and entry.corpus is not None:
        raise UsageError(
            "`labels: identity` needs a folder of labelled files",
            hint="give --folder DIR, or set `labels: class` under `pretrain:` in params.yaml",
        )
    if entry.corpus is None and not reads_media(entry):
        raise UsageError(
            "the text extractor needs dialogues; a folder of labelled files has none",
            hint="leave out --folder and set `corpus` under `pretrain:` in params.yaml",
        )
