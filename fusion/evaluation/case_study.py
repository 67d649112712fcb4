"""Case study: the predictions and attention weights of a trained AVAFN model for one dialogue."""

from pathlib import Path
from typing import Any

import torch

from ercache.errors import UsageError
from ercache.params.load import suggestion
from ercache.training.losses import IGNORED
from fusion.data.batches import Batch, PaddedBatches, standardized_on_device
from fusion.evaluation.evaluate import load_model, source_of
from fusion.experiment.source import SUBSETS, Source
from fusion.models.avafn.model import Avafn
from fusion.runs.schema import RunRecord, read_run
from fusion.runs.weights import read_statistics


def case_study(model_dir: Path, data: Path, dialogue: str, seed: int = 0) -> dict[str, Any]:
    """Run one dialogue of L turns through a trained AVAFN model, and return predictions and attention weights.

    Args:
        model_dir: the run folder.
        data: folder with the manifest and the caches that the run was trained on.
        dialogue: name of the dialogue in the manifest.
        seed: seed of the model; a run has one model for each seed.

    Returns:
        `{"dialogue", "seed", "turns": [{"id", "speaker", "text", "label", "predicted"}], "audio_attention",
        "history_weights"}`. `audio_attention` [L, L] holds the attention weights of each turn's video (row) over the
        audio of all turns (softmax of Eq. 2). `history_weights` [L - 1] holds the attention weights of the last turn
        over the context states of the earlier turns (Eq. 9b).

    Raises:
        UsageError: the split has no such dialogue; or the model is no AVAFN on audio and video with cross-attention and
            with one context attention score for each earlier turn.

    Source: docs/papers/avafn.md.
    """
    run = read_run(model_dir)
    source, subset = _found(run, data, dialogue)
    model = load_model(model_dir / f"seed{seed}", run)
    if not isinstance(model, Avafn) or not model.explains:
        raise UsageError(
            f"{model_dir}: this model lacks the attention weights that a case study shows",
            hint="train an `avafn` on audio and visual, with `use_cam: true`, `use_acm: true` and "
            "`context_attention: scalar_tanh`",
        )
    raw = source.subset(subset)
    rank = next(
        d for d, start in enumerate(raw.offsets[:-1].tolist()) if raw.utterances[start].dialogue == dialogue
    )
    start, end = raw.offsets[rank : rank + 2].tolist()
    batch = PaddedBatches(
        standardized_on_device(raw, read_statistics(model_dir / f"seed{seed}"), "cpu"), source.window
    ).batch([rank])
    turns = raw.utterances[start:end]
    predicted = _predicted(model, batch)
    labels = raw.labels[start:end].tolist()
    return {
        "dialogue": dialogue,
        "seed": seed,
        "turns": [
            {
                "id": u.id,
                "speaker": u.speaker,
                "text": u.text,
                "label": None if label == IGNORED else run.classes[label],
                "predicted": run.classes[guess],
            }
            for u, label, guess in zip(turns, labels, predicted, strict=True)
        ],
        "audio_attention": model.cross_attention(batch)["visual"][0].tolist(),
        "history_weights": model.history_weights(batch)[0, 0].tolist(),
    }


@torch.no_grad()
def _predicted(model: Avafn, batch: Batch) -> list[int]:
    found: list[int] = model(batch)[0].argmax(-1).tolist()
    return found


def _found(run: RunRecord, data: Path, dialogue: str) -> tuple[Source, str]:
    """Find the subset (train, dev or test) that holds a dialogue.

    Returns:
        Two values: the features and labels read for this subset; the name of the subset.
    """
    known: set[str] = set()
    for name in SUBSETS:
        source = source_of(run, data, name)
        held = {u.dialogue for u in source.subset(name).utterances}
        if dialogue in held:
            return source, name
        known |= held
    raise UsageError(f"no dialogue {dialogue!r} in split {run.split!r}", hint=suggestion(dialogue, known))
