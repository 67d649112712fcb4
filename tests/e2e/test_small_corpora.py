"""Miniature trees of the smaller corpora, and the real clips at hand, from the folder to the caches by the commands."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from tests.e2e.conftest import ROOT, SHARED, Project

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

CREMAD, EMODB = SHARED / "media" / "cremad", SHARED / "media" / "emodb"
FEATURES = "mfcc,face_hog"
LETTERS = {"W": "anger", "F": "happiness", "N": "neutral", "T": "sadness"}
RATED = (
    "Input.VIDEO_ID,Input.CLIP,Answer.sentiment,Answer.happiness,Answer.sadness,Answer.anger,Answer.surprise"
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project folder without any corpus."""
    folder = tmp_path / "project"
    for name in ("params.yaml", "extract/versions.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return Project(folder, tmp_path / "store")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a film with picture, sound or both, and of so many seconds."""
    folder = tmp_path_factory.mktemp("film")

    def make(seconds: int = 2, picture: bool = True, sound: bool = True) -> Path:
        path = folder / f"{seconds}{picture}{sound}.{'mp4' if picture else 'wav'}"
        sources = [f"testsrc=s=96x64:r=10:d={seconds}"] * picture + [f"sine=r=16000:d={seconds}"] * sound
        inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *inputs, f"file:{path}"]
        subprocess.run(command, check=True)
        return path

    return make


def put(source: Path, *targets: Path) -> None:
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def caches(project: Project, corpus: str) -> dict[str, tuple[int, int]]:
    """Feature -> utterances, and those that have it."""
    rows: list[dict[str, Any]] = project.json("cache", "ls", f"data/caches/{corpus}")
    return {Path(row["file"]).name.partition(".")[0]: (row["utterances"], row["ok"]) for row in rows}


def reasons(answer: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(f["utterance"], f["feature"], f["reason"]) for f in answer["failed"]}


def test_ravdess_from_files_to_caches(tmp_path: Path, project: Project, film: Callable[..., Path]) -> None:
    root = tmp_path / "ravdess"
    takes = [f"01-{emotion:02d}-01-01-01-{actor:02d}" for actor in (1, 5, 9) for emotion in (1, 3, 8)]
    for take in takes:
        actor = root / f"Actor_{take[-2:]}"
        put(film(), actor / f"01-{take}.mp4")
        put(film(sound=False), actor / f"02-{take}.mp4")
        put(film(picture=False), actor / f"03-{take}.wav")
    (root / "Actor_01" / f"._01-{takes[0]}.mp4").write_bytes(b"Mac OS X")
    scanned = project.json("scan", "ravdess", "--root", str(root))
    (part,) = scanned["splits"].values()
    assert part["utterances"] == part["dialogues"] == 9
    assert part["labels"]["emotion8"]["surprised"] == 3 and part["labels"]["channel"] == {
        "speech": 9,
        "song": 0,
    }
    answer = project.json("extract", "ravdess", "--root", str(root), "--features", FEATURES)
    assert caches(project, "ravdess") == {"mfcc": (9, 9), "face_hog": (9, 0)}
    assert reasons(answer) == {(take, "face_hog", "no_face") for take in takes}


def test_mosei_segments_from_recordings_to_caches(
    tmp_path: Path, project: Project, film: Callable[..., Path]
) -> None:
    root = tmp_path / "mosei"
    rows = [f"{RATED},Answer.disgust,Answer.fear"]
    for video in ("-3g5yACwYnA", "81406", "gone"):
        lines = [f"{video}___{n}___{n * 1.5}___{n * 1.5 + 1.5}___turn {n}" for n in range(2)]
        text = root / "Raw/Transcript/Segmented/Combined" / f"{video}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text("\n".join(lines))
        rows += [f"{video},{n},{n - 0.5},1,0,0,0,0,0" for n in range(2)]
        if video != "gone":
            put(film(3), root / "Raw/Videos/Full/Combined" / f"{video}.mp4")
    labels = root / "Raw" / "Labels" / "rated.csv"
    labels.parent.mkdir()
    labels.write_text("\n".join(rows))
    lists = {"train": ["81406"], "valid": ["-3g5yACwYnA"], "test": ["gone"]}
    folds = "".join(f"standard_{name}_fold={ids!r}\n" for name, ids in lists.items())
    (root / "cmu_mosei_std_folds.py").write_text(folds)
    scanned = project.json("scan", "mosei", "--root", str(root))
    assert scanned["splits"]["all"]["labels"]["sentiment7"]["1"] == 3
    assert scanned["splits"]["all"]["labels"]["emotions6_happy"] == {"absent": 0, "present": 6}
    assert {"missing_videos", "absent", "count_differs"} <= {p["reason"] for p in scanned["problems"]}
    answer = project.json("extract", "mosei", "--root", str(root), "--features", FEATURES)
    assert caches(project, "mosei") == {"mfcc": (6, 4), "face_hog": (6, 0)}
    assert {r for r in reasons(answer) if r[1] == "mfcc"} == {
        (f"gone_{n}", "mfcc", "absent") for n in range(2)
    }


def test_recordings_with_subtitles_from_folder_to_caches(
    tmp_path: Path, project: Project, film: Callable[..., Path]
) -> None:
    root = tmp_path / "own"
    put(film(3), root / "talk.mp4", root / "second.mp4")
    cues = "1\n00:00:00,000 --> 00:00:01,500\nANN: Hello\n\n2\n00:00:01,500 --> 00:00:03,000\nBOB: Yes\n"
    (root / "talk.srt").write_bytes(cues.replace("\n", "\r\n").encode("utf-8-sig"))
    (root / "second.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:02.000\n<v Eve>Oh</v>\n")
    scanned = project.json("scan", "folder", "--root", str(root))
    assert scanned["splits"]["all"]["utterances"] == 3 and scanned["splits"]["all"]["dialogues"] == 2
    answer = project.json("extract", "folder", "--root", str(root), "--features", FEATURES)
    assert caches(project, "folder") == {"mfcc": (3, 3), "face_hog": (3, 0)}
    assert {reason for *_, reason in reasons(answer)} == {"no_face"}


def test_a_folder_that_cannot_be_used_ends_with_code_2(tmp_path: Path, project: Project) -> None:
    (tmp_path / "utterances.csv").write_text("id,file,start,end\na/b,x.wav,3,1\n")
    told = project.ercache("scan", "folder", "--root", str(tmp_path), code=2).stderr
    assert "holds a path separator" in told and "run backwards" in told
    assert not (project.folder / "data" / "manifests" / "folder.jsonl").exists()
    for corpus in ("mosei", "ravdess"):
        assert "below" in project.ercache("scan", corpus, "--root", str(tmp_path), code=2).stderr


@pytest.mark.skipif(not EMODB.is_dir(), reason="needs ../shared/media/emodb (225 real sound files)")
def test_the_real_files_of_emodb_load_through_a_table_and_train_a_model(
    tmp_path: Path, project: Project
) -> None:
    root = tmp_path / "emodb"
    files = sorted(EMODB.glob("*.wav"))
    for file in files:
        put(file, root / file.name)
    rows = [f"{file.name},{file.name[:2]},{LETTERS[file.name[5]]}" for file in files]
    (root / "utterances.csv").write_text("\n".join(["file,speaker,emotion", *rows]))
    scanned = project.json("scan", "folder", "--root", str(root))
    assert scanned["splits"]["all"]["utterances"] == 225
    assert scanned["splits"]["all"]["labels"]["emotion"] == {
        "anger": 84,
        "happiness": 46,
        "neutral": 56,
        "sadness": 39,
    }
    assert [p for p in scanned["problems"] if p["status"] != "note"] == []
    answer = project.json("extract", "folder", "--root", str(root), "--features", "mfcc")
    assert answer["failed"] == [] and caches(project, "folder") == {"mfcc": (225, 225)}
    params = project.folder / "params.yaml"
    experiment = (
        "{model: concat, corpus: folder, label_set: emotion, split: speakers, features: {audio: [mfcc]}}"
    )
    text = params.read_text().replace("experiments:\n", f"experiments:\n  emodb: {experiment}\n", 1)
    params.write_text(text.replace("epochs: 60", "epochs: 4"))
    trained = project.json("train", "emodb", "--seeds", "1")
    assert trained["selected_on"] == "validation" and trained["test"]


@pytest.mark.skipif(not CREMAD.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")
def test_the_real_clips_of_cremad_scan_with_all_that_their_names_say(project: Project) -> None:
    scanned = project.json("scan", "cremad", "--root", str(CREMAD))
    assert set(scanned["splits"]["all"]["labels"]["emotion6"].values()) == {1}
    answer = project.json("extract", "cremad", "--root", str(CREMAD), "--features", FEATURES)
    assert answer["failed"] == [] and caches(project, "cremad") == {"mfcc": (6, 6), "face_hog": (6, 6)}
