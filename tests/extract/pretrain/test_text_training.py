"""Training of the text extractor: reads as extraction does, keeps to its data, survives kills."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ercache import trained_extractors
from ercache.errors import UsageError, WeightsError
from ercache.manifest import Manifest, Utterance
from ercache.nets.text_shapes import Shape
from ercache.params.schema import EngineParams
from ercache.training.loop import EpochReport
from ercache.weights import Weights
from extract.encoders import ENCODERS, configs
from extract.encoders.base import Encoded
from extract.encoders.text.tokenization import START
from extract.engine.plan import Feature, make_plan
from extract.engine.reading import RowInputs
from extract.engine.worker import build_sample
from extract.pretrain import text_training
from extract.pretrain.config import TEXT, TextConfig, TextTraining
from extract.pretrain.run import TextJob, pretrain
from extract.pretrain.text_training import _mixed, _stepping, states_of, train_text
from extract.pretrain.texts import TextSource, byte_pairs, source_of_transcripts
from extract.pretrain.training import Trained
from tests.support.tiny_texts import taken_in

WORDS = {"joy": "what a lovely party", "anger": "leave me alone now", "neutral": "the train is at nine"}
PARTS = {"train": 8, "dev": 3, "test": 3}  # dialogues
CONFIG = TextConfig(size="small", init="scratch", vocabulary=300)
TRAINING = TextTraining(epochs=2, batch=8, lr=1e-3)


def corpus(**texts: str) -> Manifest:
    """Dialogues of three turns, their emotions in the words; `part=text` puts other texts into a part."""
    names = list(WORDS)
    rows = []
    for part, count in PARTS.items():
        for d in range(count):
            for n in range(3):
                label = names[(d + n * n) % 3]
                text = texts.get(part, f"{WORDS[label]} {part} {d} {n}")
                speaker = ("Ross", "Monica")[n % 2]
                rows.append(
                    Utterance(
                        f"{part}_{d}_{n}", f"{part}_{d}", n, speaker, text, None, None,
                        {"emotion": None if (part, d, n) == ("train", 0, 1) else label}, part,
                    )
                )  # fmt: skip
    splits = {"official": {part: tuple(u.id for u in rows if u.part == part) for part in PARTS}}
    return Manifest("toy", "1", {}, {"emotion": tuple(names)}, tuple(rows), (), splits)


def source(manifest: Manifest | None = None, **changes: Any) -> TextSource:
    config = CONFIG.model_copy(update=changes)
    return source_of_transcripts(manifest or corpus(), "emotion", "official", config)


def train(
    manifest: Manifest | None = None, checkpoint: Path | None = None, kill_at: int | None = None
) -> Trained:
    def tick(epoch: EpochReport) -> None:
        if epoch.number == kill_at:
            raise KeyboardInterrupt

    return train_text(source(manifest), CONFIG, TRAINING, checkpoint=checkpoint, tick=tick)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train()


def same(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_killed_training_goes_on_to_the_same_losses_and_bits(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ercache.training.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("ercache.training.loop.CHECKPOINT_PAUSE", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=tmp_path / "state.pt", kill_at=1)
    resumed = train(checkpoint=tmp_path / "state.pt")
    assert resumed.progress.history == trained.progress.history
    assert same(trained.progress.last, resumed.progress.last)


def test_poisoned_test_texts_change_nothing_and_dev_texts_the_choice_alone(trained: Trained) -> None:
    poisoned = train(corpus(test="poison joy joy"))
    assert poisoned.progress.history == trained.progress.history
    assert same(poisoned.progress.last, trained.progress.last)
    otherwise = train(corpus(dev="poison anger anger"))
    assert [r["train_loss"] for r in otherwise.progress.history] == [
        r["train_loss"] for r in trained.progress.history
    ]
    assert same(otherwise.progress.last, trained.progress.last)
    assert not same(train(corpus(train="poison joy joy")).progress.last, trained.progress.last)


def test_only_labelled_utterances_are_learned_and_all_that_was_read_is_listed() -> None:
    found = source()
    assert len(found.train) == 23 and "train_0_1" not in found.train.ids and len(found.dev) == 9
    assert found.seen == {"toy": [u.id for u in corpus().utterances if u.part != "test"]}
    assert not set(found.train.ids) & set(found.dev.ids)


def test_a_neighbour_of_another_subset_is_not_read() -> None:
    manifest = corpus()
    cut = {"train": ("train_1_0", "train_1_1"), "dev": ("dev_0_0",), "test": ("train_1_2", "dev_0_1")}
    found = source_of_transcripts(replace(manifest, splits={"cut": cut}), "emotion", "cut", CONFIG)
    assert found.seen == {"toy": ["train_1_0", "train_1_1", "dev_0_0"]}
    decoded = found.tokenizer.decode(found.train.tokens[1], skip_special_tokens=False)
    assert decoded.startswith(f"{START}ROSS:") and decoded.endswith(
        "MONICA: the train is at nine train 1 1</s></s></s>"
    )


def test_batches_hold_every_utterance_once_beside_others_of_like_length() -> None:
    texts = source().train
    rows = list(texts.batches(4, torch.Generator().manual_seed(0)))
    assert sorted(n for batch in rows for n in batch) == list(range(len(texts)))
    assert rows != list(texts.batches(4, torch.Generator().manual_seed(1)))


def test_the_tokenizer_is_the_same_each_time_and_has_robertas_marks() -> None:
    texts = ["ROSS: Hi, I’m here 😂.", "MONICA: No!"] * 3
    a, b = (byte_pairs(texts, 320) for _ in range(2))
    assert a.to_str() == b.to_str() and a.get_vocab_size() <= 320
    assert [a.token_to_id(mark) for mark in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert a.decode(a.encode("unseen ŵörds 🎉").ids) == "unseen ŵörds 🎉"
    joined, apart = a.encode("No! Hi", add_special_tokens=False).ids, ["No!", " Hi"]
    assert joined == [n for t in apart for n in a.encode(t, add_special_tokens=False).ids]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one extractor, trained with two past neighbours and no future ones."""
    path = tmp_path_factory.mktemp("made")
    config = CONFIG.model_copy(update={"past": 2, "future": 0})
    training = TRAINING.model_copy(update={"epochs": 1, "accumulate": 2})
    job = TextJob(source(past=2, future=0), config, training)
    out = trained_extractors.extractor_folder(path, "words")
    answer = pretrain("words", TEXT, job, out=out, work=path / "work")
    assert answer["examples"] == {"train": 23, "dev": 9} and answer["selected_on"] == "validation_weighted_f1"
    return path


def test_features_are_the_states_of_the_network_that_was_trained(data: Path) -> None:
    assert trained_extractors.training_ids(data, "words") == source(past=2, future=0).seen
    record = trained_extractors.training_record(data, "words")
    assert record["seen"] == {"toy": 33} and record["labels"] == "class"
    assert (record["config"]["size"], record["training"]["epochs"]) == ("small", 1)
    kind = ENCODERS[TEXT]
    params = configs()[TEXT](pretrained="words", size="small", past=2, future=0)
    origin = trained_extractors.provenance(data, "words")
    feature = Feature("words", kind, params, origin, None, data=data)
    assert feature.weights is not None and set(feature.weights["sha256"]) == {
        "model.safetensors", "tokenizer.json", "seen.json", "extractor.json"
    }  # fmt: skip
    encoder, manifest = feature.build("cpu"), corpus()
    plan = make_plan(manifest, manifest.utterances, [feature], EngineParams())
    units = {s.utterance: build_sample(feature, s, RowInputs()) for shard in plan.shards for s in shard}
    results = dict(zip(units, encoder.encode(list(units.values())), strict=True))
    network, _ = trained_extractors.load_extractor(
        Weights("made/words", data=data), TEXT, lambda config, tensors: encoder._network, {}
    )  # type: ignore[attr-defined]
    texts = source(manifest, past=2, future=0).dev
    expected = states_of(network, texts)
    for id_, state in zip(texts.ids, expected.values, strict=True):
        result = results[id_]
        assert isinstance(result, Encoded)
        np.testing.assert_allclose(result.arrays["pooled"][0], state, atol=1e-5)
    assert np.abs(expected.values[0] - expected.values[1]).max() > 1e-3


def test_a_feature_with_other_switches_than_its_training_is_refused(data: Path) -> None:
    words = Weights("made/words", data=data)
    with pytest.raises(WeightsError, match="with other params") as caught:
        ENCODERS[TEXT](configs()[TEXT](pretrained="words", size="small", names="none"), "cpu", words)
    assert caught.value.details == (
        "past: trained with 2, requested 1", "future: trained with 0, requested 1",
        "names: trained with sex, requested none",
    )  # fmt: skip
    (trained_extractors.extractor_folder(data, "words") / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match="has changed since training"):
        ENCODERS[TEXT](configs()[TEXT](pretrained="words", size="small"), "cpu", words)


def test_a_training_begins_with_the_tensors_and_the_tokenizer_of_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(text_training.SIZES, "base", Shape(32, 2, 4, 48, 400))
    with taken_in(tmp_path, ["roberta-base"]) as tiny:
        config = TextConfig(size="base")
        found = source_of_transcripts(corpus(), "emotion", "official", config)
        assert found.tokenizer.get_vocab() == tiny["roberta-base"].tokenizer.get_vocab()
        begun = train_text(found, config, TextTraining(epochs=1, lr=1e-12))
        for name, value in tiny["roberta-base"].network.state_dict().items():
            if name in begun.extractor.state_dict():
                torch.testing.assert_close(begun.extractor.state_dict()[name], value)
    with pytest.raises(WeightsError, match="'roberta-base' is absent"):
        source_of_transcripts(corpus(), "emotion", "official", config)


def test_the_rate_rises_and_falls_over_the_steps_of_all_epochs() -> None:
    stepping = _stepping(TextTraining(epochs=5, batch=10, accumulate=2, lr=1.0), 100)
    optimizer = stepping.optimizer(torch.nn.LayerNorm(3))
    assert stepping.schedule is not None
    schedule, rates = stepping.schedule(optimizer), []
    for _ in range(25):  # 10 forwards are 5 steps an epoch
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert rates[-1] == pytest.approx(1 / 20) and schedule.get_last_lr()[0] == 0
    assert all(group["weight_decay"] == 0 for group in optimizer.param_groups if group["params"])


def test_arithmetic_is_mixed_on_a_gpu_alone() -> None:
    with _mixed("cpu", True):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    with _mixed("cuda", True):
        product = torch.ones(2, 2, device="cuda") @ torch.ones(2, 2, device="cuda")
        assert product.dtype == torch.bfloat16


def test_what_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ValidationError, match="no checkpoint of the size small"):
        TextConfig(size="small")
    with pytest.raises(UsageError, match="has no split 'other'"):
        source_of_transcripts(corpus(), "emotion", "other", CONFIG)
    with pytest.raises(UsageError, match="official/dev: no labelled utterance has a text"):
        source(corpus(dev=" "))
