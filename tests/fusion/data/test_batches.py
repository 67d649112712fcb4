"""Subsets and padded batches: absent, unlabelled and padded positions are marked."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ercache.manifest import Manifest
from ercache.training.losses import IGNORED
from fusion.data import batches
from fusion.data.batches import Batch, PaddedBatches, Subset, make_subset, standardized, statistics_of
from fusion.data.cache_reader import ModalityFeatures
from fusion.data.modality_dropout import drop_modalities
from fusion.data.windows import WHOLE_DIALOGUES, spans_of
from tests.support.toy_corpus import CLASSES, toy_manifest


def modalities(manifest: Manifest) -> dict[str, ModalityFeatures]:
    """Text is the number of the utterance; every third utterance lacks audio."""
    n = len(manifest.utterances)
    rank = np.arange(n, dtype=np.float32)[:, None]
    has = np.arange(n) % 3 != 0
    return {
        "text": ModalityFeatures(
            np.concatenate([rank, np.full_like(rank, 7)], axis=1), np.ones(n, dtype=bool)
        ),
        "audio": ModalityFeatures(np.where(has[:, None], rank, 0).astype(np.float32), has),
    }


def subset(name: str = "train", manifest: Manifest | None = None) -> Subset:
    manifest = manifest or toy_manifest()
    rows = {u.id: i for i, u in enumerate(manifest.utterances)}
    return make_subset(
        manifest, name, manifest.splits["official"][name], "emotion7", rows, modalities(manifest)
    )


def test_a_batch_holds_its_dialogues_and_empty_padding() -> None:
    train = subset()
    batch = PaddedBatches(train).batch([3, 0])
    assert batch.mask.sum(1).tolist() == train.lengths[[3, 0]].tolist() == [6, 3]
    assert batch.features["text"][1, :, 0].tolist() == [0, 1, 2, 0, 0, 0]
    assert batch.features["text"][0, :, 0].tolist() == [12, 13, 14, 15, 16, 17]
    assert batch.present["audio"][1].tolist() == [False, True, True, False, False, False]
    assert batch.speakers[0].tolist() == [0, 1, 0, 1, 0, 1]
    known = [
        CLASSES.index(u.labels["emotion7"]) if u.labels["emotion7"] else IGNORED for u in train.utterances[:3]
    ]
    assert batch.labels[1].tolist() == [*known, IGNORED, IGNORED, IGNORED]
    assert batch.labels[0, 3] == IGNORED  # the toy corpus leaves the fourth utterance unlabelled


def test_every_utterance_comes_once_an_epoch() -> None:
    padded = PaddedBatches(subset())
    ranks = [b.features["text"][b.mask][:, 0] for b in padded.shuffled(3, torch.Generator().manual_seed(1))]
    assert sorted(torch.cat(ranks).tolist()) == list(range(len(padded.subset.utterances)))
    other = [b.features["text"][b.mask][:, 0] for b in padded.shuffled(3, torch.Generator().manual_seed(2))]
    assert torch.cat(ranks).tolist() != torch.cat(other).tolist()


def long_subset() -> Subset:
    """40 dialogues of 1 to 20 utterances; the text feature of an utterance is its row."""
    train = subset()
    lengths = torch.arange(40) % 20 + 1
    n = int(lengths.sum())
    rank = torch.arange(n, dtype=torch.float32)[:, None]
    return replace(
        train,
        utterances=train.utterances[:1] * n,
        in_subset=torch.ones(n, dtype=torch.bool),
        offsets=torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)]),
        features={"text": rank},
        present={"text": torch.ones(n, dtype=torch.bool)},
        speakers=torch.zeros(n, dtype=torch.long),
        labels=torch.zeros(n, dtype=torch.long),
    )


def test_batches_of_an_epoch_depend_on_the_seed_and_hold_similar_lengths() -> None:
    padded = PaddedBatches(long_subset())

    def epoch(seed: int) -> list[list[float]]:
        order = torch.Generator().manual_seed(seed)
        return [b.features["text"][b.mask].flatten().tolist() for b in padded.shuffled(4, order)]

    assert epoch(1) == epoch(1) and epoch(1) != epoch(2)
    assert len(epoch(1)) == 10
    assert sorted(row for rows in epoch(1) for row in rows) == list(range(420))
    masks = [b.mask for b in padded.shuffled(4, torch.Generator().manual_seed(1))]
    assert sum(m.numel() for m in masks) < 1.25 * 420  # random batches of 4 hold about 1.6 times as much


def test_no_batch_holds_more_than_its_budget_of_padded_utterances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_UTTERANCES", 30)
    padded = PaddedBatches(long_subset())
    trained = [b.mask for b in padded.shuffled(8, torch.Generator().manual_seed(1))]
    for masks in (trained, [b.mask for _, _, b in padded.by_length(8)]):
        assert all(m.numel() <= 30 and len(m) <= 8 for m in masks)
        assert sum(int(m.sum()) for m in masks) == 420


def test_rows_of_spans_are_valid_even_for_empty_dialogues() -> None:
    spans = spans_of(WHOLE_DIALOGUES, torch.tensor([0, 2, 2, 5]))
    rows, mask = spans.rows(torch.tensor([2, 1, 0]), 3)
    assert mask.tolist() == [[True] * 3, [False] * 3, [True, True, False]]
    assert rows[mask].tolist() == [2, 3, 4, 0, 1] and int(rows.max()) < 5 and int(rows.min()) >= 0
    short = spans_of(WHOLE_DIALOGUES, torch.tensor([0, 1, 1]))
    assert short.rows(torch.tensor([1]), 2)[0].tolist() == [[0, 0]]


def test_rows_of_evaluation_batches_point_at_their_utterances() -> None:
    padded = PaddedBatches(subset())
    for rows, has_target, batch in padded.by_length(3):
        assert torch.equal(has_target, batch.mask)
        assert torch.equal(rows[batch.mask].float(), batch.features["text"][batch.mask][:, 0])


def test_statistics_use_only_present_utterances_of_train() -> None:
    train, dev = subset(), subset("dev")
    statistics = statistics_of(train)
    seen = train.features["audio"][train.present["audio"]]
    assert statistics.mean["audio"].item() == pytest.approx(seen.mean().item())
    assert statistics.std["audio"].item() == pytest.approx(seen.std(correction=0).item())
    assert statistics.std["text"][1] == 1  # a constant dimension
    after = standardized(dev, statistics)
    assert (after.features["audio"][~dev.present["audio"]] == 0).all()
    assert torch.equal(after.features["text"][:, 1], torch.zeros(len(dev.utterances)))


def test_utterances_outside_the_subset_are_context_without_labels() -> None:
    manifest = toy_manifest()
    ids = manifest.splits["official"]["train"]
    halves = {"train": ids[1:], "dev": ids[:1], "test": ()}
    manifest = replace(manifest, splits={"official": halves})
    train, dev = subset("train", manifest), subset("dev", manifest)
    assert len(train.utterances) == len(ids) and not train.in_subset[0] and train.labels[0] == IGNORED
    assert len(dev.utterances) == 3 and dev.in_subset.tolist() == [True, False, False]
    assert (dev.labels[1:] == IGNORED).all()
    assert train.missing() == {"text": 0, "audio": int((~train.present["audio"])[1:].sum())}


def test_dialogues_without_a_label_are_no_training_batch() -> None:
    train = subset()
    train.labels[:3] = IGNORED
    batches = list(PaddedBatches(train).shuffled(100, torch.Generator()))
    assert len(batches) == 1 and len(batches[0].labels) == len(train.lengths) - 1


def dropped(name: str = "train", manifest: Manifest | None = None) -> Subset:
    manifest = manifest or toy_manifest()
    rows = {u.id: i for i, u in enumerate(manifest.utterances)}
    ids = manifest.splits["official"][name]
    return make_subset(manifest, name, ids, "emotion7", rows, modalities(manifest), drop_unlabelled=True)


def test_unlabelled_utterances_are_context_or_dropped() -> None:
    kept, left = subset(), dropped()
    # Dialogues of 3, 4, 5, 6, 3, 4, 5, 6 utterances; the fourth of each has no label.
    assert kept.lengths.tolist() == [3, 4, 5, 6, 3, 4, 5, 6]
    assert left.lengths.tolist() == [3, 3, 4, 5, 3, 3, 4, 5]
    assert (kept.labels == IGNORED).sum() == 6 and (left.labels == IGNORED).sum() == 0
    assert [u.id for u in left.utterances] == [
        u.id for u in kept.utterances if u.labels["emotion7"] is not None
    ]
    assert left.in_subset.all() and torch.equal(left.labels, kept.labels[kept.labels != IGNORED])
    assert torch.equal(left.features["text"], kept.features["text"][kept.labels != IGNORED])
    assert PaddedBatches(left).batch([3]).mask.tolist() == [[True] * 5]
    assert kept.missing()["audio"] > left.missing()["audio"]


def test_speakers_are_numbered_after_utterances_are_dropped() -> None:
    manifest = toy_manifest()
    first = replace(manifest.utterances[0], labels={"emotion7": None}, speaker="C")
    manifest = replace(manifest, utterances=(first, *manifest.utterances[1:]))
    assert subset(manifest=manifest).speakers[:3].tolist() == [0, 1, 2]
    assert dropped(manifest=manifest).speakers[:2].tolist() == [0, 1]


def test_a_dialogue_without_a_label_is_dropped_with_its_utterances() -> None:
    manifest = toy_manifest()
    mute = [
        replace(u, labels={"emotion7": None}) if u.dialogue == "train_d1" else u for u in manifest.utterances
    ]
    manifest = replace(manifest, utterances=tuple(mute))
    assert len(subset(manifest=manifest).lengths) == 8
    left = dropped(manifest=manifest)
    assert len(left.lengths) == 7 and "train_d1" not in {u.dialogue for u in left.utterances}
    assert [len(b.labels) for b in PaddedBatches(left).shuffled(100, torch.Generator())] == [7]


def test_labelled_utterances_of_other_subsets_stay_as_context() -> None:
    manifest = toy_manifest()
    ids = manifest.splits["official"]["train"]
    # The second dialogue, of four: its first utterance is of dev, its fourth has no label.
    halves = {"train": tuple(i for i in ids if i != "train_d1_u0"), "dev": ("train_d1_u0",), "test": ()}
    manifest = replace(manifest, splits={"official": halves})
    dev = dropped("dev", manifest)
    assert [u.index for u in dev.utterances] == [0, 1, 2]
    assert dev.in_subset.tolist() == [True, False, False] and (dev.labels[1:] == IGNORED).all()


def test_modality_dropout_leaves_out_some_and_never_all_of_an_utterance() -> None:
    present = torch.tensor([[True, True, True, False]]).repeat(200, 1)
    batch = Batch(
        features={m: torch.ones(200, 4, 3) * present.unsqueeze(-1) for m in ("text", "audio")},
        present={"text": present, "audio": present & torch.tensor([True, True, False, False])},
        mask=present,
        speakers=torch.zeros(200, 4, dtype=torch.long),
        labels=torch.zeros(200, 4, dtype=torch.long),
    )
    left = drop_modalities(batch, 0.4, torch.Generator().manual_seed(0))
    both = left.present["text"] | left.present["audio"]
    assert torch.equal(both, present), "what an utterance has, it keeps in part"
    assert torch.equal(left.present["text"][:, 2], present[:, 2]), "its only modality stays"
    assert not (left.present["audio"] & ~batch.present["audio"]).any()
    for m in ("text", "audio"):
        assert torch.equal(left.features[m].sum(-1) > 0, left.present[m])
    gone = 1 - left.present["text"][:, :2].float().mean()
    assert 0.17 < float(gone) < 0.31  # 0.4 (1 - 0.4) = 0.24: where both would go, both stay
    again = drop_modalities(batch, 0.4, torch.Generator().manual_seed(0))
    assert torch.equal(again.present["text"], left.present["text"])
    assert torch.equal(batch.features["text"].sum(-1) > 0, present), "the batch itself is left alone"
