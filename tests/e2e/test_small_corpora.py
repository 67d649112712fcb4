"""Miniature trees of the corpora, and the real files at hand, from the folder to a trained model by the commands."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
import yaml

from tests.e2e.conftest import ROOT, SHARED, Project

pytestmark = pytest.mark.e2e

CREMAD, EMODB = SHARED / "media" / "cremad", SHARED / "media" / "emodb"
BOTH: Mapping[str, list[str]] = {"text": ["minilm"], "audio": ["mfcc"]}
LETTERS = {"W": "anger", "F": "happiness", "N": "neutral", "T": "sadness"}
RATED = (
    "Input.VIDEO_ID,Input.CLIP,Answer.sentiment,Answer.happiness,Answer.sadness,Answer.anger,Answer.surprise"
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project folder without any corpus; trainings are short, and one lane is enough for so little."""
    folder = tmp_path / "project"
    for name in ("params.yaml", "extract/versions.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    project = Project(folder, tmp_path / "store", inside=True)
    configure(project, engine={"lanes": 1}, training={"seeds": 1, "epochs": 2})
    return project


def configure(project: Project, **sections: Mapping[str, Any]) -> None:
    """Write entries into sections of params.yaml."""
    path = project.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for section, entries in sections.items():
        params.setdefault(section, {}).update(entries)
    path.write_text(yaml.safe_dump(params))


def train(
    project: Project, corpus: str, features: Mapping[str, list[str]] = BOTH, **entry: Any
) -> dict[str, Any]:
    """Train `concat` on a corpus as an experiment of params.yaml; its run.json."""
    experiment = {
        "model": "concat",
        "corpus": corpus,
        "features": dict(features),
        "config": {"hidden": 8},
        **entry,
    }
    configure(project, experiments={"toy": experiment})
    answer = project.json("train", "toy")
    low, high = answer["test"]["weighted_f1"]["ci95"]
    assert answer["selected_on"] == "validation" and answer["seeds"] == [0] and 0 <= low <= high <= 1
    run: dict[str, Any] = json.loads((project.folder / "data/models/toy/run.json").read_text())
    return run


def scored(run: Mapping[str, Any]) -> int:
    """How many utterances of test were scored."""
    return sum(map(sum, run["confusion"]))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a film with picture, sound or both, of so many seconds and with a tone of so many hertz."""
    folder = tmp_path_factory.mktemp("film")

    def make(
        seconds: int = 1, picture: bool = True, sound: bool = True, tone: int = 440, kind: str = "mp4"
    ) -> Path:
        path = folder / f"{seconds}{picture}{sound}{tone}.{kind if picture else 'wav'}"
        if path.is_file():
            return path
        sources = [f"testsrc=s=96x64:r=10:d={seconds}"] * picture + [
            f"sine=f={tone}:r=44100:d={seconds}"
        ] * sound
        inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
        codecs = ("-c:v", "flv1", "-c:a", "libmp3lame") if kind == "flv" and picture else ()
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *inputs, *codecs, f"file:{path}"]
        subprocess.run(command, check=True)
        return path

    return make


def put(source: Path | str, *targets: Path) -> None:
    for target in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Path):
            shutil.copy(source, target)
        else:
            target.write_text(source)


def extract(project: Project, corpus: str, root: Path, features: str = "mfcc,minilm") -> dict[str, Any]:
    """Extract, and see that the caches are whole; the command's answer."""
    answer: dict[str, Any] = project.json("extract", corpus, "--root", str(root), "--features", features)
    return answer


def caches(project: Project, corpus: str) -> dict[str, tuple[int, int]]:
    """Feature -> utterances, and those that have it, over all parts."""
    found: dict[str, tuple[int, int]] = {}
    for row in project.json("cache", "ls", f"data/caches/{corpus}"):
        name = Path(row["file"]).name.partition(".")[0]
        all_before, ok_before = found.get(name, (0, 0))
        found[name] = (all_before + row["utterances"], ok_before + row["ok"])
    return found


def reasons(answer: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {(f["utterance"], f["feature"], f["reason"]) for f in answer["failed"]}


def test_meld_with_a_wrong_cut_and_an_absent_clip(
    tmp_path: Path, project: Project, film: Callable[..., Path]
) -> None:
    root = tmp_path / "MELD.Raw"
    header = (
        "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
    )
    folders = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
    for part, folder in folders.items():
        rows = [header]
        for n in range(4):
            emotion = ("joy,positive", "anger,negative")[n % 2]
            times = f'"00:00:0{n},000","00:00:0{n + 1},000"'
            rows.append(f"{n},This is turn {n}.,Ross,{emotion},{n // 2},{n % 2},1,1,{times}")
            put(film(tone=440 + 220 * n), root / part / folder / f"dia{n // 2}_utt{n % 2}.mp4")
        put("\r\n".join(rows), root / f"{part}_sent_emo.csv")
    put(film(seconds=3), root / "test" / folders["test"] / "dia1_utt0.mp4")
    (root / "dev" / folders["dev"] / "dia1_utt1.mp4").unlink()
    configure(project, corpora={"meld": {"long_clips": "trim", "longest": 2}})
    scanned = project.json("scan", "meld", "--root", str(root))
    told = {(p["utterance"], p["reason"], p["detail"]) for p in scanned["problems"]}
    assert ("test_dia1_utt0", "long_clip", "3.0 s, of which the first 2 s are read") in told
    answer = extract(project, "meld", root)
    assert reasons(answer) == {("dev_dia1_utt1", "mfcc", "absent")}
    assert caches(project, "meld") == {"mfcc": (12, 11), "minilm": (12, 12)}
    run = train(project, "meld", label_set="emotion7")
    assert scored(run) == 4 and run["missing"]["dev"] == {"text": 0, "audio": 1}


def test_ravdess_as_dialogues_of_one(tmp_path: Path, project: Project, film: Callable[..., Path]) -> None:
    root = tmp_path / "ravdess"
    takes = [f"01-{emotion:02d}-01-01-01-{actor}" for actor in ("01", "21", "23") for emotion in (1, 3, 8)]
    for take in takes:
        actor = root / f"Actor_{take[-2:]}"
        tone = 300 * int(take[3:5])
        put(film(tone=tone), actor / f"01-{take}.mp4")
        put(film(sound=False), actor / f"02-{take}.mp4")
        put(film(picture=False, tone=tone), actor / f"03-{take}.wav")
    (root / "Actor_01" / f"._01-{takes[0]}.mp4").write_bytes(b"Mac OS X")
    scanned = project.json("scan", "ravdess", "--root", str(root))
    (part,) = scanned["splits"].values()
    assert part["utterances"] == part["dialogues"] == 9
    assert part["labels"]["emotion8"]["surprised"] == 3
    assert part["labels"]["channel"] == {"speech": 9, "song": 0}
    answer = extract(project, "ravdess", root, "mfcc,minilm,face_hog")
    assert caches(project, "ravdess") == {"mfcc": (9, 9), "minilm": (9, 9), "face_hog": (9, 0)}
    assert reasons(answer) == {(take, "face_hog", "no_face") for take in takes}
    assert scored(train(project, "ravdess", label_set="emotion8", split="actors")) == 3


def test_cremad_by_intent_and_by_raters(tmp_path: Path, project: Project, film: Callable[..., Path]) -> None:
    root = tmp_path / "CREMA-D"
    rows = [
        '"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"'
    ]
    for actor in range(1001, 1006):
        for n, (emotion, vote) in enumerate({"ANG": "A", "HAP": "H", "SAD": "N:S"}.items()):
            stem = f"{actor}_DFA_{emotion}_XX"
            put(film(tone=300 + 100 * n, kind="flv"), root / "VideoFlash" / f"{stem}.flv")
            put(film(picture=False, tone=300 + 100 * n), root / "AudioWAV" / f"{stem}.wav")
            rows.append(f'"{n}","{stem}","N","50","{vote}","50","{vote}","50"')
    put("\n".join(rows), root / "processedResults" / "summaryTable.csv")
    scanned = project.json("scan", "cremad", "--root", str(root))
    labels = scanned["splits"]["all"]["labels"]
    assert labels["emotion6"] == {"anger": 5, "disgust": 0, "fear": 0, "happy": 5, "neutral": 0, "sad": 5}
    assert (
        labels["perceived6"] == {**labels["emotion6"], "sad": 0}
        and labels["perceived6_voice"]["neutral"] == 15
    )
    assert extract(project, "cremad", root)["failed"] == []
    assert caches(project, "cremad") == {"mfcc": (15, 15), "minilm": (15, 15)}
    assert scored(train(project, "cremad", label_set="emotion6", split="actors")) == 3
    for unlabelled, seen in (("keep", 3), ("drop", 2)):
        run = train(project, "cremad", label_set="perceived6", split="actors/1", unlabelled=unlabelled)
        lines = (project.folder / "data/models/toy/confusion.csv").read_text().splitlines()
        assert scored(run) == len(lines) - 1 == 2  # one clip of three is a tie
        assert run["provenance"]["unlabelled"] == unlabelled
        assert said_of_test(project) == seen


def said_of_test(project: Project) -> int:
    """How many utterances of test a prediction was made for."""
    import pyarrow.parquet as parquet

    rows = parquet.read_table(project.folder / "data/models/toy/predictions.parquet").to_pylist()
    return sum(row["subset"] == "test" for row in rows)


def test_mosei_segments_of_recordings(tmp_path: Path, project: Project, film: Callable[..., Path]) -> None:
    root = tmp_path / "mosei"
    rows = [f"{RATED},Answer.disgust,Answer.fear"]
    videos = {"81406": 300, "-3g5yACwYnA": 500, "_x": 700, "gone": 0}
    for video, tone in videos.items():
        lines = [f"{video}___{n}___{n * 1.5}___{n * 1.5 + 1.5}___turn {n}" for n in range(2)]
        put("\n".join(lines), root / "Raw/Transcript/Segmented/Combined" / f"{video}.txt")
        rows += [f"{video},{n},{n - 0.5},1,0,0,0,0,0" for n in range(2)]
        if video != "gone":
            put(film(3, tone=tone), root / "Raw/Videos/Full/Combined" / f"{video}.mp4")
    put("\n".join(rows), root / "Raw" / "Labels" / "rated.csv")
    lists = {"train": ["81406"], "valid": ["-3g5yACwYnA"], "test": ["_x", "gone"]}
    put(
        "".join(f"standard_{name}_fold={ids!r}\n" for name, ids in lists.items()),
        root / "cmu_mosei_std_folds.py",
    )
    scanned = project.json("scan", "mosei", "--root", str(root))
    assert scanned["splits"]["all"]["labels"]["sentiment7"]["1"] == 4
    assert scanned["splits"]["all"]["labels"]["emotions6_happy"] == {"absent": 0, "present": 8}
    assert {"missing_videos", "absent", "count_differs"} <= {p["reason"] for p in scanned["problems"]}
    answer = extract(project, "mosei", root)
    assert caches(project, "mosei") == {"mfcc": (8, 6), "minilm": (8, 8)}
    assert reasons(answer) == {(f"gone_{n}", "mfcc", "absent") for n in range(2)}
    run = train(project, "mosei", label_set="sentiment7", split="standard")
    assert scored(run) == 4 and run["missing"]["test"] == {"text": 0, "audio": 2}
    run = train(project, "mosei", label_set="emotions6", split="standard")
    assert run["classes"] == ["happy", "sad", "anger", "surprise", "disgust", "fear"] and run["several"]
    assert [sum(map(sum, matrix)) for matrix in run["confusion"]] == [4] * 6
    assert run["marks"] == [f"class {emotion} has no example in train" for emotion in run["classes"][1:]]
    page = (project.folder / project.json("report")["path"]).read_text()
    assert "emotions6" in page and "no happy" in page


def test_recordings_with_subtitles(tmp_path: Path, project: Project, film: Callable[..., Path]) -> None:
    root = tmp_path / "own"
    put(film(3), root / "talk.mp4", root / "second.mp4")
    cues = "1\n00:00:00,000 --> 00:00:01,500\nANN: Hello\n\n2\n00:00:01,500 --> 00:00:03,000\nBOB: Yes\n"
    (root / "talk.srt").write_bytes(cues.replace("\n", "\r\n").encode("utf-8-sig"))
    (root / "second.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:02.000\n<v Eve>Oh</v>\n")
    scanned = project.json("scan", "folder", "--root", str(root))
    assert scanned["splits"]["all"]["utterances"] == 3 and scanned["splits"]["all"]["dialogues"] == 2
    answer = extract(project, "folder", root, "mfcc")
    assert caches(project, "folder") == {"mfcc": (3, 3)} and answer["failed"] == []


def test_a_folder_of_clips_with_a_table(tmp_path: Path, project: Project, film: Callable[..., Path]) -> None:
    root = tmp_path / "own"
    rows = ["file,text,speaker,dialogue,split,emotion"]
    for n in range(9):
        subset, emotion = ("train", "val", "test")[n // 3], ("joy", "anger", "")[n % 3]
        put(film(tone=400 + 50 * (n % 3)), root / "clips" / f"{n}.mp4")
        rows.append(f"clips/{n}.mp4,Words of turn {n},{'AB'[n % 2]},d{n // 3},{subset},{emotion}")
    put("\n".join(rows), root / "utterances.csv")
    project = replace(project, inside=False)
    scanned = project.json("scan", "folder", "--root", str(root))
    assert scanned["splits"]["all"]["labels"]["emotion"] == {"anger": 3, "joy": 3}
    assert extract(project, "folder", root)["failed"] == []
    assert caches(project, "folder") == {"mfcc": (9, 9), "minilm": (9, 9)}
    assert scored(train(project, "folder", label_set="emotion", split="official")) == 2


def test_a_folder_that_cannot_be_used_ends_with_code_2(tmp_path: Path, project: Project) -> None:
    (tmp_path / "utterances.csv").write_text("id,file,start,end\na/b,x.wav,3,1\n")
    told = project.ercache("scan", "folder", "--root", str(tmp_path), code=2).stderr
    assert "contains a path separator" in told and "run backwards" in told
    assert not (project.folder / "data" / "manifests" / "folder.jsonl").exists()
    for corpus in ("mosei", "ravdess", "cremad", "meld", "iemocap", "demo"):
        told = project.ercache("scan", corpus, "--root", str(tmp_path), code=2).stderr
        assert corpus in told and "utterances.csv" in told.replace("train_sent_emo.csv", "utterances.csv")


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
    assert extract(project, "folder", root, "mfcc")["failed"] == []
    assert caches(project, "folder") == {"mfcc": (225, 225)}
    assert scored(train(project, "folder", {"audio": ["mfcc"]}, label_set="emotion", split="speakers")) > 0


@pytest.mark.skipif(not CREMAD.is_dir(), reason="needs ../shared/media/cremad (6 real clips)")
def test_the_real_clips_of_cremad_scan_with_all_that_their_names_say(project: Project) -> None:
    scanned = project.json("scan", "cremad", "--root", str(CREMAD))
    assert set(scanned["splits"]["all"]["labels"]["emotion6"].values()) == {1}
    answer = extract(project, "cremad", CREMAD, "mfcc,minilm,face_hog")
    assert answer["failed"] == []
    assert caches(project, "cremad") == {"mfcc": (6, 6), "minilm": (6, 6), "face_hog": (6, 6)}
