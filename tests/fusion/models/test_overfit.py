"""Every neural model learns twenty conversations by heart, with all its modalities."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from ercache.manifest import read_manifest
from ercache.training.losses import IGNORED, masked_cross_entropy
from fusion.data.batches import PaddedBatches, Subset, make_subset, standardized, statistics_of
from fusion.data.cache_reader import read_modalities, read_sequences
from fusion.data.ragged import Ragged
from fusion.models import MODELS

NEURAL = ("concat", "bc_lstm", "transformer", "dialogue_rnn", "mmgcn", "m2fnet", "avafn")
DEMO = Path(__file__).parents[3] / "data"
FEATURES = {"text": ["minilm"], "audio": ["prosody", "mfcc"], "visual": ["face_hog"]}
SEQUENCES = {
    "avtca": {"audio": ["mfcc"], "visual": ["face_hog:frames"]},
    "cues": {"text": ["minilm:tokens"], "audio": ["mfcc_coarse"]},
    "amuse": {"text": ["minilm:tokens"], "audio": ["mfcc_coarse"], "visual": ["face_hog:frames"]},
}


def synthetic(dialogues: int = 20, seed: int = 0) -> Subset:
    """Conversations of two to eight turns and two or three speakers; features are independent of the labels."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, 9, (dialogues,), generator=draw)
    n = int(lengths.sum())
    present = {m: torch.rand(n, generator=draw) > 0.05 for m in FEATURES}
    widths = {"text": 48, "audio": 20, "visual": 24}
    features = {m: torch.randn(n, w, generator=draw) * present[m][:, None] for m, w in widths.items()}
    speakers, labels = (torch.randint(most, (n,), generator=draw) for most in (3, 7))
    return Subset(
        name="train",
        utterances=(),
        in_subset=torch.ones(n, dtype=torch.bool),
        offsets=torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)]),
        features=features,
        present=present,
        speakers=speakers,
        labels=labels,
        all_labels=labels,
    )


def with_steps(subset: Subset, roles: dict[str, tuple[str, int, int]], seed: int = 0) -> Subset:
    """The same conversations with steps of each role in place of vectors.

    Args:
        roles: role -> modality, width, least number of steps; an utterance has up to eleven more.
    """
    draw = torch.Generator().manual_seed(seed)
    sequences = {}
    for role, (modality, width, least) in roles.items():
        more = torch.randint(12, (len(subset.labels),), generator=draw)
        lengths = (least + more) * subset.present[modality]
        values = torch.randn(int(lengths.sum()), width, generator=draw)
        sequences[role] = Ragged(modality, values, lengths.cumsum(0) - lengths, lengths)
    present = {modality: subset.present[modality] for modality, _, _ in roles.values()}
    return replace(subset, features={}, present=present, sequences=sequences)


def accuracy_by_heart(key: str, subset: Subset, epochs: int) -> float:
    """Accuracy on train after some epochs without dropout or decay; the learning rate falls to 0."""
    entry = MODELS[key]
    torch.manual_seed(0)
    roles = [role for named in entry.roles.values() for role in named]
    widths = {m: w for m, w in subset.widths.items() if m in (roles or entry.modalities)}
    model = entry.build(widths, 7, entry.resolve("small", {"dropout": 0.0}))
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3, weight_decay=0.0, fused=True)
    padded, order = PaddedBatches(subset), torch.Generator().manual_seed(0)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 + math.cos(math.pi * epoch / epochs)) / 2
        for batch in padded.shuffled(10, order):
            optimizer.zero_grad()
            masked_cross_entropy(model(batch), batch.labels)[0].backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    model.eval()
    right = total = 0
    with torch.no_grad():
        for _, _, batch in padded.by_length():
            known = batch.labels != IGNORED
            right += int((model(batch).argmax(-1) == batch.labels)[known].sum())
            total += int(known.sum())
    return right / total


@pytest.mark.parametrize("key", NEURAL)
def test_twenty_dialogues_are_learned_by_heart(key: str) -> None:
    assert accuracy_by_heart(key, synthetic(), 50) > 0.99


@pytest.mark.parametrize(
    "key, roles, epochs",
    [
        # Four blocks leave nothing of less than 13 frames of sound.
        ("avtca", {"audio": ("audio", 6, 13), "visual": ("visual", 8, 1)}, 40),
        ("cues", {"text": ("text", 8, 1), "audio": ("audio", 6, 1)}, 60),
        # test_models.py has a toy set for it: here, an epoch takes most of a second.
        pytest.param(
            "amuse",
            {"text": ("text", 8, 1), "audio": ("audio", 6, 1), "face": ("visual", 7, 1)},
            30,
            marks=pytest.mark.full,
        ),
    ],
)
def test_utterances_of_twenty_dialogues_are_learned_by_heart_from_their_steps(
    key: str, roles: dict[str, tuple[str, int, int]], epochs: int
) -> None:
    subset = with_steps(synthetic(), roles)
    lost = ~torch.stack(list(subset.present.values())).any(0)
    assert not lost.all()
    subset = replace(subset, labels=subset.labels.masked_fill(lost, IGNORED))  # nothing to learn them from
    assert accuracy_by_heart(key, subset, epochs) > 0.99


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("key", (*NEURAL, *SEQUENCES))
@pytest.mark.skipif(
    not (DEMO / "caches/demo").is_dir(), reason="the demo corpus is not extracted (make demo)"
)
def test_twenty_dialogues_of_the_demo_are_learned_by_heart(key: str) -> None:
    manifest = read_manifest(DEMO / "manifests/demo.jsonl")
    entry, caches = MODELS[key], DEMO / "caches"
    modalities, sequences = {}, {}
    if key in SEQUENCES:
        sequences, findings = read_sequences(caches, manifest, SEQUENCES[key], ["train"], entry.roles)
    else:
        features = {m: names for m, names in FEATURES.items() if m in entry.modalities}
        modalities, findings = read_modalities(caches, manifest, features, ["train"])
    assert findings.problems == []
    rows = {u.id: i for i, u in enumerate(manifest.of_part("train"))}
    dialogues = list(dict.fromkeys(u.dialogue for u in manifest.of_part("train")))[:20]
    ids = [u.id for u in manifest.of_part("train") if u.dialogue in dialogues]
    subset = make_subset(manifest, "train", ids, "emotion7", rows, modalities, sequences=sequences)
    subset = standardized(subset, statistics_of(subset))
    assert accuracy_by_heart(key, subset, 150) > 0.99
