"""The report page: what it shows, what it survives, and that it is one safe file that needs nothing else.

The data folder is made up here: random labels, predictions and curves, in the formats of the real stages.
"""

import csv
import html
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from app.report import write_report
from app.report.gather import gather
from app.report.marks import marks_of
from app.report.page import render
from app.report.palette import colours_of, ink_on, relative_luminance
from app.report.runs import Run, majority_floor
from app.report.scores import compare_runs, pairs_of
from app.report.timeline import choose_dialogue
from ercache.cache import ArraySpec, Entry, Status, content_digest, verify_cache
from ercache.cache_writer import write_cache
from ercache.errors import UsageError, WorkError
from ercache.manifest import Manifest, Problem, Utterance, write_manifest
from ercache.reasons import Reason
from fusion.runs.predictions import MajorityVote, read_majority_votes

EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SENTIMENTS = ("neutral", "positive", "negative")
SPEAKERS = ("Ada", "Björn", "Chidi", "Dolores", "Eve")
WORDS = (
    "well",
    "I",
    "never",
    "thought",
    "you",
    "would",
    "really",
    "come",
    "back",
    "here",
    "after",
    "all",
    "that",
)
SEEDS = (0, 1, 2)
CURVES = ("train_loss", "validation_loss", "validation_weighted_f1", "validation_accuracy")
FEATURES = {"minilm": ("text", "text/minilm", 384), "prosody": ("audio", "audio/prosody", 24),
            "mfcc": ("audio", "audio/mfcc", 80), "face_hog": ("visual", "visual/face-hog", 1152)}  # fmt: skip


def fake_manifest(
    corpus: str = "demo", dialogues: dict[str, int] | None = None, label_set: str = "emotion7", seed: int = 0
) -> Manifest:
    """A corpus of random conversations; fear and disgust are rare, as in MELD."""
    rng, rows = Random(seed), []
    values, weights = (
        (EMOTIONS, (47, 12, 3, 7, 17, 3, 11)) if label_set == "emotion7" else (SENTIMENTS, (5, 2, 3))
    )
    for part, count in (dialogues or {"train": 20, "dev": 6, "test": 8}).items():
        for d in range(count):
            people = rng.sample(SPEAKERS, rng.randint(2, 4))
            for index in range(rng.randint(3, 16)):
                rows.append(
                    Utterance(
                        id=f"{part}_dia{d}_utt{index}",
                        dialogue=f"{part}_dia{d}",
                        index=index,
                        speaker=rng.choice(people),
                        text=" ".join(rng.choices(WORDS, k=rng.randint(2, 18))).capitalize() + ".",
                        video=None,
                        audio=None,
                        labels={label_set: rng.choices(values, weights)[0] if rng.random() > 0.01 else None},
                        part=part,
                    )
                )
    splits = {
        part: tuple(u.id for u in rows if u.part == part) for part in dict.fromkeys(u.part for u in rows)
    }
    problems = tuple(Problem(u.id, "missing", "absent", "no such clip") for u in rows[: len(rows) // 40])
    label_sets = {label_set: values}
    return Manifest(corpus, "1.0", {}, label_sets, tuple(rows), problems, {"official": splits})


def fake_cache(data: Path, manifest: Manifest, feature: str, part: str, seed: int = 0) -> None:
    """A cache file with some gaps in audio and picture."""
    modality, encoder, width = FEATURES[feature]
    rng = Random(f"{feature}/{part}/{seed}")
    reasons = {
        "text": [],
        "audio": [Reason.SILENT, Reason.ABSENT],
        "visual": [Reason.NO_FACE, Reason.TIMEOUT],
    }
    entries, arrays = [], {}
    for u in manifest.of_part(part):
        if reasons[modality] and rng.random() < 0.06:
            reason = rng.choice(reasons[modality])
            entries.append(Entry(u.id, reason.status, reason.value))
        else:
            arrays[u.id] = {"vector": np.full((1, width), 0.5, dtype=np.float32)}
            entries.append(Entry(u.id, Status.OK, "", 1, "k", content_digest(arrays[u.id])))
    provenance = {"corpus": manifest.corpus, "part": part, "feature": feature, "modality": modality,
                  "encoder": encoder, "version": 1, "params": {}, "licence": "MIT",
                  "weights": {"id": "minilm", "sha256": {"model": "53aa" * 16}} if width == 384 else None,
                  "made_of": {u.id: 0 for u in manifest.of_part(part)}}  # fmt: skip
    path = data / "caches" / manifest.corpus / modality / f"{feature}.{part}.h5"
    write_cache(
        path, [ArraySpec("vector", "vector", ("utterance", "dim"), (width,))], entries, arrays, provenance
    )


PROVENANCE: Final[dict[str, Any]] = {
    "labels_digest": "", "manifest_digest": "", "caches": {}, "encoders": {}, "context": {}, "random_weights": False,
    "leak": False, "versions": {}, "device": "cpu", "threads": 1, "run_digest": "",
}  # fmt: skip


def fake_run(data: Path, manifest: Manifest, name: str, skill: float, **changes: Any) -> None:
    """A run folder whose predictions are right with probability `skill` on test and a little more on dev."""
    rng, folder = Random(name), data / "models" / name
    label_set, classes = next(iter(manifest.label_sets.items()))
    folder.mkdir(parents=True)
    rows = [
        r for subset in ("dev", "test") for r in predict(manifest, subset, label_set, classes, skill, rng)
    ]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "predictions.parquet")
    pairs = Counter((r["label"], r["predicted"]) for r in rows if r["subset"] == "test")
    run = {
        "experiment": name, "model": "m2fnet", "preset": "small", "paper_profile": False, "task": "erc",
        "history": None, "epc_target": "next_utterance", "several": False,
        "corpus": manifest.corpus, "label_set": label_set, "classes": list(classes), "split": "official",
        "features": {"text": ["minilm"], "audio": ["prosody", "mfcc"]}, "modalities": ["text", "audio"],
        "seeds": list(SEEDS), "selected_on": "validation", "epochs": write_curves(folder, skill, rng),
        "parameters": 812_345, "config": {}, "training": {}, "widths": {}, "missing": {},
        "validation": scores(skill + 0.03, rng), "test": scores(skill, rng),
        "per_class": {c: per_class(c, classes, pairs) for c in classes},
        "confusion": [[pairs[t, p] for p in classes] for t in classes],
        "provenance": {
            **PROVENANCE,
            "labels_digest": manifest.labels_digest(label_set, "official"),
            **changes.pop("provenance", {}),
        }, "marks": [], **changes,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run, sort_keys=True, indent=1), encoding="utf-8")


def predict(
    manifest: Manifest, subset: str, label_set: str, classes: Sequence[str], skill: float, rng: Random
) -> list[dict[str, Any]]:
    """Rows of predictions.parquet."""
    rows = []
    wanted = set(manifest.splits["official"][subset])
    for seed in SEEDS:
        for u in manifest.utterances:
            label = u.labels[label_set]
            if u.id in wanted and label is not None:
                predicted = label if rng.random() < skill else rng.choice(classes)
                chance = {f"p_{c}": 0.6 if c == predicted else 0.4 / (len(classes) - 1) for c in classes}
                rows.append({"seed": seed, "id": u.id, "dialogue": u.dialogue, "index": u.index,
                             "speaker": u.speaker, "subset": subset, "label": label, "predicted": predicted,
                             **chance})  # fmt: skip
    return rows


def scores(mean: float, rng: Random) -> dict[str, Any]:
    """Metrics of a run."""
    shift = {"weighted_f1": 0.0, "accuracy": 0.01, "macro_f1": -0.15, "uar": -0.13}
    return {
        m: {"mean": mean + s, "std": rng.uniform(0.003, 0.012), "ci95": [mean + s - 0.03, mean + s + 0.028]}
        for m, s in shift.items()
    }


def per_class(name: str, classes: Sequence[str], pairs: Counter[tuple[str, str]]) -> dict[str, float]:
    """F1, precision, recall and support of a class."""
    hit, true = pairs[name, name], sum(pairs[name, p] for p in classes)
    said = sum(pairs[t, name] for t in classes)
    precision, recall = hit / said if said else 0.0, hit / true if true else 0.0
    f1 = 2 * hit / (true + said) if hit else 0.0
    return {"f1": f1, "precision": precision, "recall": recall, "support": true / len(SEEDS)}


def write_curves(folder: Path, skill: float, rng: Random) -> list[int]:
    """curves.csv with early stops; returns the best epoch of each seed."""
    best = []
    with (folder / "curves.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["seed", "epoch", *CURVES])
        for seed in SEEDS:
            f1 = []
            for epoch in range(1, rng.randint(22, 40)):
                done = 1 - 0.85**epoch
                f1.append(0.2 + (skill - 0.17) * done + rng.gauss(0, 0.012))
                loss = (
                    1.9 - 1.3 * done + rng.gauss(0, 0.02),
                    1.9 - 0.8 * done + 0.008 * epoch + rng.gauss(0, 0.03),
                )
                writer.writerow([seed, epoch, *loss, f1[-1], f1[-1] + 0.01])
            best.append(1 + int(np.argmax(f1)))
    return best


def fake_data(data: Path) -> Manifest:
    """A data folder as after `dvc repro`: a corpus, its caches and four experiments."""
    manifest = fake_manifest()
    write_manifest(manifest, data / "manifests" / "demo.jsonl")
    for feature in FEATURES:
        for part in manifest.parts:
            fake_cache(data, manifest, feature, part)
    for name, skill in (("m2fnet", 0.58), ("m2fnet_text", 0.52), ("concat", 0.55)):
        fake_run(data, manifest, name, skill)
    fake_run(data, manifest, "m2fnet_audio", 0.36, marks=["random weights"])
    return manifest


def fake_compare(folders: list[Path]) -> list[dict[str, Any]]:
    """Stands for `fusion.evaluation.significance.compare`, whose own tests hold its numbers."""
    pairs = [(a, b) for i, a in enumerate(folders) for b in folders[i + 1 :]]
    return [
        {
            "a": a.name,
            "b": b.name,
            "difference": 0.03 * k,
            "ci95": [0.03 * k - 0.04, 0.03 * k + 0.04],
            "p": 0.4 / 4**k,
        }
        for k, (a, b) in enumerate(pairs)
    ]


class Page(HTMLParser):
    """Reads a page back: tags, attributes and visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All text, blanks collapsed."""
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    fake_data(folder)
    return folder


@pytest.fixture(scope="module")
def page(data: Path) -> str:
    return render(gather(data), fake_compare)


def test_the_page_has_every_section_and_its_numbers(data: Path, page: str) -> None:
    read = Page(page)
    ids = {attrs.get("id") for _, attrs in read.tags}
    assert {"glance", "corpora", "coverage", "scores", "curves", "classes", "timeline"} <= ids
    manifest = gather(data).manifests[0]
    for part in manifest.parts:
        assert f"{len(manifest.of_part(part)):,}" in read.text
    for name in ("m2fnet", "m2fnet_text", "m2fnet_audio", "concat"):
        assert name in read.text
    assert "58.0 ± " in read.text and "55.0 – 60.8" in read.text
    assert "silent" in read.text and "no_face" in read.text and "timeout" in read.text
    assert "most frequent label of train" in read.text


def test_extractors_are_shown_with_the_quality_of_their_embedding(tmp_path: Path) -> None:
    records = {
        "mel": {
            "name": "mel", "extractor": "audio/mel-resnet18", "seen": {"demo": 1286}, "best_epoch": 3, "epochs": 8,
            "config": {"objective": "triplet", "loss": {"margin": "fixed"}, "size": "small", "init": "scratch"},
            "selected_on": "validation_knn_accuracy",
            "metrics": {"validation_knn_accuracy": 0.613, "validation_silhouette": -0.04, "validation_rank": 17.25},
        },
        "bad": {"name": "bad"},
    }  # fmt: skip
    for name, record in records.items():
        (tmp_path / "extractors" / name).mkdir(parents=True)
        (tmp_path / "extractors" / name / "extractor.json").write_text(json.dumps(record))
    page = render(gather(tmp_path), fake_compare)
    text = " ".join(Page(page).text.split())
    assert "triplets, margin fixed, small, scratch" in text and "demo (1,286 utterances)" in text
    assert "epoch 3 of 8 by knn accuracy" in text and "0.61" in text and "-0.04" in text and "17.25" in text
    assert "extractors/bad/extractor.json" in text
    assert 'id="extractors"' not in render(gather(tmp_path / "extractors"), fake_compare)


def test_marks_are_shown_beside_the_result(page: str) -> None:
    text = Page(page).text
    assert text.count("⚠ random weights") >= 2  # in the dot plot and in the table


def test_the_report_lists_in_which_points_a_run_deviates_from_its_paper(page: str) -> None:
    text = " ".join(Page(page).text.split())
    assert re.search(r"deviates from its paper in \d+ points", text)
    assert re.search(r"not its paper's system: \d+ deviations", text)  # in the plot
    assert "corpus demo, the paper uses meld and iemocap" in text
    assert "text feature minilm: encoder unknown, the paper uses text/m2fnet-roberta" in text


def test_changes_since_the_training_are_shown(data: Path) -> None:
    gathered = gather(data)
    manifest, cache, run = gathered.manifests[0], gathered.caches[0], gathered.runs[0]
    labels = manifest.labels_digest("emotion7", "official")
    for digest, caches, expected in (
        (labels, {cache.path: cache.digest}, 0),
        ("0", {cache.path: "0", "gone.h5": "0"}, 2),
    ):
        provenance = run.record.provenance.model_copy(update={"labels_digest": digest, "caches": caches})
        record = run.record.model_copy(update={"provenance": provenance})
        told = [mark.text for mark in marks_of(Run(run.folder, record), gathered)]
        assert sum("training" in text for text in told) == expected
    assert verify_cache(data / "caches" / cache.path) == []


def test_features_that_use_later_utterances_are_marked_as_offline(data: Path) -> None:
    gathered = gather(data)
    context = {"late": {"past": 2, "future": 3}, "now": {"past": 9, "future": 0}}
    record = gathered.runs[0].record
    origin = record.provenance.model_copy(update={"context": context})
    run = Run(data, record.model_copy(update={"provenance": origin}))
    texts = [mark.text for mark in marks_of(run, gathered)]
    assert "offline: late uses later utterances" in texts


def test_equal_data_give_equal_bytes(tmp_path: Path) -> None:
    pages = []
    for name in ("a", "b"):
        fake_run(tmp_path / name, fake_manifest(), "m2fnet", 0.5)
        write_manifest(fake_manifest(), tmp_path / name / "manifests" / "demo.jsonl")
        pages.append(write_report(tmp_path / name).read_bytes())
    assert pages[0] == pages[1]


def test_the_page_loads_nothing_from_outside(page: str) -> None:
    tags = Page(page).tags
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in tags}
    for _, attrs in tags:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attrs.get(name) or "#").startswith("#")
    assert not re.search(r"@import|url\((?!#)", page)
    assert "http-equiv" not in page  # no refresh to elsewhere


def test_ids_are_unique_and_links_lead_somewhere(page: str) -> None:
    tags = Page(page).tags
    ids = [attrs["id"] for _, attrs in tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    links = [v for _, attrs in tags for k in ("href", "xlink:href") if (v := attrs.get(k))]
    links += [f"#{v}" for v in re.findall(r"url\(#([^)]*)\)", page)]
    assert links and all(link[1:] in ids for link in links)


def test_text_of_a_corpus_is_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'><b onload=x>&"
    base = fake_manifest(dialogues={"train": 2, "dev": 1, "test": 1})
    rows = tuple(
        Utterance(f"{u.id}{evil}", evil, u.index, evil, evil, None, None, u.labels, u.part)
        for u in base.utterances
    )
    splits = {part: tuple(u.id for u in rows if u.part == part) for part in base.parts}
    problems = (Problem(rows[0].id, evil, evil, evil),)
    manifest = Manifest("demo", evil, {}, base.label_sets, rows, problems, {"official": splits})
    write_manifest(manifest, tmp_path / "manifests" / "demo.jsonl")
    fake_cache(tmp_path, manifest, "face_hog", "train")
    fake_run(tmp_path, manifest, "odd", 0.5, marks=[evil], model=evil, features={evil: [evil]})
    (tmp_path / "models" / "damaged").mkdir()
    (tmp_path / "models" / "damaged" / "run.json").write_text(
        json.dumps({"experiment": evil}), encoding="utf-8"
    )
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "<script" not in text and "<b onload" not in text
    assert html.escape(evil).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in text
    assert all(not name.startswith("on") for _, attrs in Page(text).tags for name in attrs)


@pytest.mark.parametrize("made", [(), ("manifests",), ("caches",), ("models",), ("manifests", "models")])
def test_with_anything_missing_the_page_is_written_and_says_what_to_do(
    tmp_path: Path, made: Sequence[str]
) -> None:
    manifest = fake_manifest(dialogues={"train": 3, "dev": 2, "test": 2})
    if "manifests" in made:
        write_manifest(manifest, tmp_path / "manifests" / "demo.jsonl")
    if "caches" in made:
        fake_cache(tmp_path, manifest, "minilm", "train")
    if "models" in made:
        fake_run(tmp_path, manifest, "m2fnet", 0.5)
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    for room, command in (("manifests", "scan"), ("caches", "extract"), ("models", "train")):
        assert (f"ercache {command} " in text) == (room not in made) or command == "train"


def test_a_wrong_data_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        write_report(tmp_path / "nowhere")


def test_damaged_files_are_listed_and_the_rest_is_shown(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path, dirs_exist_ok=True)
    (tmp_path / "manifests" / "broken.jsonl").write_text("no json\n", encoding="utf-8")
    (tmp_path / "caches" / "demo" / "audio" / "mfcc.test.h5").write_bytes(b"torn")
    (tmp_path / "models" / "concat" / "run.json").write_text("{}", encoding="utf-8")
    shutil.copytree(tmp_path / "models" / "m2fnet", tmp_path / "models" / ".m2fnet.new.1")  # being written
    (tmp_path / "models" / "m2fnet" / "curves.csv").write_text("seed,epoch\nx,y\n", encoding="utf-8")
    (tmp_path / "models" / "m2fnet_text" / "predictions.parquet").write_bytes(b"torn")
    gathered = gather(tmp_path)
    assert len(gathered.runs) == 3
    assert {path for path, _ in gathered.unreadable} == {
        "manifests/broken.jsonl",
        "caches/demo/audio/mfcc.test.h5",
        "models/concat/run.json",
    }
    text = Page(render(gathered, fake_compare)).text
    assert str(tmp_path) not in text
    assert "no cache file yet" in text and "m2fnet_audio" in text


def test_runs_that_cannot_be_compared_say_why(data: Path) -> None:
    def refuse(_: list[Path]) -> list[dict[str, Any]]:
        raise WorkError("the runs predict other utterances")

    runs = list(gather(data).runs)
    assert pairs_of(runs, refuse) == ((), "the runs predict other utterances")
    assert pairs_of(runs[:1], refuse)[1].startswith("there is only one run")


def test_every_pair_of_runs_is_compared(data: Path) -> None:
    pairs, note = pairs_of(gather(data).runs, compare_runs)
    assert note == "" and len(pairs) == 6
    best_worst = next(p for p in pairs if {p.a, p.b} == {"m2fnet", "m2fnet_audio"})
    assert best_worst.ci95 is not None and abs(best_worst.difference) > 10
    for pair in pairs:
        assert pair.p_bootstrap is not None and pair.p_mcnemar is not None
        assert pair.clear == (max(pair.p_bootstrap, pair.p_mcnemar) < 0.05)


def test_corpora_with_different_label_sets_are_shown_together(tmp_path: Path) -> None:
    emotions = fake_manifest()
    write_manifest(emotions, tmp_path / "manifests" / "demo.jsonl")
    fake_run(tmp_path, emotions, "m2fnet", 0.5)
    monologues = fake_manifest("mono", {"all": 30}, "sentiment3", seed=3)
    write_manifest(monologues, tmp_path / "manifests" / "mono.jsonl")
    dialogues = fake_manifest("talks", None, "sentiment3", seed=4)
    write_manifest(dialogues, tmp_path / "manifests" / "talks.jsonl")
    fake_run(tmp_path, dialogues, "talks_m2fnet", 0.6)
    page = render(gather(tmp_path), fake_compare)
    text = Page(page).text
    assert "sentiment3" in text and "positive" in text and "emotion7" in text
    assert text.count("is best on validation and reaches") == 2
    assert "there is only one run" in text


def test_imported_features_are_shown_with_an_unknown_origin(tmp_path: Path) -> None:
    entries = [Entry("a", Reason.NO_TEXT.status, Reason.NO_TEXT.value)]
    path = tmp_path / "caches" / "meld" / "text" / "theirs.test.h5"
    provenance = {"corpus": "meld", "part": "test", "feature": "theirs", "origin": "unknown"}
    write_cache(path, [ArraySpec("vector", "vector", ("utterance", "dim"), (4,))], entries, {}, provenance)
    text = Page(write_report(tmp_path).read_text(encoding="utf-8")).text
    assert "⚠ origin unknown" in text and "the transcript is empty" in text


def test_notes_are_counted_and_the_first_ones_listed_as_text(tmp_path: Path) -> None:
    ids = [f"u{n:02}" for n in range(60)]
    arrays = {i: {"vector": np.ones((1, 4), np.float32)} for i in ids}
    entries = [Entry(i, Status.OK, "", 1, "k", content_digest(arrays[i])) for i in ids]
    notes = {i: f"frames 5 of 6 <b>{i}</b>" for i in ids[:55]}
    for part, told in (("train", {"notes": notes}), ("test", {}), ("dev", {"notes": "of a stranger"})):
        path = tmp_path / "caches" / "meld" / "visual" / f"seen.{part}.h5"
        provenance = {"corpus": "meld", "part": part, "feature": "seen", "encoder": "visual/seen", **told}
        write_cache(
            path, [ArraySpec("vector", "vector", ("utterance", "dim"), (4,))], entries, arrays, provenance
        )
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert text.count("notes</code> 55</span>") == 1 and "frames 5 of 6 <b>" not in text
    shown = Page(text).text
    assert "u49 (frames 5 of 6 <b>u49</b>)" in shown and "(frames 5 of 6 <b>u50</b>)" not in shown
    assert "and 5 more" in shown


def test_a_page_about_a_corpus_of_the_size_of_meld_is_small_and_quickly_written(tmp_path: Path) -> None:
    manifest = fake_manifest("meld", {"train": 1039, "dev": 114, "test": 280})
    assert len(manifest.utterances) > 13_000
    write_manifest(manifest, tmp_path / "manifests" / "meld.jsonl")
    for part in manifest.parts:
        fake_cache(tmp_path, manifest, "face_hog", part)
    fake_run(tmp_path, manifest, "m2fnet", 0.6)
    start = time.perf_counter()
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert time.perf_counter() - start < 10  # about 2 s; generous for a busy machine
    assert len(text.encode()) < 1_000_000
    assert re.search(r"and [\d,]+ more utterances", Page(text).text)


def test_the_majority_over_seeds_is_shown(tmp_path: Path) -> None:
    fake_run(tmp_path, fake_manifest(), "m2fnet", 0.5)
    run = gather(tmp_path).runs[0]
    rows = [
        {
            "seed": seed,
            "id": "u",
            "subset": "test",
            "label": "joy",
            "predicted": said,
            "p_joy": 0.3,
            "p_fear": 0.5,
        }
        for seed, said in enumerate(("joy", "fear", "joy", "fear"))
    ]
    parquet.write_table(pa.Table.from_pylist(rows), run.folder / "predictions.parquet")
    assert read_majority_votes(run.folder, "test") == {
        "u": MajorityVote("joy", "fear", 2, 4, 0.5)
    }  # a tie: the mean probability decides


def test_the_floor_is_the_score_of_the_most_frequent_label() -> None:
    floor = majority_floor({"a": 5, "b": 3}, {"a": 1, "b": 3}, ["a", "b"])
    expected = {"weighted_f1": 0.1, "accuracy": 0.25, "macro_f1": 0.2, "uar": 0.5, "binary_f1": 0}
    assert floor == pytest.approx(expected)
    assert majority_floor({}, {"a": 1}, ["a"]) == {}


def test_the_conversation_of_suitable_length_with_most_changes_is_chosen() -> None:
    def talk(name: str, labels: str) -> list[Utterance]:
        return [
            Utterance(f"{name}{i}", name, i, "A", "x", None, None, {"emotion7": label}, "test")
            for i, label in enumerate(labels)
        ]

    talks = {
        "calm": talk("calm", "nnnnnnn"),
        "lively": talk("lively", "njnjnjn"),
        "long": talk("long", "nj" * 20),
    }
    assert choose_dialogue(talks, "emotion7") == "lively"
    assert choose_dialogue({"one": talk("one", "n"), "three": talk("three", "nnn")}, "emotion7") == "three"


def test_emotions_keep_their_colour_in_every_label_set() -> None:
    seven = colours_of(EMOTIONS)
    assert len(set(seven.values())) == len(EMOTIONS)
    assert colours_of(["hap", "neu", "xyz"])["hap"] == seven["joy"]
    assert len(set(colours_of(["x", "y", "z"]).values())) == 3


@pytest.mark.parametrize(
    "colour", colours_of([*EMOTIONS, "calm", "frustration", "-3", "3", "other"]).values()
)
def test_label_names_are_readable_on_their_colours(colour: str) -> None:
    low, high = sorted([relative_luminance(colour), relative_luminance(ink_on(colour))])
    assert (high + 0.05) / (low + 0.05) >= 4.5
