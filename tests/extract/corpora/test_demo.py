"""Promises of the demo corpus generator."""

import csv
import hashlib
import json
import shutil
from collections import Counter
from fractions import Fraction
from itertools import combinations, islice, product
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ercache.errors import UsageError
from extract.corpora.demo.generator import DemoSummary, bayes, corpus, generate, layout
from extract.corpora.demo.generator.cast import CAST
from extract.corpora.demo.generator.channels import CHANNELS, CONTAGION, EMOTIONS, INERTIA, MODALITIES, PRIOR
from extract.corpora.demo.generator.grammar import Author, sentences
from extract.corpora.demo.generator.scene import frames, room
from extract.corpora.demo.generator.story import (
    PARTS,
    SHAPES,
    StoryLine,
    choose_broken,
    tell_dialogue,
    write_story,
)
from extract.corpora.demo.generator.voice import SpeechProcess, loudness, perform


@pytest.fixture(scope="module")
def tiny(demo_corpus: Path) -> Path:
    return demo_corpus


def digests(directory: Path) -> dict[str, str]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows(directory: Path, part: str) -> list[dict[str, str]]:
    with (directory / f"{part}_sent_emo.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def note(directory: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((directory / "demo.json").read_text())
    return found


# --- what the modalities give away ---


def test_channels_are_probabilities() -> None:
    assert sum(PRIOR) == pytest.approx(1)
    for channel in CHANNELS.values():
        assert np.shape(channel) == (7, 7)
        assert np.sum(channel, axis=1) == pytest.approx(np.ones(7))


def test_bayes_accuracies_are_the_documented_ones() -> None:
    table = {subset: round(value, 4) for subset, value in bayes.single_utterance_table().items()}
    assert table == {
        ("text",): 0.6044,
        ("speech",): 0.5261,
        ("face",): 0.5164,
        ("text", "speech"): 0.6586,
        ("text", "face"): 0.6223,
        ("speech", "face"): 0.6262,
        ("text", "speech", "face"): 0.7455,
    }


def test_context_raises_the_ceiling_as_documented() -> None:
    past = bayes.context_accuracy(MODALITIES, dialogues=500, future=False)
    whole = bayes.context_accuracy(MODALITIES, dialogues=500)
    assert past == pytest.approx(0.797, abs=0.02)
    assert whole == pytest.approx(0.825, abs=0.02)
    assert 0.7455 < past < whole


def test_posteriors_agree_with_counting_every_possibility() -> None:
    speakers, signs = (4, 2, 4), ((1, 2, 0), (3, 3, 0), (6, 4, 6))
    lines = [
        StoryLine(0, i, speaker, (4, 2), 0, dict(zip(MODALITIES, shown, strict=True)))
        for i, (speaker, shown) in enumerate(zip(speakers, signs, strict=True))
    ]
    fresh = 1 - INERTIA - CONTAGION
    exact = np.zeros((3, 7))
    for start4, start2, *path in product(range(7), repeat=5):
        moods, heard = {4: start4, 2: start2}, start4
        weight = PRIOR[start4] * PRIOR[start2]
        for speaker, emotion, line in zip(speakers, path, lines, strict=True):
            own = moods[speaker]
            weight *= INERTIA * (emotion == own) + CONTAGION * (emotion == heard) + fresh * PRIOR[emotion]
            for modality in MODALITIES:
                weight *= CHANNELS[modality][emotion][line.shown[modality]]
            moods[speaker] = heard = emotion
        for i, emotion in enumerate(path):
            exact[i, emotion] += weight
    exact /= exact.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(bayes.dialogue_posteriors(lines, MODALITIES), exact, atol=1e-12)
    last = bayes.dialogue_posteriors(lines, MODALITIES, future=False)[-1]
    np.testing.assert_allclose(last, exact[-1], atol=1e-12)


# --- story and sentences ---


def test_story_follows_its_constants() -> None:
    lines = [line for number in range(3000) for line in tell_dialogue(5, "statistics", number, length=8)]
    counts = np.bincount([line.emotion for line in lines], minlength=7) / len(lines)
    np.testing.assert_allclose(counts, PRIOR, atol=0.015)
    for modality in MODALITIES:
        for emotion in range(7):
            shown = [line.shown[modality] for line in lines if line.emotion == emotion]
            share = np.bincount(shown, minlength=7) / len(shown)
            np.testing.assert_allclose(share, CHANNELS[modality][emotion], atol=0.05)


def test_full_story_has_the_promised_shape() -> None:
    story = write_story(0, "full")
    for part, (dialogues, utterances) in SHAPES["full"].items():
        assert len(story[part]) == utterances
        assert len({line.dialogue for line in story[part]}) == dialogues
        assert {line.emotion for line in story[part]} == set(range(7))
        assert {line.speaker for line in story[part]} == set(range(6))
    assert sum(len(lines) for lines in story.values()) == 500
    assert len(story["test"]) >= 200


@pytest.mark.parametrize("seed", range(5))
def test_breaking_clips_leaves_every_emotion_to_train_on(seed: int) -> None:
    story = write_story(seed, "tiny")
    broken = choose_broken(seed, "tiny", story)
    assert {b.kind for b in broken} == {"no_face", "silent", "truncated"}
    assert {b.part for b in broken} == {"train", "test"}
    spoiled = {(b.dialogue, b.utterance) for b in broken if b.part == "train"}
    whole = [line for line in story["train"] if (line.dialogue, line.utterance) not in spoiled]
    assert {line.emotion for line in whole} == set(range(7))


def test_sentences_belong_to_one_emotion_and_do_not_repeat() -> None:
    by_emotion = {emotion: sentences(emotion) for emotion in EMOTIONS}
    counts = Counter(sentence for group in by_emotion.values() for sentence in group)
    assert max(counts.values()) == 1
    assert min(len(group) for group in by_emotion.values()) >= 100
    assert max(len(sentence.split()) for sentence in counts) <= 11
    author = Author(seed=3)
    assert len({author.write(i % 7) for i in range(700)}) == 700


# --- media ---


def test_speech_is_loud_in_anger_and_soft_in_sadness_for_every_voice() -> None:
    with SpeechProcess() as speaker:
        for person in CAST:
            levels = {}
            for name in ("sadness", "neutral", "anger"):
                samples = perform(speaker, "We meet at nine.", person.voice, EMOTIONS.index(name), Random(1))
                assert len(samples) % 1764 == 0
                assert loudness(samples).max() == 1.0
                levels[name] = float(np.sqrt(np.mean(samples[np.abs(samples) > 1e-3] ** 2)))
            assert levels["sadness"] * 1.5 < levels["neutral"] < levels["anger"] / 2


def test_speech_does_not_depend_on_what_was_said_before() -> None:
    def say(*texts: str) -> bytes:
        with SpeechProcess() as speaker:
            return [speaker.say(text, "en-us+f2", 160, 50, 50).tobytes() for text in texts][-1]

    assert say("Good morning.") == say("Something else first.", "And this.", "Good morning.")


def test_speech_process_reports_what_it_cannot_do() -> None:
    with SpeechProcess() as speaker, pytest.raises(Exception, match="no voice 'nobody'"):
        speaker.say("Hello.", "nobody", 160, 50, 50)


def test_mtcnn_finds_every_face_with_every_expression() -> None:
    from facenet_pytorch import MTCNN

    detector = MTCNN(min_face_size=40, thresholds=[0.6, 0.7, 0.7], keep_all=True)
    for person, emotion in product(range(6), range(7)):
        people = (person, (person + 1 + emotion % 5) % 6)
        rng = Random(f"{person}/{emotion}")
        picture = next(islice(frames(room(rng), people, emotion, np.full(6, 0.4), rng), 3, None))
        boxes, probabilities = detector.detect(picture)
        assert boxes is not None, (CAST[person].name, EMOTIONS[emotion])
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        largest = int(areas.argmax())
        assert probabilities[largest] >= 0.9
        assert abs(boxes[largest, [0, 2]].mean() - 160) < 50  # the speaker sits near the middle


def test_expressions_of_a_person_differ() -> None:
    def face(emotion: int) -> NDArray[np.float64]:
        wall = Image.new("RGB", (320, 240), "white")
        picture = next(islice(frames(wall, (1,), emotion, np.zeros(6), Random("take")), 3, None))
        return np.asarray(picture.convert("L").crop((100, 40, 220, 200)), dtype=np.float64)

    faces = [face(emotion) for emotion in range(7)]
    assert np.array_equal(faces[2], face(2))  # the same draws give the same picture
    assert min(np.abs(faces[a] - faces[b]).mean() for a, b in combinations(range(7), 2)) > 2


# --- the corpus on disk ---


def test_layout_is_that_of_meld(tiny: Path) -> None:
    for part in PARTS:
        raw = (tiny / f"{part}_sent_emo.csv").read_bytes()
        assert raw.startswith(
            b"Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,"
        )
        assert raw.count(b"\n") == raw.count(b"\r\n") == len(rows(tiny, part)) + 1
        names = {f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4" for row in rows(tiny, part)}
        assert names == {path.name for path in (tiny / layout.FOLDERS[part]).iterdir()}
        assert rows(tiny, part)[0]["Dialogue_ID"] == rows(tiny, part)[0]["Utterance_ID"] == "0"
    assert {row["Emotion"] for row in rows(tiny, "train")} == set(EMOTIONS)
    assert len({row["Utterance"] for part in PARTS for row in rows(tiny, part)}) == 25


def test_clips_are_h264_and_aac_and_as_long_as_the_table_says(tiny: Path) -> None:
    broken = {entry["id"] for entry in note(tiny)["broken"]}  # type: ignore[attr-defined]
    for part in PARTS:
        for row in rows(tiny, part):
            name = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
            if f"{part}_{name}" in broken:
                continue
            with av.open(str(tiny / layout.FOLDERS[part] / f"{name}.mp4")) as container:
                video, audio = container.streams.video[0], container.streams.audio[0]
                assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
                assert (video.width, video.height, video.average_rate) == (320, 240, Fraction(25, 2))
                assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 22050, 1)
                assert "creation_time" not in container.metadata
                count = sum(1 for _ in container.decode(video=0))
            start, end = (int(row[k][6:8]) * 1000 + int(row[k][9:]) for k in ("StartTime", "EndTime"))
            assert (end - start) % 60_000 == 80 * count
            assert 1.0 <= count / 12.5 <= 5.0


def test_broken_clips_are_broken_as_noted(tiny: Path) -> None:
    for entry in note(tiny)["broken"]:  # type: ignore[attr-defined]
        part, name = entry["id"].split("_", 1)
        path = tiny / layout.FOLDERS[part] / f"{name}.mp4"
        if entry["kind"] == "truncated":
            with pytest.raises(av.error.FFmpegError):
                av.open(str(path))
            continue
        with av.open(str(path)) as container:
            sound = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
        with av.open(str(path)) as container:
            pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
        moves = np.abs(pictures[0] - pictures[-1]).max() > 40
        assert (np.abs(sound).max() > 0.01, moves) == (
            (True, False) if entry["kind"] == "no_face" else (False, True)
        )
        assert entry["id"] in {
            f"{b.part}_dia{b.dialogue}_utt{b.utterance}" for b in corpus.plan(tiny, 0, "tiny")[1]
        }


def test_interrupted_work_is_completed_with_the_same_bytes_by_any_number_of_workers(
    tiny: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "again"
    shutil.copytree(tiny, directory)
    shutil.rmtree(directory / "train_splits")
    (directory / "dev_splits_complete" / "dia0_utt9.mp4.part").write_bytes(b"half")
    (directory / "train_sent_emo.csv").unlink()
    calls: list[tuple[int, int]] = []
    summary = generate(
        directory, seed=0, size="tiny", progress=lambda done, total: calls.append((done, total)), workers=1
    )
    assert digests(directory) == digests(tiny)
    assert calls == [(i, 25) for i in range(1, 26)]
    total = sum(path.stat().st_size for path in tiny.rglob("*") if path.is_file())
    assert summary == DemoSummary(directory, 25, float(str(note(tiny)["seconds"])), total)


def test_complete_corpus_is_left_alone(tiny: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}
    again = generate(tiny, seed=0, size="tiny", progress=lambda *_: pytest.fail("nothing was left to do"))
    assert again.utterances == 25
    assert {path: path.stat().st_mtime_ns for path in tiny.rglob("*")} == before


def test_foreign_directories_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed 0, size tiny"):
        generate(tiny, seed=1, size="tiny")
    with pytest.raises(UsageError, match="requested: seed 0, size full"):
        generate(tiny, seed=0, size="full")
    (tmp_path / "thesis.doc").write_text("precious")
    with pytest.raises(UsageError, match="not a demo corpus"):
        generate(tmp_path, size="tiny")
    with pytest.raises(UsageError, match="is a file"):
        generate(tmp_path / "thesis.doc", size="tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]
