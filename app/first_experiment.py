"""Build the first experiment of the user's own corpus, which `ercache init` adds: a simple model on its features."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ercache.errors import UsageError
from ercache.manifest import MODALITIES, Manifest
from ercache.params.schema import Params
from fusion.experiment.defaults import default_label_set, default_split

OF_CONVERSATIONS: Final = "bc_lstm"  # reads whole dialogues
OF_CLIPS: Final = "concat"  # reads each utterance by itself
SUBSETS: Final = ("train", "dev", "test")


def first_experiment(
    manifest: Manifest, features: Mapping[str, Sequence[str]], loaded: Params
) -> tuple[dict[str, Any] | None, str]:
    """Build the entry of a first experiment for params.yaml.

    Args:
        manifest: manifest of the corpus.
        features: names of the features that the experiment uses, by modality.
        loaded: contents of params.yaml.

    Returns:
        Two values: a dictionary from the name of the experiment to its entry, and "". If there is nothing to train on:
            None, and a text that says why.
    """
    if not features:
        return None, "no feature has one vector for each utterance"
    try:
        label_set, split = _label_set(manifest), default_split(manifest)
    except UsageError as error:
        return None, f"{'; '.join([error.message, *error.details])} -> {error.hint}"
    labelled = {
        u.id for u in manifest.utterances if any(u.labels.get(s) for s in manifest.sets_of(label_set))
    }
    empty = [s for s in SUBSETS if labelled.isdisjoint(manifest.splits[split].get(s, ()))]
    if empty:
        return None, f"split {split!r}: no label in {' and '.join(empty)}"
    turns = len(manifest.utterances) > len({u.dialogue for u in manifest.utterances})
    model = OF_CONVERSATIONS if turns else OF_CLIPS
    entry = {
        "model": model,
        "corpus": manifest.corpus,
        "label_set": label_set,
        "split": split,
        "features": {m: list(features[m]) for m in MODALITIES if m in features},
    }
    taken = loaded.experiments.get(manifest.corpus)
    name = (
        manifest.corpus if taken is None or taken.corpus == manifest.corpus else f"{manifest.corpus}_{model}"
    )
    return {name: entry}, ""


def _label_set(manifest: Manifest) -> str:
    """Return the name of the first label set of the manifest in which an utterance has a label."""
    used = [s for s in manifest.label_sets if any(u.labels.get(s) is not None for u in manifest.utterances)]
    return used[0] if used else default_label_set(manifest)
