"""Sequence features: from a cache to a batch, where alone they are padded, and through a training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from ercache.cache import ArraySpec, Entry, Status, content_digest
from ercache.cache_writer import write_cache
from ercache.errors import UsageError
from ercache.manifest import Manifest, write_manifest
from fusion.data.batches import Batch, PaddedBatches, Statistics, standardized, statistics_of
from fusion.data.modality_dropout import drop_modalities
from fusion.data.ragged import Ragged, concatenate_ragged, ragged_of_packed, scatter_to_grid, step_rows
from fusion.data.windows import ContextWindow
from fusion.evaluation.evaluate import evaluate
from fusion.experiment.source import Source, read_source
from fusion.layers.label_losses import Loss
from fusion.models import MODELS
from fusion.models.base import ModelEntry, Widths
from fusion.training.run import train_experiment
from tests.support.toy_corpus import CLASSES, toy_manifest, toy_params

ROLES = {"text": ("words",), "visual": ("face", "back")}
FEATURES = {"text": ["tokens"], "visual": ["faces:frames", "backs:frames"]}


def steps_of(manifest: Manifest, width: int, every: int = 0, seed: int = 0) -> dict[str, np.ndarray]:
    """Utterance -> 1 to 6 steps that depend on its label; each `every`-th utterance has none."""
    rng = np.random.default_rng(seed)
    found = {}
    for n, u in enumerate(manifest.utterances):
        x = rng.normal(size=(int(rng.integers(1, 7)), width)).astype("f4")
        if u.labels["emotion7"] is not None:
            x[:, CLASSES.index(str(u.labels["emotion7"]))] += 2
        if not every or n % every:
            found[u.id] = x
    return found


def write_steps(
    data: Path,
    manifest: Manifest,
    feature: str,
    modality: str,
    steps: Mapping[str, np.ndarray],
    array: str,
    dtype: str,
) -> None:
    for part in manifest.parts:
        ids = [u.id for u in manifest.of_part(part)]
        arrays = {i: {array: steps[i].astype(dtype), "pooled": steps[i][:1]} for i in ids if i in steps}
        entries = [
            Entry(i, Status.OK, "", 1, "", content_digest(arrays[i]))
            if i in arrays
            else Entry(i, Status.MISSING, "no_face")
            for i in ids
        ]
        shape = next(iter(steps.values())).shape[1:]
        specs = [
            ArraySpec(array, "sequence", ("step", "dim"), shape, dtype),
            ArraySpec("pooled", "vector", ("utterance", "dim"), shape),
        ]
        made = {"corpus": manifest.corpus, "part": part, "feature": feature, "encoder": f"toy/{feature}", "version": 1,
                "params": {}, "weights": None, "context": {"past": 0, "future": 0}}  # fmt: skip
        write_cache(
            data / "caches" / manifest.corpus / modality / f"{feature}.{part}.h5",
            specs,
            entries,
            arrays,
            made,
        )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A toy corpus with words (float16), faces for four of five utterances, and backgrounds."""
    manifest = toy_manifest()
    write_manifest(manifest, tmp_path / "manifests" / "toy.jsonl")
    write_steps(tmp_path, manifest, "tokens", "text", steps_of(manifest, 6), "tokens", "float16")
    write_steps(
        tmp_path, manifest, "faces", "visual", steps_of(manifest, 5, every=5, seed=1), "frames", "float32"
    )
    write_steps(tmp_path, manifest, "backs", "visual", steps_of(manifest, 4, seed=2), "frames", "float32")
    return tmp_path


class NoSwitches(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MeanOfSteps(nn.Module):
    """logits = sum over roles of W_role mean(steps). Its objective is twice the experiment's loss."""

    def __init__(self, widths: Widths, classes: int, config: NoSwitches) -> None:
        super().__init__()
        self.out = nn.ModuleDict({role: nn.Linear(width, classes) for role, width in widths.items()})
        self.begun: list[int] = []

    def forward(self, batch: Batch) -> Tensor:
        logits = torch.zeros(*batch.mask.shape, len(CLASSES))
        for role, steps in batch.steps.items():
            mean = steps.values.sum(1) / steps.mask.sum(1, keepdim=True)
            logits = logits + scatter_to_grid(self.out[role](mean), steps.places, batch.mask)
        return logits

    def on_epoch_start(self, epoch: int) -> None:
        self.begun.append(epoch)

    def objective(self, batch: Batch, measure: Loss) -> tuple[Tensor, int]:
        loss, count = measure(self(batch), batch.labels)
        return 2 * loss, count


@pytest.fixture(autouse=True)
def toy_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry with a model on sequences added."""
    entry = ModelEntry(
        "mean_of_steps",
        "toy",
        ("erc", "epc"),
        ("text", "visual"),
        NoSwitches,
        {"small": {}},
        MeanOfSteps,
        roles=ROLES,
    )
    monkeypatch.setitem(MODELS.known, entry.key, entry)


def source_of(data: Path, **entry: Any) -> Source:
    params = toy_params(model="mean_of_steps", **{"features": FEATURES, **entry})
    return read_source(data, params.experiments["exp"])


def literal(batch: Batch, subset_ids: list[str], own: Mapping[str, np.ndarray], role: str) -> None:
    """Every step of a batch, one by one."""
    steps = batch.steps[role]
    held = dict(zip(steps.places.tolist(), range(len(steps.places)), strict=True))
    for place, utterance in enumerate(subset_ids):
        if utterance and utterance in own:
            k = held.pop(place)
            n = len(own[utterance])
            assert steps.mask[k].tolist() == [True] * n + [False] * (steps.mask.shape[1] - n)
            np.testing.assert_allclose(steps.values[k, :n].numpy(), own[utterance], atol=4e-3)
            assert not steps.values[k, n:].any()
    assert not held


@pytest.mark.parametrize(
    "role, width, every, seed", [("words", 6, 0, 0), ("face", 5, 5, 1), ("back", 4, 0, 2)]
)
def test_a_batch_holds_every_step_of_its_utterances_and_no_other(
    data: Path, role: str, width: int, every: int, seed: int
) -> None:
    subset = source_of(data).subset("train")
    own = steps_of(toy_manifest(), width, every, seed)
    for rows, mask, batch in PaddedBatches(subset).by_length(3):
        ids = [
            subset.utterances[r].id if m else ""
            for r, m in zip(rows.flatten().tolist(), mask.flatten().tolist(), strict=True)
        ]
        literal(batch, ids, own, role)
    assert subset.features == {} and subset.widths == {"words": 6, "face": 5, "back": 4}
    assert subset.sequences["words"].values.dtype == torch.float16  # as the cache holds them
    # Some face or what is behind: the modality is there; which of them, the steps tell.
    assert subset.present["visual"].all() and not subset.sequences["face"].present.all()


def test_steps_are_standardised_over_train_and_integers_are_not(data: Path) -> None:
    subset = source_of(data).subset("train")
    own = steps_of(toy_manifest(), 5, 5, 1)
    seen = np.concatenate([own[u.id] for u in subset.utterances if u.id in own]).astype("f8")
    found = statistics_of(subset)
    np.testing.assert_allclose(found.mean["face"].numpy(), seen.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.std["face"].numpy(), seen.std(0), atol=1e-6)
    batch = PaddedBatches(standardized(subset, found)).batch(range(3))
    raw = PaddedBatches(subset).batch(range(3))
    wanted = (raw.steps["face"].values - found.mean["face"]) / found.std["face"]
    face = batch.steps["face"]
    assert (
        torch.allclose(face.values[face.mask], wanted[face.mask], atol=1e-6)
        and not face.values[~face.mask].any()
    )
    crops = ragged_of_packed("visual", np.arange(12, dtype=np.uint8).reshape(3, 4), np.array([0, 2, 3]))
    assert crops.statistics(torch.tensor([0, 1])) is None
    picked = crops.gather(torch.tensor([[1]]), torch.tensor([[True]]))
    assert picked.values.dtype == torch.uint8 and picked.values.tolist() == [[[8, 9, 10, 11]]]


def test_nothing_of_the_target_or_later_is_gathered_in_prediction(data: Path) -> None:
    source = source_of(data, task="epc")
    subset = source.subset("train")
    padded = PaddedBatches(subset, ContextWindow(ahead=1))
    rows, _, batch = next(iter(padded.by_length(1)))
    assert int(rows.max()) == 1 and batch.mask.shape[1] == 1  # one heard utterance, the second is the target
    own = steps_of(toy_manifest(), 6)
    literal(batch, [subset.utterances[0].id], own, "words")


def test_batches_of_long_utterances_are_smaller_and_scores_do_not_depend_on_it(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subset = source_of(data).subset("train")
    model = MeanOfSteps(subset.widths, 3, NoSwitches())
    logits = torch.zeros(len(subset.utterances), 3)

    def filled() -> tuple[int, Tensor]:
        count = 0
        for rows, mask, batch in PaddedBatches(subset).by_length():
            logits[rows[mask]] = model(batch)[mask].detach()
            count += 1
        return count, logits.clone()

    few, whole = filled()
    monkeypatch.setattr("fusion.data.batches.MAX_NUMBERS", 200)
    many, cut = filled()
    assert few == 1 < many and torch.allclose(whole, cut, atol=1e-5)


def test_modality_dropout_takes_the_steps_too(data: Path) -> None:
    batch = PaddedBatches(source_of(data).subset("train")).batch(range(8))
    left = drop_modalities(batch, 0.5, torch.Generator().manual_seed(0))
    for role, steps in left.steps.items():
        present = left.present[steps.modality].flatten()
        assert present[steps.places].all() and 0 < len(steps.places) < len(batch.steps[role].places)
        kept = batch.steps[role].where_present(left.present[steps.modality])
        assert torch.equal(steps.values, kept.values) and torch.equal(steps.mask, kept.mask)


def test_a_subset_shares_the_values_and_copies_none() -> None:
    whole = ragged_of_packed("text", np.arange(20, dtype="f4").reshape(10, 2), np.array([0, 3, 3, 5, 10]))
    part = whole.select(torch.tensor([2, 0]))
    assert part.values.data_ptr() == whole.values.data_ptr() and len(part.values) == 5
    assert part.starts.tolist() == [3, 0] and part.lengths.tolist() == [2, 3]
    assert whole.select(torch.tensor([1])).present.tolist() == [False]
    nothing = whole.select(torch.tensor([1])).gather(torch.tensor([[0]]), torch.tensor([[True]]))
    assert (
        nothing.values.shape == (0, 1, 2)
        and scatter_to_grid(torch.ones(0, 3), nothing.places, torch.ones(1, 1)).sum() == 0
    )


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=3), st.randoms())
def test_steps_of_joined_parts_are_those_of_their_utterances(parts: list[list[int]], chance: Any) -> None:
    count, pieces = 0, []
    for lengths in parts:
        total = sum(lengths)
        packed = np.arange(count, count + total, dtype="f4")[:, None]
        pieces.append(ragged_of_packed("text", packed, np.cumsum([0, *lengths])))
        count += total
    joined = concatenate_ragged(pieces)
    lengths = [n for part in parts for n in part]
    order = list(range(len(lengths)))
    chance.shuffle(order)
    picked = joined.select(torch.tensor(order))
    starts = np.cumsum([0, *lengths])[order]
    wanted = [starts[i] + t for i, u in enumerate(order) for t in range(lengths[u])]
    assert picked.values[step_rows(picked.starts, picked.lengths)].flatten().tolist() == wanted
    grid = picked.gather(torch.arange(len(order))[None], torch.ones(1, len(order), dtype=torch.bool))
    assert grid.values[grid.mask].flatten().tolist() == wanted


def test_nan_and_infinite_values_are_found_by_utterance(data: Path) -> None:
    manifest = toy_manifest()
    steps = steps_of(manifest, 6)
    steps["train_d1_u2"][0, 0], steps["dev_d0_u0"][-1, 5] = np.nan, np.inf
    write_steps(data, manifest, "tokens", "text", steps, "tokens", "float32")
    with pytest.raises(UsageError) as told:
        source_of(data)
    words = "\n".join(told.value.details)
    assert "tokens.train.h5: NaN or infinite values in train_d1_u2" in words
    assert "tokens.dev.h5: NaN or infinite values in dev_d0_u0" in words


def test_unsuitable_arrays_and_numbers_of_features_are_reported_together(data: Path) -> None:
    with pytest.raises(UsageError) as told:
        source_of(data, features={"text": ["tokens:pooled"], "visual": ["faces:nothing"]})
    words = "\n".join(told.value.details)
    assert (
        "no array named 'pooled' of kind sequence, of which this model takes one (arrays: pooled (vector), tokens"
        in words
    )
    assert "no array named 'nothing' of kind sequence" in words
    with pytest.raises(UsageError) as many:
        train_experiment(
            "exp", toy_params(model="mean_of_steps", features={"text": ["tokens", "tokens"]}), data
        )
    assert "modality 'text' names 2 features, this model takes 1 (words)" in many.value.details[0]
    with pytest.raises(UsageError) as pooled:
        train_experiment("exp", toy_params(model="concat", features={"text": ["tokens:tokens"]}), data)
    assert "of kind vector, which a pooled model takes" in pooled.value.details[0]


def test_a_feature_with_several_sequences_must_say_which(data: Path) -> None:
    manifest = toy_manifest()
    for part in manifest.parts:
        ids = [u.id for u in manifest.of_part(part)]
        arrays = {i: {"a": np.zeros((1, 2), "f4"), "b": np.zeros((2, 2), "f4")} for i in ids}
        specs = [ArraySpec(name, "sequence", ("step", "dim"), (2,)) for name in "ab"]
        entries = [Entry(i, Status.OK, "", 1, "", content_digest(arrays[i])) for i in ids]
        made = {"corpus": "toy", "part": part, "feature": "two", "encoder": "toy/two"}
        write_cache(data / "caches" / "toy" / "text" / f"two.{part}.h5", specs, entries, arrays, made)
    with pytest.raises(UsageError, match="do not fit the experiment") as told:
        source_of(data, features={"text": ["two"]})
    assert (
        "several arrays of kind sequence" in told.value.details[0]
        and "FEATURE:ARRAY" in told.value.details[0]
    )
    assert source_of(data, features={"text": ["two:b"]}).subset("dev").sequences["words"].lengths.eq(2).all()


def test_a_model_on_steps_is_trained_and_scored_again_from_the_caches(data: Path) -> None:
    params = toy_params(
        model="mean_of_steps", features=FEATURES, training={"seeds": 2, "epochs": 20, "batch": 4, "lr": 0.05}
    )
    answer = train_experiment("exp", params, data, work=data / "work")
    assert answer["test"]["weighted_f1"]["mean"] > 0.7
    again = evaluate(data / "models" / "exp", data)
    assert again["test"] == answer["test"]


def test_a_model_may_have_its_own_objective_and_epoch_hooks(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    monkeypatch.setattr(MeanOfSteps, "on_epoch_start", lambda self, epoch: seen.append([epoch]))
    params = toy_params(
        model="mean_of_steps", features=FEATURES, training={"seeds": 1, "epochs": 3, "lr": 1e-9}
    )
    train_experiment("exp", params, data, work=data / "work")
    doubled = (data / "models" / "exp" / "curves.csv").read_text().splitlines()[1].split(",")[2]
    monkeypatch.delattr(MeanOfSteps, "objective")
    train_experiment("exp", params, data, work=data / "work2")
    plain = (data / "models" / "exp" / "curves.csv").read_text().splitlines()[1].split(",")[2]
    assert float(doubled) == pytest.approx(2 * float(plain), rel=1e-5)
    assert seen[:3] == [[0], [1], [2]]


def test_statistics_of_steps_are_read_back_with_the_run(data: Path) -> None:
    found = statistics_of(source_of(data).subset("train"))
    assert isinstance(found, Statistics) and set(found.mean) == {"words", "face", "back"}
    one = Ragged("text", torch.ones(3, 2), torch.tensor([0]), torch.tensor([3])).statistics(torch.tensor([0]))
    assert one is not None and one[1].eq(0).all()
