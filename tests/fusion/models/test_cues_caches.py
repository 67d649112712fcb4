"""Cues from media and transcripts through the caches: what a prediction may not see, and which caches T and S open."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ercache import metrics
from ercache.cache import CacheFile
from ercache.digests import digest_of_file
from ercache.errors import UsageError
from ercache.manifest import Manifest, MediaRef, Utterance, write_manifest
from ercache.nets.text_shapes import Shape
from ercache.params.schema import EngineParams
from ercache.training.determinism import set_seeds
from ercache.training.losses import masked_cross_entropy
from extract.corpora import CORPORA
from extract.encoders import ENCODERS
from extract.encoders.base import Sample
from extract.encoders.text.kwrt import ENTRY as KWRT
from extract.encoders.text.kwrt import KwrtParams
from extract.engine import Feature, extract_corpus
from fusion.data.batches import PaddedBatches, make_subset
from fusion.data.windows import ContextWindow, context_window_of
from fusion.experiment.resolve import experiment_of
from fusion.experiment.source import Source, read_source
from fusion.models import MODELS
from fusion.models.cues import model as cues
from fusion.models.cues import sound_reader
from fusion.models.cues.text_reader import TextReader
from fusion.runs.predict import logits_of
from fusion.training.run import train_experiment
from tests.e2e.conftest import SHARED
from tests.support.cues_batches import batch_of, model_of
from tests.support.tiny_audio import TINY_SPEECH, Shelf, shelf
from tests.support.tiny_texts import Tiny, taken_in
from tests.support.toy_corpus import toy_params

TEXT = ("words:tokens", "words:words", "words:matrix")
SOUND = ("sound", "mel:tokens", "pitch:classes", "pitch:bands")
SIZES = {"width": 64, "heads": 2, "layers": 1, "ffn": 24, "mfm_blocks": 1, "prosody_width": "narrow"}
SAID = (
    ("Smoke, fire! Run, run!", "Ross", "anger"),
    ("Why? There is a fire in the kitchen.", "Monica", "neutral"),
    ("I am so happy that you could come.", "Ross", "joy"),
    ("The surprised kangaroo was asleep.", "Joey", "neutral"),
    ("We lost our old dog, and it hurts.", "Monica", "anger"),
)
OTHER = (
    ("Oh my God! A dog, a dog in the scene!", "Joey", "joy"),
    ("Really? Run to the party.", "Ross", "neutral"),
)


@dataclass(frozen=True)
class Networks:
    """Tiny checkpoints for text and mel picture."""

    text: Tiny
    sound: Shelf


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Networks]:
    folder = tmp_path_factory.mktemp("networks")
    with taken_in(folder / "text", ["roberta-base"]) as texts, shelf(folder / "text") as sounds:
        yield Networks(texts["roberta-base"], sounds)


def talk(folder: Path, changed: int | None = None) -> Manifest:
    """A dialogue in each part, of five utterances with sound; from `changed` on that of test says something else.

    In the part `bad` the second clip is damaged, and the fourth is not there.
    """
    rows = []
    for part in ("train", "dev", "test", "bad"):
        for n, (text, speaker, label) in enumerate(SAID):
            other = part == "test" and changed is not None and n >= changed
            text, speaker, label = OTHER[n % 2] if other else (text, speaker, label)
            seed = 100 * other + n
            sound = np.random.default_rng(seed).normal(0, 0.1, 4_000 + 300 * n + 500 * other).astype("f4")
            path = folder / f"{part}_{n}_{other}.wav"
            soundfile.write(path, sound, 16_000)
            if (part, n) == ("bad", 1):
                path.write_bytes(b"no sound at all")
            ref = None if (part, n) == ("bad", 3) else MediaRef(path.name, sha256=digest_of_file(path))
            rows.append(
                Utterance(f"{part}_{n}", part, n, speaker, text, None, ref, {"emotion7": label}, part)
            )
    of = {part: tuple(u.id for u in rows if u.part == part) for part in ("train", "dev", "test", "bad")}
    splits = {
        name: {"train": of["train"], "dev": of["dev"], "test": of[part]}
        for name, part in (("official", "test"), ("bad", "bad"))
    }
    return Manifest("toy", "1", {}, {"emotion7": ("neutral", "joy", "anger")}, tuple(rows), (), splits)


def features_of(networks: Networks) -> list[Feature]:
    """The features of text and speech, from the encoders of the engine."""
    tiny = replace(KWRT, shape=Shape(32, 2, 4, 48, 400))
    picture = networks.sound["audio/mel-vit"].weights.key
    kinds = {
        "sound": ("audio/mfcc", {"n_mfcc": 8, "rate": 16_000}, None),
        "mel": ("audio/mel-vit", {"scope": "window", "upper": 1}, {"id": picture}),
        "pitch": ("audio/pitch-mel", {}, None),
    }
    text = {"words": KwrtParams(), "known": KwrtParams(known_next_speaker=True)}
    return [Feature(name, tiny, params, {"id": "roberta-base"}, None) for name, params in text.items()] + [
        Feature(name, ENCODERS[key], ENCODERS[key].Params(**params), weights, None)
        for name, (key, params, weights) in kinds.items()
    ]


def caches(folder: Path, networks: Networks, changed: int | None = None) -> Path:
    """Manifest and caches of the talk. Each forward has one utterance, since batches may change the last bits."""
    media = folder / "media"
    media.mkdir(parents=True)
    manifest = talk(media, changed)
    write_manifest(manifest, folder / "manifests" / "toy.jsonl")
    engine = EngineParams(batch=1, lanes=1)
    features = features_of(networks)
    made = {"store": folder / "store", "out": folder / "caches", "root": media}
    done = extract_corpus(manifest, features, engine, **made)
    assert {(f.utterance, f.status) for f in done.failed} == {("bad_1", "missing"), ("bad_3", "missing")}
    return folder


def source_of(data: Path, **entry: Any) -> tuple[Source, Any]:
    given = {
        "model": "cues",
        "task": "epc",
        "features": {"text": list(TEXT), "audio": list(SOUND)},
        "config": {**SIZES, "prosody_input": "mel_f0"},
        "history": 3,
        "training": {"seeds": 1, "epochs": 1, "batch": 8, "standardize": False},
        **entry,
    }
    experiment = experiment_of("exp", toy_params(**given))
    return read_source(data, experiment.entry), experiment


@pytest.fixture(scope="module")
def talks(networks: Networks, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The caches of a talk, and of another that differs from the fourth utterance on."""
    one, other = (tmp_path_factory.mktemp(name) for name in ("one", "other"))
    return caches(one, networks), caches(other, networks, changed=3)


@pytest.mark.parametrize("target", ["next_utterance", "next_same_speaker"])
def test_items_1_and_9_a_changed_target_and_future_change_no_bit_of_a_prediction(
    talks: tuple[Path, Path], target: str
) -> None:
    """Text, audio, label and speaker of the target and all later utterances change in the files; T+S model."""
    found = []
    for data in talks:
        source, experiment = source_of(data, epc_target=target)
        test = source.subset("test")
        set_seeds(0)
        model = experiment.model.build(test.widths, 3, experiment.config).eval()
        found.append(predictions(model, PaddedBatches(test, source.window)))
    before, after = found
    unchanged = {"next_utterance": [1, 2, 3], "next_same_speaker": [2]}[target]
    assert set(unchanged) <= set(before) and set(unchanged) <= set(after)
    for row in unchanged:
        assert before[row].isfinite().all() and torch.equal(before[row], after[row])
    if target == "next_utterance":  # the fourth utterance is heard before the fifth
        assert not torch.allclose(before[4], after[4], atol=1e-5)


@torch.no_grad()
def predictions(model: torch.nn.Module, padded: PaddedBatches) -> dict[int, torch.Tensor]:
    """Row of a target -> its logits, each in its own batch."""
    targets = {row for rows, speaks, _ in padded.by_length() for row in rows[speaks].tolist()}
    found = {}
    for k, row in enumerate(sorted(targets)):
        batch = padded.batch([k])
        found[row] = model(batch)[0, int(batch.mask.sum()) - 1]
    return found


def test_caches_of_past_utterances_are_equal_in_both_talks(talks: tuple[Path, Path]) -> None:
    for place in ("text/words", "audio/sound", "audio/mel", "audio/pitch"):
        with (
            CacheFile(talks[0] / f"caches/toy/{place}.test.h5") as a,
            CacheFile(talks[1] / f"caches/toy/{place}.test.h5") as b,
        ):
            for n in range(3):
                one, other = a[f"test_{n}"], b[f"test_{n}"]
                assert {k: v.tobytes() for k, v in one.items()} == {k: v.tobytes() for k, v in other.items()}
            assert a["test_3"]["pooled"].tobytes() != b["test_3"]["pooled"].tobytes()


def test_a_known_next_speaker_ends_the_window_and_marks_the_result(talks: tuple[Path, Path]) -> None:
    ids = []
    for name in ("words", "known"):
        with CacheFile(talks[0] / f"caches/toy/text/{name}.test.h5") as cache:
            ids.append([cache[f"test_{n}"]["ids"].tolist() for n in range(5)])
            context = cache.provenance["context"]
    for n, follows in enumerate(
        (401, 400, 402, 400)
    ):  # by first appearance in the window that the model reads
        assert ids[1][n] == [*ids[0][n][:-1], follows, ids[0][n][-1]], n
    assert ids[1][4] == ids[0][4] and context["speaker"] == "next"
    known = [name.replace("words:", "known:", 1) for name in TEXT]
    assert source_of(talks[0], features={"text": known})[0].findings.marks == ["known knows who speaks next"]
    assert source_of(talks[0])[0].findings.marks == []


@torch.no_grad()
def test_a_model_with_its_own_roberta_starts_with_the_cached_states(
    talks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its RoBERTa is the published one; speaker tokens equal those of the encoder, logits those from cached states."""
    monkeypatch.setattr(cues, "TextReader", partial(TextReader, shape=Shape(32, 2, 4, 48, 400)))
    found = []
    for array, switches in (("tokens", {}), ("ids", {"cache_text": False})):
        text = [f"words:{array}", *TEXT[1:]]
        config = {**SIZES, "mfm_blocks": 0, **switches}
        source, experiment = source_of(talks[0], features={"text": text}, config=config)
        test = source.subset("test")
        set_seeds(0)
        model = experiment.model.build(test.widths, 3, experiment.config).eval()
        if model.reader is not None:
            model.on_epoch_start(0)
            same = found[0][1]
            own = {n: same.get(n, tensor) for n, tensor in model.state_dict().items()}
            model.load_state_dict(own)
        found.append((logits_of(model, PaddedBatches(test, source.window)), model.state_dict()))
    assert torch.allclose(found[0][0][1:], found[1][0][1:], atol=1e-5)


@pytest.mark.parametrize("tuned", [False, True])
def test_the_text_reader_always_trains_speaker_tokens_and_roberta_only_if_tuned(
    talks: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tuned: bool
) -> None:
    monkeypatch.setattr(cues, "TextReader", partial(TextReader, shape=Shape(32, 2, 4, 48, 400)))
    config = {**SIZES, "mfm_blocks": 0, "cache_text": False, "finetune_roberta": tuned}
    features = {"text": ["words:ids", *TEXT[1:]]}
    source, experiment = source_of(talks[0], features=features, config=config)
    train = source.subset("train")
    model = experiment.model.build(train.widths, 3, experiment.config).train()
    model.on_epoch_start(0)
    model.train()
    assert model.reader.training and model.reader.network.training == tuned
    batch = PaddedBatches(train, source.window).batch(range(3))
    loss, _ = model.objective(batch, masked_cross_entropy)
    loss.backward()
    rows = model.reader.speakers.grad.abs().amax(1)
    assert (rows[:2] > 0).all() and not rows[4:].any()
    assert any(p.grad is not None for p in model.reader.network.parameters()) == tuned


def test_a_model_with_its_own_wavlm_has_the_cached_frames_and_trains_wavlm(
    networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "audio/wavlm-base-plus"
    tiny = networks.sound[key]
    monkeypatch.setattr(sound_reader, "CHECKPOINT", tiny.weights.key)
    monkeypatch.setattr(sound_reader, "ALWAYS", {**sound_reader.ALWAYS, **TINY_SPEECH})
    sounds = [np.random.default_rng(n).normal(0, 0.1, n).astype("f4") for n in (300, 4_000, 2_500)]
    widths = {"audio": 1}
    config = MODELS["cues"].resolve("small", {**SIZES, "mfm_blocks": 0, "finetune_wavlm": True})
    model = MODELS["cues"].build(widths, 3, config).train()
    model.on_epoch_start(0)  # type: ignore[operator]
    model.eval()
    batch = batch_of([[{"audio": torch.from_numpy(sound)} for sound in sounds]])
    assert isinstance(model, cues.Cues) and model.hearer is not None
    heard = model.hearer(batch.steps["audio"])
    assert heard.places.tolist() == [1, 2]  # 300 samples are no frame
    encoder = tiny.encoder()
    for k, sound in enumerate(sounds[1:]):
        result = encoder.encode([Sample(sound=sound)])[0]
        frames = torch.from_numpy(result.arrays["frames"])
        assert torch.allclose(heard.values[k, : len(frames)], frames, atol=1e-5)
        assert heard.mask[k].sum() == len(frames)
    loss, count = model.objective(batch, masked_cross_entropy)
    loss.backward()  # type: ignore[no-untyped-call]
    assert count == 3 and all(
        p.grad is not None and p.grad.isfinite().all()
        for n, p in model.hearer.named_parameters()
        if "masked_spec" not in n
    )


def test_ids_and_samples_need_their_switches() -> None:
    for widths, switches, told in (
        ({"text": 1}, {}, "cues_kwrt:tokens"), ({"text": 6}, {"cache_text": False}, "cues_kwrt:ids"),
        ({"audio": 1}, {}, "cues_wavlm"), ({"audio": 5}, {"finetune_wavlm": True}, "audio/samples"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as wrong:
            model_of(widths, **switches)
        assert told in wrong.value.hint
    with pytest.raises(UsageError) as wrong:
        MODELS["cues"].resolve("small", {"finetune_roberta": True})
    assert "cache_text: false" in str(wrong.value.details)


def test_item_19_text_and_speech_models_read_only_their_own_caches(
    talks: tuple[Path, Path], tmp_path: Path
) -> None:
    """A text model trains without audio caches, and a speech model without text caches."""
    for modality, names in (("text", TEXT), ("audio", SOUND[:2])):
        data = tmp_path / modality
        (data / "caches/toy").mkdir(parents=True)
        (data / "manifests").symlink_to(talks[0] / "manifests")
        (data / f"caches/toy/{modality}").symlink_to(talks[0] / f"caches/toy/{modality}")
        source, _ = source_of(data, features={modality: list(names)}, config=SIZES)
        assert {path.split("/")[1] for path in source.findings.digests} == {modality}
    params = toy_params(
        model="cues",
        features={"text": list(TEXT)},
        config=SIZES,
        training={"seeds": 1, "epochs": 1},
    )
    run = train_experiment("exp", params, tmp_path / "text", work=tmp_path / "work")
    assert run["parameters"] > 0
    for key in ("audio/wavlm-base-plus", "audio/mel-vit", "audio/pitch-mel"):
        asked = ENCODERS[key].input(ENCODERS[key].Params())
        assert not asked.text and not asked.speaker and asked.pictures is None
    words = KWRT.input(KwrtParams())
    assert words.rate is None and words.pictures is None and not words.video


@torch.no_grad()
def test_item_22_an_utterance_without_readable_audio_stays_a_sample(talks: tuple[Path, Path]) -> None:
    """Its utterance is still a target and still context."""
    source, experiment = source_of(talks[0], split="bad")
    test = source.subset("test")
    model = experiment.model.build(test.widths, 3, experiment.config).eval()
    found = logits_of(model, PaddedBatches(test, source.window))
    assert found[1:].isfinite().all() and len(found) == 5
    assert test.missing()["audio"] == 2 and test.missing()["text"] == 0


def test_item_23_the_same_seed_gives_the_same_losses_of_the_first_epoch(
    talks: tuple[Path, Path], tmp_path: Path
) -> None:
    params = toy_params(
        model="cues",
        task="epc",
        features={"text": list(TEXT), "audio": ["sound"]},
        config={**SIZES, "mfm_blocks": 0},
        history=3,
        training={"seeds": 2, "epochs": 1},
    )
    curves = []
    for name in "ab":
        data = tmp_path / name
        data.mkdir()
        for part in ("manifests", "caches"):
            (data / part).symlink_to(talks[0] / part)
        train_experiment("exp", params, data, work=tmp_path / f"work-{name}")
        curves.append((data / "models/exp/curves.csv").read_text())
    assert (
        curves[0] == curves[1] and len(set(curves[0].splitlines())) == 3
    )  # a head and two seeds that differ


# --- the real corpus


def neutral_alone(counts: torch.Tensor) -> dict[str, float]:
    """Scores in percent of always predicting the first class (item 17)."""
    truth = np.repeat(np.arange(7), counts.numpy())
    found = metrics.scores(truth, np.full(len(truth), int(counts.argmax())), 7)
    return {name: round(100 * found[name], 2) for name in ("accuracy", "uar", "macro_f1", "weighted_f1")}


@pytest.mark.skipif(not (SHARED / "meld").is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")
def test_items_1_and_22_samples_and_targets_of_prediction_on_meld() -> None:
    """8951, 995 and 2330 samples with the targets of section 6.3, even if no clip has audio."""
    corpus = CORPORA["meld"]
    manifest = corpus.scan(SHARED / "meld", corpus.Switches())
    order = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
    wanted = {
        "train": (8951, [4198, 1539, 1084, 1024, 619, 247, 240], 9989),
        "dev": (995, [416, 141, 138, 137, 104, 22, 37], 1109),
        "test": (2330, [1117, 358, 253, 308, 187, 63, 44], 2610),
    }
    for part, (samples, targets, all_of_them) in wanted.items():
        ids = [u.id for u in manifest.of_part(part)]
        rows = {i: n for n, i in enumerate(ids)}
        for window, expected in ((ContextWindow(1, 3), samples), (ContextWindow(0, 3), all_of_them)):
            subset = make_subset(manifest, part, ids, "emotion7", rows, {}, window)
            found = 0
            said = torch.zeros(7, dtype=torch.long)
            for _, speaks, batch in PaddedBatches(subset, window).by_length(512):
                found += int(speaks.sum())
                said += torch.bincount(batch.labels[speaks], minlength=7)
                assert batch.mask.shape[1] <= 3
            assert found == expected
            if window.ahead:
                classes = manifest.label_sets["emotion7"]
                assert [int(said[classes.index(name)]) for name in order] == targets
                assert samples != 2330 or neutral_alone(said) == {
                    "accuracy": 47.94, "uar": 14.29, "macro_f1": 9.26, "weighted_f1": 31.07,
                }  # fmt: skip
        assert {"train": "train_dia125_utt3", "dev": "dev_dia110_utt7", "test": "test_dia38_utt4"}[
            part
        ] in rows


@pytest.mark.skipif(not (SHARED / "meld").is_dir(), reason="needs ../shared/meld (the real MELD transcripts)")
def test_targets_by_the_last_speaker_are_those_who_speak_again() -> None:
    corpus = CORPORA["meld"]
    manifest = corpus.scan(SHARED / "meld", corpus.Switches())
    params = toy_params(
        model="copy_last", task="epc", epc_target="next_same_speaker", features={"text": ["x"]}
    )
    window = context_window_of(params.experiments["exp"])
    ids = [u.id for u in manifest.of_part("test")]
    subset = make_subset(manifest, "test", ids, "emotion7", {i: n for n, i in enumerate(ids)}, {}, window)
    heard: dict[tuple[str, str], str] = {}
    wanted = {}
    for u in manifest.of_part("test"):
        if (u.dialogue, u.speaker) in heard:
            wanted[u.id] = heard[u.dialogue, u.speaker]
        heard[u.dialogue, u.speaker] = u.id
    padded = PaddedBatches(subset, window)
    seen = {}
    stretches = padded._spans
    assert stretches.targets is not None
    for end, target in zip(stretches.ends.tolist(), stretches.targets.tolist(), strict=True):
        seen[subset.utterances[target].id] = subset.utterances[end - 1].id
    assert seen == wanted
    assert int(subset.in_subset.sum()) == len(wanted)
