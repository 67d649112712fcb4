"""CMU-MOSEI: segments, labels and folds are those of the annotation, and what is missing is told by name."""

import json
import shutil
import subprocess
from pathlib import Path

import h5py
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ercache.errors import CorpusError
from ercache.manifest import Manifest, read_manifest, write_manifest
from extract.corpora import CORPORA
from extract.corpora.common.subtitles import decode
from extract.corpora.mosei.labels import COLUMNS, LABEL_SETS, labels_of, read_csd, read_raters
from extract.corpora.mosei.release import read_segments
from tests.support.corpus_folder import filmed, put

pytestmark = pytest.mark.usefixtures("scanned_here")

ENTRY = CORPORA["mosei"]
VIDEO, SOUND = "Raw/Videos/Full/Combined", "Raw/Audio/Full/WAV_16000"
TEXT, CUT = "Raw/Transcript/Segmented/Combined", "Raw/Videos/Segmented/Combined"
NONE = (0.0,) * 7
Segments = list[tuple[float, float, tuple[float, ...]]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filmed(tmp_path_factory.mktemp("film") / "film.mp4", 4)


def csd(root: Path, videos: dict[str, Segments], name: str = "CMU_MOSEI_Labels.csd") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with h5py.File(root / name, "w") as file:
        file.create_dataset("All Labels/metadata/root name", data=[json.dumps("All Labels").encode()])
        for video, rows in videos.items():
            group = file.create_group(f"All Labels/data/{video}")
            group["features"] = np.array([scores for *_, scores in rows], np.float32).reshape(-1, 7)
            group["intervals"] = np.array([times[:2] for times in rows], np.float64).reshape(-1, 2)
    return root


def transcript(root: Path, video: str, *lines: tuple[object, float, float, str]) -> Path:
    text = "".join(f"{video}___{clip}___{start}___{end}___{said}\n" for clip, start, end, said in lines)
    return put(root, f"{TEXT}/{video}.txt", text)


def corpus(root: Path, film: Path) -> Path:
    """Two videos as distributed; the second has no label for one segment, and one that has no text."""
    for video in ("-lqc32Zpr7M", "FcAgbLF6__s"):
        put(root, f"{VIDEO}/{video}.mp4", film)
    transcript(root, "-lqc32Zpr7M", (1, 1.5, 3.0, "second"), (0, -0.4, 1.5, "_first___of it"))
    transcript(root, "FcAgbLF6__s", (12, 0.0, 1.0, "one"), (3, 2.0, 3.0, "two"))
    happy = (1.0, 2.0, 0, 0, 0, 0, 0.33)
    return csd(
        root,
        {
            "-lqc32Zpr7M": [(1.5, 3.0, happy), (-0.4, 1.5, NONE)],
            "FcAgbLF6__s": [(3.0, 3.5, happy), (0.01, 0.99, (-2.5, 1, 1, 0, 0, 0, 0))],
        },
    )


def scan(root: Path, **switches: str) -> Manifest:
    return ENTRY.scan(root, ENTRY.Switches(**switches))


def told(manifest: Manifest, reason: str) -> list[str]:
    return [p.detail for p in manifest.problems if p.reason == reason]


def test_segments_are_stretches_of_the_recordings_in_order_of_time(tmp_path: Path, film: Path) -> None:
    found = scan(corpus(tmp_path / "r", film))
    rows = [
        (u.id, u.dialogue, u.index, u.speaker, u.text, u.video and (u.video.path, u.video.start, u.video.end))
        for u in found.utterances
    ]
    one, two = "-lqc32Zpr7M", "FcAgbLF6__s"
    assert rows == [
        (f"{one}_0", one, 0, one, "_first___of it", (f"{VIDEO}/{one}.mp4", 0.0, 1.5)),
        (f"{one}_1", one, 1, one, "second", (f"{VIDEO}/{one}.mp4", 1.5, 3.0)),
        (f"{two}_12", two, 0, two, "one", (f"{VIDEO}/{two}.mp4", 0.0, 1.0)),
        (f"{two}_3", two, 1, two, "two", (f"{VIDEO}/{two}.mp4", 2.0, 3.0)),
        (f"{two}[0]", two, 2, two, None, (f"{VIDEO}/{two}.mp4", 3.0, 3.5)),
    ]
    assert [u.labels["sentiment7"] for u in found.utterances] == ["0", "1", "-3", None, "1"]
    assert told(found, "negative_start") == ["-0.4 s was taken as 0"]
    assert told(found, "segment_without_label") == told(found, "label_without_transcript") == ["1 segments"]
    assert found.version == "labels of the CSD"
    texts = [f"Raw/Transcript/Segmented/Combined/{video}.txt" for video in (one, two)]
    assert list(found.sources) == ["CMU_MOSEI_Labels.csd", *texts]
    write_manifest(found, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == found


@pytest.mark.parametrize(
    ("sentiment", "seven", "rounded", "two", "nonzero"),
    [
        (-3.0, "-3", "-3", "negative", "negative"),
        (-2.1, "-3", "-2", "negative", "negative"),
        (-2.0, "-2", "-2", "negative", "negative"),
        (-1.0, "-1", "-1", "negative", "negative"),
        (-0.1, "-1", "0", "negative", "negative"),
        (0.0, "0", "0", "non-negative", None),
        (0.1, "1", "0", "non-negative", "positive"),
        (1.0, "1", "1", "non-negative", "positive"),
        (2.0, "2", "2", "non-negative", "positive"),
        (2.3, "3", "2", "non-negative", "positive"),
    ],
)
def test_sentiment_falls_into_the_classes_of_both_conventions(
    sentiment: float, seven: str, rounded: str, two: str, nonzero: str | None
) -> None:
    found = labels_of((sentiment, *NONE[1:]))
    assert [found[s] for s in ("sentiment7", "sentiment7_rounded", "sentiment2", "sentiment2_nonzero")] == [
        seven,
        rounded,
        two,
        nonzero,
    ]


def test_several_emotions_are_present_at_once_and_a_single_one_is_the_strongest() -> None:
    found = labels_of((0, 2, 0.33, 0, 0, 0, 1))
    present = {name.removeprefix("emotions6_") for name, value in found.items() if value == "present"}
    assert present == {"happy", "sad", "fear"} and found["emotion6"] == "happy"
    assert labels_of((0, 1, 1, 0, 0, 0, 0))["emotion6"] is None
    assert labels_of(NONE)["emotion6"] is None and labels_of(NONE)["emotions6_fear"] == "absent"
    assert set(labels_of(None).values()) == {None}


def test_segments_without_a_single_emotion_are_counted(tmp_path: Path) -> None:
    rated = [(0, 1, NONE), (1, 2, (0, 1, 1, 0, 0, 0, 0)), (2, 3, (0, 1, 2, 0, 0, 0, 0))]
    found = scan(csd(tmp_path, {"-lqc32Zpr7M": rated}))
    assert [u.labels["emotion6"] for u in found.utterances] == [None, None, "sad"]
    assert told(found, "no_single_emotion") == ["2 rated segments have none or a tie (emotion6)"]


@given(st.tuples(st.floats(-3, 3), *[st.floats(0, 3)] * 6))
def test_every_label_is_of_its_set(scores: tuple[float, ...]) -> None:
    assert all(value is None or value in LABEL_SETS[name] for name, value in labels_of(scores).items())


def test_ratings_out_of_range_are_clipped_and_told(tmp_path: Path) -> None:
    root = csd(
        tmp_path, {"2HP4KedfmSc": [(0, 1, (4.0, -1, 0, 0, 5, 0, 0)), (1, 2, (float("nan"), *NONE[1:]))]}
    )
    found = read_csd(root / "CMU_MOSEI_Labels.csd")
    assert [r.scores for r in found.of_video["2HP4KedfmSc"]] == [(3, 0, 0, 0, 3, 0, 0)]
    assert [reason for reason, _ in found.notes] == ["label_out_of_range", "unreadable_label"]


def test_ratings_of_several_people_are_averaged() -> None:
    header = ",".join(["HITId", "Input.VIDEO_ID", "Input.CLIP", *COLUMNS])
    rows = [
        "1,_Videos/03bSnISJMiM,0,1,3,0,0,0,0,0",
        "1,03bSnISJMiM.mp4,0,2,0,0,0,0,0,0",
        "1,03bSnISJMiM,1,x,0,0,0,0,0,0",
    ]
    found = read_raters(
        [("a.csv", "\r\n".join([header, *rows]).encode()), ("b.csv", b"x,y\n1,2\n"), ("c.csv", b"\xff")]
    )
    (rated,) = found.of_video["03bSnISJMiM"]
    assert rated.clip == "0" and rated.scores == (1.5, 1.5, 0, 0, 0, 0, 0)
    assert [reason for reason, _ in found.notes] == ["unreadable_label", "other_table", "unreadable_table"]


def test_the_raters_tables_serve_where_there_is_no_csd(tmp_path: Path, film: Path) -> None:
    root = corpus(tmp_path / "r", film)
    (root / "CMU_MOSEI_Labels.csd").unlink()
    table = (
        ",".join(["Input.VIDEO_ID", "Input.CLIP", *COLUMNS])
        + "\nFcAgbLF6__s,12,-1,0,2,0,0,0,0\nFcAgbLF6__s,9,1,0,0,0,0,0,0\n"
    )
    found = scan(put(root, "Raw/Labels/batch.csv", table))
    labels = {u.id: (u.labels["sentiment7"], u.labels["emotion6"]) for u in found.utterances}
    assert labels["FcAgbLF6__s_12"] == ("-1", "sad") and labels["FcAgbLF6__s_3"] == (None, None)
    (nowhere,) = [u for u in found.utterances if u.id == "FcAgbLF6__s_9"]
    assert nowhere.video is None and nowhere.labels["sentiment7"] == "1"
    write_manifest(found, tmp_path / "m.jsonl")


def test_the_folds_of_the_sdk_are_read_and_never_run(tmp_path: Path, film: Path) -> None:
    root = corpus(tmp_path / "r", film)
    assert "cmu_mosei_std_folds.py" in told(scan(root), "no_folds")[0] and scan(root).splits == {}
    transcript(root, "81406", (0, 0.0, 1.0, "x"))
    trap = "import os\nos.mkdir('ran')\n"
    lists = {"train": ["-lqc32Zpr7M"], "valid": ["FcAgbLF6__s"], "test": ["81406", "gone"]}
    folds = "".join(f"standard_{name}_fold={ids!r}\n" for name, ids in lists.items())
    found = scan(put(root, "cmu_mosei_std_folds.py", trap + folds))
    assert found.splits["standard"] == {
        "train": ("-lqc32Zpr7M_0", "-lqc32Zpr7M_1"),
        "dev": ("FcAgbLF6__s_12", "FcAgbLF6__s_3", "FcAgbLF6__s[0]"),
        "test": ("81406_0",),
    }
    assert not Path("ran").exists() and told(found, "fold_without_segment") == ["test: 1 videos: gone"]
    assert any("train: 1 videos and 2 labelled segments" in detail for detail in told(found, "count_differs"))
    put(root, "cmu_mosei_std_folds.py", "standard_train_fold=open('x').read()\n")
    assert "cmu_mosei_std_folds.py: ValueError" in told(scan(root), "unreadable_folds")[0]
    put(root, "cmu_mosei_std_folds.py", "standard_train_fold=['a']\n")
    assert "no lists of ids" in told(scan(root), "unreadable_folds")[0]
    for torn in (["a", "-lqc32Zpr7M"], ["-lqc32Zpr7M", "b"]):
        lists = {"train": ["-lqc32Zpr7M"], "valid": ["b", "81406"], "test": torn}
        put(root, "cmu_mosei_std_folds.py", "".join(f"standard_{n}_fold={i!r}\n" for n, i in lists.items()))
        told_of_it = told(scan(root), "unreadable_folds")[0]
        assert "more than one fold" in told_of_it and scan(root).splits == {}


def test_missing_videos_are_listed_and_cut_clips_serve_for_them(tmp_path: Path, film: Path) -> None:
    root = corpus(tmp_path / "r", film)
    (root / VIDEO / "FcAgbLF6__s.mp4").unlink()
    put(root, f"{CUT}/FcAgbLF6__s_12.mp4", film)
    put(root, f"{VIDEO}/idle.mp4", film)
    found = scan(root)
    assert told(found, "missing_videos") == ["1 of 2: FcAgbLF6__s"]
    assert told(found, "video_without_segment") == ["1 file: idle"]
    media = {u.id: (u.video.path, u.video.start) for u in found.utterances if u.video}
    assert media["FcAgbLF6__s_12"] == (f"{CUT}/FcAgbLF6__s_12.mp4", None)
    absent = [p.utterance for p in found.problems if p.reason == "absent"]
    assert absent == ["FcAgbLF6__s_3", "FcAgbLF6__s[0]"]
    first = scan(put(root, f"{CUT}/-lqc32Zpr7M_1.mp4", film), video="segmented").utterances[1]
    assert first.video and first.video.path == f"{CUT}/-lqc32Zpr7M_1.mp4"


def test_sound_files_are_taken_before_the_sound_of_the_video(tmp_path: Path, film: Path) -> None:
    root = corpus(tmp_path / "r", film)
    (root / SOUND).mkdir(parents=True)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", f"file:{film}"]
    subprocess.run([*command, f"file:{root / SOUND / '-lqc32Zpr7M.wav'}"], check=True)
    paths = {u.dialogue: u.audio.path for u in scan(root).utterances if u.audio}
    assert paths == {"-lqc32Zpr7M": f"{SOUND}/-lqc32Zpr7M.wav", "FcAgbLF6__s": f"{VIDEO}/FcAgbLF6__s.mp4"}


def test_segments_beyond_their_video_are_trimmed_and_backward_ones_have_no_media(
    tmp_path: Path, film: Path
) -> None:
    root = transcript(
        tmp_path / "r", "81406", (0, 3.0, 9.0, "long"), (1, 7.0, 8.0, "after"), (2, 2.0, 1.0, "back")
    )
    put(root, f"{VIDEO}/81406.mp4", film)
    found = scan(root)
    of = {u.id: u for u in found.utterances}
    assert of["81406_0"].video and of["81406_0"].video.end == pytest.approx(4.0, abs=0.11)
    assert of["81406_2"].video is None and of["81406_2"].audio is None
    assert [(p.utterance, p.reason) for p in found.problems if p.status == "missing" and p.utterance] == [
        ("81406_2", "not_in_corpus"),
        ("81406_1", "no_video"),
        ("81406_1", "no_audio"),
    ]
    dropped = scan(root, beyond_file="drop")
    assert [(u.id, u.index) for u in dropped.utterances] == [("81406_2", 0), ("81406_1", 1)]
    assert "81406_0" in told(dropped, "left_out")[0]


def test_bad_lines_of_a_transcript_are_told_and_the_others_read() -> None:
    good = ["a___0___0___1___x\u2028y", "a___6___1___2___"]
    bad = ["a___0___1___2___again", "b___1___0___1___other", "a___2___soon___1___x", "a___3___nan___1___x"]
    worse = ["", "a___4", "a___../5___0___1___x"]
    text = "\r\n".join([good[0], *bad, *worse, good[1]])
    segments, notes = read_segments("a", text.encode(), "a.txt")
    assert [(s.clip, s.text) for s in segments] == [("0", "x\u2028y"), ("6", "")]
    assert [reason for reason, _ in notes] == ["repeated_segment"] + ["unreadable_line"] * 5
    assert read_segments("a", b"a___0___0___1___\xe4", "a.txt")[1] == [
        ("unreadable_transcript", "a.txt: not UTF-8 (byte 16); save it as UTF-8 or name its encoding")
    ]


@given(st.binary(max_size=200))
def test_any_transcript_is_read_or_told(content: bytes) -> None:
    for text in (content, b"a___0___0___1___" + content):
        segments, notes = read_segments("a", text, "a.txt")
        assert segments or notes or not decode(text).strip()


def test_nested_folders_other_case_litter_and_archives(tmp_path: Path, film: Path) -> None:
    corpus(tmp_path / "plain", film)
    nested = tmp_path / "r" / "CMU_MOSEI" / "unpacked"
    shutil.copytree(tmp_path / "plain", nested)
    (nested / "Raw").rename(nested / "RAW")
    for litter in ("RAW/Videos/Full/Combined/._81406.mp4", "RAW/Transcript/Segmented/Combined/._81406.txt"):
        put(nested, litter, "Mac OS X")
    put(tmp_path / "r", "CMU_MOSEI.zip", "")
    found, plain = scan(tmp_path / "r"), scan(tmp_path / "plain")
    assert [u.id for u in found.utterances] == [u.id for u in plain.utterances]
    assert all(u.video and u.video.sha256 for u in found.utterances)
    assert told(found, "archives") == ["is everything in them unpacked? CMU_MOSEI.zip"]


def test_labels_alone_make_a_manifest(tmp_path: Path) -> None:
    found = scan(csd(tmp_path / "r", {"81406": [(0, 1, NONE)]}))
    (u,) = found.utterances
    assert (u.id, u.text, u.video, u.audio) == ("81406[0]", None, None, None)
    assert any("no videos" in detail for detail in told(found, "not_in_corpus"))


def test_what_cannot_be_used_says_why(tmp_path: Path) -> None:
    for files, said in (
        ({}, "CMU_MOSEI_Labels.csd"),
        ({"CMU_MOSEI.zip": ""}, "unpack CMU_MOSEI.zip there first"),
    ):
        root = tmp_path / str(len(files))
        root.mkdir()
        for name, content in files.items():
            put(root, name, content)
        with pytest.raises(CorpusError) as caught:
            scan(root)
        assert said in str(caught.value)
    for number, damage in enumerate(("text", "features", "link", "root")):
        root = tmp_path / f"bad{number}"
        csd(root, {"a": [(0, 1, NONE)]})
        path = root / "CMU_MOSEI_Labels.csd"
        if damage == "text":
            path.write_text("this is no HDF5")
        else:
            with h5py.File(path, "a") as file:
                data = file["All Labels/data/a"]
                if damage == "features":
                    del data["features"]
                    data["features"] = np.zeros((3, 7))
                elif damage == "link":
                    del data["features"]
                    data["features"] = h5py.ExternalLink("/etc/other.h5", "x")
                else:
                    del file["All Labels"]
        with pytest.raises(CorpusError, match="is not a readable CSD file of labels") as caught:
            scan(root)
        assert "CMU-MultimodalSDK" in str(caught.value)
