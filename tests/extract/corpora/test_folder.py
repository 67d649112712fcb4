"""A folder of one's own: every row or cue is an utterance, or it is told why not; never a traceback, never a drop."""

import contextlib
import csv
import io
import math
import os
import shutil
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, read_manifest, write_manifest
from ercache.params.load import schema_errors
from extract.corpora import CORPORA
from extract.corpora.folder.table import read_clip_table, seconds_of
from tests.support.corpus_folder import filmed

pytestmark = pytest.mark.usefixtures("scanned_here")

ENTRY = CORPORA["folder"]
SRT = "1\n00:00:00,000 --> 00:00:01,000\nANN: Hi\n\n2\n00:00:01,000 --> 00:00:02,000\nBOB: Yes\n"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filmed(tmp_path_factory.mktemp("film") / "film.mp4", 3)


def sound(path: Path, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\1\2" * int(8000 * seconds))
    return path


def folder(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def scan(root: Path, **switches: Any) -> Manifest:
    return ENTRY.scan(root, ENTRY.Switches(**switches))


def told(manifest: Manifest, reason: str) -> list[str]:
    return [p.detail for p in manifest.problems if p.reason == reason]


def refused(root: Path, **switches: Any) -> str:
    with pytest.raises(CorpusError) as caught:
        scan(root, **switches)
    assert caught.value.exit_code == 2 and caught.value.hint
    return str(caught.value)


def test_every_row_of_a_table_is_an_utterance_with_its_labels(tmp_path: Path, film: Path) -> None:
    root = tmp_path / "r"
    sound(root / "b" / "c.wav")
    shutil.copy(film, root / "a.mp4")
    table = (
        "File;Text;Speaker;Emotion;label:Arousal;Split;age\r\n"
        "a.mp4;Hi.;Ann;joy;high;train;31\r\nb/c.wav;;Bob;;low;val;44\r\n"
    )
    found = scan(folder(root, {"utterances.csv": table}))
    a, c = found.utterances
    assert (a.id, a.dialogue, a.index, a.speaker, a.text, a.part) == ("a", "a", 0, "Ann", "Hi.", "all")
    assert a.video == a.audio and a.video and a.video.path == "a.mp4" and a.video.sha256
    assert (c.id, c.video, c.text) == ("b__c", None, None) and c.audio and c.audio.path == "b/c.wav"
    assert found.label_sets == {"emotion": ("joy",), "Arousal": ("high", "low")}
    assert [dict(u.labels) for u in found.utterances] == [
        {"emotion": "joy", "Arousal": "high"},
        {"emotion": None, "Arousal": "low"},
    ]
    assert found.splits["official"] == {"train": ("a",), "dev": ("b__c",)}
    assert told(found, "unused_column") == ["utterances.csv: age"] and list(found.sources) == [
        "utterances.csv"
    ]


def test_stretches_of_a_long_film_are_read_by_their_times_and_ordered(tmp_path: Path, film: Path) -> None:
    root = tmp_path / "r"
    root.mkdir()
    shutil.copy(film, root / "Talk.MP4")
    table = "file,start,end,text\ntalk.mp4,0:01.5,2.5,second\ntalk.mp4,-0.2,1.0,first\n"
    found = scan(folder(root, {"utterances.csv": table}))
    assert [(u.id, u.index, u.text) for u in found.utterances] == [
        ("Talk_0", 0, "first"),
        ("Talk_1", 1, "second"),
    ]
    one, two = (u.video for u in found.utterances)
    assert one and two and (one.start, one.end, two.start, two.end) == (0.0, 1.0, 1.5, 2.5)
    assert told(found, "negative_start") == ["-0.2 s was taken as 0"]
    assert told(found, "other_case") == ["2 utterances: talk.mp4 as Talk.MP4"]
    assert {u.dialogue for u in found.utterances} == {"Talk"} and {u.speaker for u in found.utterances} == {
        "unknown"
    }


def test_a_name_without_suffix_means_its_film_and_its_sound(tmp_path: Path, film: Path) -> None:
    root = tmp_path / "r"
    sound(root / "v" / "x.wav")
    shutil.copy(film, root / "v" / "x.mp4")
    (u,) = scan(folder(root, {"utterances.csv": "file\nv\\x\n"})).utterances
    assert u.video and u.audio and (u.video.path, u.audio.path) == ("v/x.mp4", "v/x.wav")


def test_dialogues_are_ordered_by_index_and_split_whole(tmp_path: Path) -> None:
    rows = [f"d{n % 7},{3 - n // 7},{n}" for n in range(21)]
    found = scan(folder(tmp_path, {"utterances.csv": "dialogue,index,text\n" + "\n".join(rows)}))
    assert [(u.index, u.text) for u in found.utterances[:3]] == [(0, "14"), (1, "7"), (2, "0")]
    split = found.splits["dialogues"]
    of = {u.id: u.dialogue for u in found.utterances}
    sets = [{of[i] for i in ids} for ids in split.values()]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 7 and "speakers" not in found.splits


def test_a_split_of_the_table_that_leaks_or_has_other_subsets_is_told(tmp_path: Path) -> None:
    table = "dialogue,text,split\n" + "".join(f"{d},x,{s}\n" for d, s in ODD_SPLIT)
    found = scan(folder(tmp_path, {"utterances.csv": table}))
    assert told(found, "torn_dialogue") == ["2 dialogues are in several subsets of `official`: b, d"]
    assert told(found, "other_subset") == ["rows of subsets other than train, dev, test: tset (2), extra (1)"]
    assert {name: len(ids) for name, ids in found.splits["official"].items()} == {
        "train": 3, "dev": 1, "test": 1, "extra": 1, "tset": 2,
    }  # fmt: skip
    good = scan(folder(tmp_path / "good", {"utterances.csv": "text,split\nx,train\nx,val\nx,test\n"}))
    assert not told(good, "torn_dialogue") and not told(good, "other_subset")


@pytest.mark.parametrize("dialogue", ["", "d{n}", "d{half}"])
def test_where_no_dialogue_has_two_speakers_every_split_keeps_speakers_apart(
    tmp_path: Path, dialogue: str
) -> None:
    rows = [f"u{n},s{n // 2 % 5},{dialogue.format(n=n, half=n // 2)},x" for n in range(20)]
    found = scan(folder(tmp_path, {"utterances.csv": "id,speaker,dialogue,text\n" + "\n".join(rows)}))
    speaker = {u.id: u.speaker for u in found.utterances}
    assert {"dialogues", "speakers", *(f"speakers/{k}" for k in range(1, 6))} == set(found.splits)
    for split in found.splits.values():
        sets = [{speaker[i] for i in ids} for ids in split.values()]
        assert [len(s) for s in sets] == [3, 1, 1] and len(set.union(*sets)) == 5
        assert sorted(i for ids in split.values() for i in ids) == sorted(speaker)
    assert told(found, "shared_speakers") == []


def test_a_split_that_shares_speakers_is_marked(tmp_path: Path) -> None:
    few = scan(folder(tmp_path / "few", {"utterances.csv": "text,speaker\n" + "x,Ann\nx,Bob\n" * 5}))
    (problem,) = [p for p in few.problems if p.reason == "shared_speakers"]
    assert problem.detail == "`dialogues`: 2 of 2 utterances of test are of speakers in train: Ann, Bob"
    assert problem.count == 2 and "speakers" not in few.splits
    talks = "dialogue,text,speaker\n" + "".join(f"d{n},x,Ann\nd{n},x,S{n}\n" for n in range(6))
    assert (
        "of test are of speakers in train: Ann"
        in told(scan(folder(tmp_path / "talks", {"utterances.csv": talks})), "shared_speakers")[0]
    )
    own = "text,speaker,split\nx,Ann,train\nx,Bob,dev\nx,Ann,test\nx,Cy,test\n"
    assert told(scan(folder(tmp_path / "own", {"utterances.csv": own})), "shared_speakers") == [
        "`official`: 1 of 2 utterances of test are of speakers in train: Ann"
    ]
    nobody = scan(folder(tmp_path / "nobody", {"utterances.csv": "text\n" + "x\n" * 9}))
    assert told(nobody, "shared_speakers") == []


def test_recordings_with_subtitles_are_dialogues(tmp_path: Path, film: Path) -> None:
    root = tmp_path / "r"
    (root / "b").mkdir(parents=True)
    for name in ("a.mp4", "b/a.mp4", "idle.mp4"):
        shutil.copy(film, root / name)
    vtt = "WEBVTT\n\n00:00.500 --> 00:01.500\n<v Eve>Oh"
    found = scan(folder(root, {"a.srt": SRT, "b/a.en.vtt": vtt, "gone.srt": SRT}))
    rows = [
        (u.id, u.speaker, u.text, u.video and (u.video.path, u.video.start, u.video.end))
        for u in found.utterances
    ]
    assert rows == [
        ("a_0", "ANN", "Hi", ("a.mp4", 0.0, 1.0)),
        ("a_1", "BOB", "Yes", ("a.mp4", 1.0, 2.0)),
        ("gone_0", "ANN", "Hi", None),
        ("gone_1", "BOB", "Yes", None),
        ("b__a_0", "Eve", "Oh", ("b/a.mp4", 0.5, 1.5)),
    ]
    assert told(found, "media_without_transcript") == ["1 file: idle.mp4"]
    assert told(found, "transcript_without_media") == ["gone.srt: its texts are kept"]
    assert sorted(found.sources) == ["a.srt", "b/a.en.vtt", "gone.srt"]


def test_a_transcript_is_used_with_the_name_that_is_nearest_and_all_is_told(
    tmp_path: Path, film: Path
) -> None:
    root = tmp_path / "r"
    root.mkdir()
    for name in ("Talk.MP4", "call.mp4"):
        shutil.copy(film, root / name)
    sound(root / "call.mp3.wav")  # another recording
    files = {"talk.en.forced.srt": SRT, "talk.transcript.vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nHo\n"}
    found = scan(
        folder(root, {**files, "call.mp4.srt": SRT, "call.mp3.srt": SRT, "note.srt": SRT, "note.mxf": ""})
    )
    assert {u.dialogue: u.video and u.video.path for u in found.utterances} == {
        "Talk": "Talk.MP4",
        "call": "call.mp4",
        "call.mp3": None,
        "note": None,
    }
    assert told(found, "transcript_not_used") == ["talk.transcript.vtt is nearer in name: talk.en.forced.srt"]
    assert told(found, "other_case") == ["talk.transcript.vtt: its recording was found as Talk.MP4"]
    assert told(found, "transcript_without_media") == [
        "note.srt: its texts are kept; note.mxf is no recording of a kind that is read"
    ]


def test_turns_of_a_cue_are_stretches_of_their_own(tmp_path: Path, film: Path) -> None:
    root = tmp_path / "r"
    root.mkdir()
    shutil.copy(film, root / "a.mp4")
    text = "1\n00:00:00,000 --> 00:00:02,000\n- ANN: Hi.\n- BOB: No.\n\n2\n00:00:02,000 --> 00:00:03,000\n[APPLAUSE]\n"
    found = scan(folder(root, {"a.srt": text}))
    assert [
        (u.id, u.speaker, u.text, u.video and (u.video.start, u.video.end)) for u in found.utterances
    ] == [
        ("a_0", "ANN", "Hi.", (0.0, 1.0)),
        ("a_1", "BOB", "No.", (1.0, 2.0)),
    ]
    assert told(found, "no_speech") and told(found, "shared_cue")


def test_a_split_that_too_few_dialogues_cannot_have_is_told(tmp_path: Path) -> None:
    one = scan(folder(tmp_path / "one", {"a.srt": SRT}))
    assert one.splits == {} and told(one, "split_not_made") == [
        "dialogues: the folder holds 1, and train, dev and test need one each; add recordings with transcripts, or "
        "give a table the column `split` and name the split `official`"
    ]
    three = scan(folder(tmp_path / "three", {f"{name}.srt": SRT for name in "abc"}))
    assert "dialogues" in three.splits and not told(three, "split_not_made")


def test_a_csv_beside_a_recording_is_its_transcript_with_labels(tmp_path: Path, film: Path) -> None:
    root = tmp_path / "r"
    root.mkdir()
    shutil.copy(film, root / "a.mp4")
    found = scan(
        folder(root, {"a.csv": "start,end,speaker,text,emotion\n0,1,Ann,Hi,joy\n1,2,Bob,No,anger\n"})
    )
    assert [(u.id, u.speaker, u.labels["emotion"]) for u in found.utterances] == [
        ("a_0", "Ann", "joy"),
        ("a_1", "Bob", "anger"),
    ]
    assert all(u.video and u.video.path == "a.mp4" for u in found.utterances)


@pytest.mark.parametrize("policy", ["trim", "keep", "drop"])
def test_stretches_beyond_the_file_follow_the_policy(tmp_path: Path, policy: str) -> None:
    sound(tmp_path / "a.wav", 2.0)
    table = "file,start,end\na.wav,0,1\na.wav,1.5,3\na.wav,1.8,2.2\na.wav,5,6\n"
    found = scan(folder(tmp_path, {"utterances.csv": table}), beyond_file=policy)
    ends = [u.audio.end for u in found.utterances if u.audio]
    assert ends == {"trim": [1, 2.0, 2.2, 6], "keep": [1, 3, 2.2, 6], "drop": [1, 2.2, 6]}[policy]
    assert [u.index for u in found.utterances] == list(range(len(ends)))
    assert [p.utterance for p in found.problems if p.status == "missing"] == ["a_3"]
    assert bool(told(found, "beyond_the_file")) == (policy != "drop") and bool(told(found, "left_out")) == (
        policy == "drop"
    )


ODD_SPLIT = (
    ("a", "train"), ("a", "train"), ("b", "Train"), ("b", "test"), ("c", "tset"), ("c", "tset"),
    ("d", "extra"), ("d", "valid"), ("d", ""),
)  # fmt: skip
BAD = """id,file,start,end,text,emotion,index,dialogue
a/b,x.wav,,,t,joy,,
c\\d,x.wav,,,t,joy,,
ok,x.wav,,,t,joy,,
ok,x.wav,,,t,joy,,
e,x.wav,3,1,t,joy,,
f,x.wav,soon,,t,joy,,
g,../x.wav,,,t,joy,,
h,/etc/passwd,,,t,joy,,
i,,,,,joy,,
j,x.wav,,,t,glee,,
k,x.wav,,,t,joy,one,
l,x.wav,,,t,joy,1,D
m,x.wav,,,t,joy,1,D
n,x.wav
"""
FAULTS = (
    "line 2: id 'a/b' contains a path separator",
    "line 3: id 'c\\\\d' contains a path separator",
    "line 5: id 'ok' is already used in utterances.csv, line 4",
    "line 6: its times run backwards (3 to 1)",
    "line 7: start 'soon' is not a time",
    "line 8: '../x.wav' leaves the root",
    "line 9: '/etc/passwd' leaves the root",
    "line 10: has neither a file nor a text",
    "line 11: unknown emotion 'glee' (known: joy)",
    "line 12: index 'one' is not a whole number",
    "line 14: dialogue 'D' has the index 1 already (utterances.csv, line 13)",
    "line 15: 2 fields, the header has 8",
)


def test_all_faults_of_a_table_are_told_at_once(tmp_path: Path) -> None:
    sound(tmp_path / "x.wav")
    text = refused(
        folder(tmp_path, {"utterances.csv": BAD}), label_sets={"emotion": ("joy",), "mood": ("x",)}
    )
    for fault in (*FAULTS, "no column of the label set 'mood'"):
        assert fault in text, fault
    assert "13 faults" in text and "bad_rows: drop" in text


def test_faulty_rows_may_be_left_out_and_are_told(tmp_path: Path) -> None:
    sound(tmp_path / "x.wav")
    root = folder(tmp_path, {"utterances.csv": BAD})
    found = scan(root, label_sets={"emotion": ("joy",)}, bad_rows="drop")
    assert [u.id for u in found.utterances] == ["ok", "l", "m"]
    assert len(told(found, "left_out")) == len(FAULTS)
    write_manifest(found, tmp_path / "out" / "m.jsonl")


def test_media_that_cannot_be_had_are_told_and_their_rows_kept(tmp_path: Path) -> None:
    root = tmp_path / "r"
    sound(root / "good.wav")
    sound(tmp_path / "outside" / "o.wav")
    (root / "link.wav").symlink_to(tmp_path / "outside" / "o.wav")
    (root / "dir").symlink_to(tmp_path / "outside")
    os.mkfifo(root / "pipe.wav")
    names = [
        "good.wav",
        "link.wav",
        "dir/o.wav",
        "pipe.wav",
        "empty.wav",
        "gone.wav",
        "text.wav",
        "._good.wav",
    ]
    table = "file\n" + "\n".join(names)
    found = scan(
        folder(root, {"utterances.csv": table, "empty.wav": "", "text.wav": "no sound", "idle.wav": ""})
    )
    assert {p.utterance: p.reason for p in found.problems if p.status == "missing"} == {
        "link": "outside_root",
        "dir__o": "outside_root",
        "pipe": "not_a_file",
        "empty": "empty_file",
        "gone": "absent",
        "text": "unreadable",
        "._good": "absent",
    }
    assert len(found.utterances) == 8 and told(found, "media_without_row") == ["1 file: idle.wav"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"x.txt": "x"}, "neither a table nor a transcript"),
        ({"x.zip": "x"}, "unpack x.zip"),
        ({"a.csv": "text\nx\n", "b.csv": "text\nx\n"}, "holds 2 tables: a.csv, b.csv"),
        ({"utterances.csv": "a,b\n1,2\n"}, "has no column audio, file, text or video (found: a, b)"),
        ({"utterances.csv": "file,path\n1,2\n"}, "'file' and 'path' are both the column 'file'"),
        ({"utterances.csv": "text\n"}, "holds no row"),
        ({"utterances.csv": ""}, "found: none"),
        ({"utterances.csv": b"text\n\xff\xfeHallo\xe4\n"}, "not UTF-8 (byte 5)"),
        ({"utterances.csv": 'text\n"open\n'}, "utterances.csv, line 2: not a readable csv"),
        ({"utterances.csv": "text\n" + "x" * 200_000}, "utterances.csv, line 2: not a readable csv"),
        ({"a.mp4": "", "a.srt": SRT, "a.vtt": "WEBVTT"}, "several transcripts"),
        ({"a.srt": "1\n00:00:05,000 --> 00:00:04,000\nx\n"}, "run backwards"),
        ({"a.srt": b"1\n00:00:00,000 --> 00:00:01,000\n\xe4\n"}, "a.srt: not UTF-8"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(
    tmp_path: Path, files: dict[str, str | bytes], said: str
) -> None:
    assert said in refused(folder(tmp_path, files))


def test_another_encoding_and_another_table_can_be_named(tmp_path: Path) -> None:
    root = folder(
        tmp_path, {"meta/all.tsv": "id\ttext\na\tgrün\n".encode("cp1252"), "x.csv": "", "y.csv": ""}
    )
    (u,) = scan(root, table="meta/all.tsv", encoding="cp1252").utterances
    assert u.text == "grün"
    assert "is not in the folder" in refused(root, table="nowhere.csv")
    assert "no text encoding" in schema_errors(ENTRY.Switches, {"encoding": "klingon"})[0]
    assert schema_errors(ENTRY.Switches, {"encoding": "hex"}) != []


def test_a_hundred_thousand_rows_are_read(tmp_path: Path) -> None:
    rows = "".join(f"d{n // 20},{n % 20},Ann,turn {n},joy\r\n" for n in range(100_000))
    table = ("dialogue,index,speaker,text,emotion\r\n" + rows).encode("utf-8-sig")
    found = scan(folder(tmp_path, {"utterances.csv": table}))
    assert len(found.utterances) == 100_000 and found.utterances[-1].id == "d4999_19"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12.5", 12.5), ("12,5", 12.5), ("1:02.25", 62.25), ("1:02:03,5", 3723.5), ("-1", -1)],
)
def test_times_are_seconds_or_a_clock(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@given(st.text(max_size=12))
def test_what_is_no_time_is_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert math.isfinite(seconds_of(text))


@given(st.binary(max_size=200), st.sampled_from([b"", b"file,text\n", b"id,text,start,end\n"]))
def test_any_bytes_give_rows_or_findings(content: bytes, header: bytes) -> None:
    found = read_clip_table(header + content, "x.csv")
    assert found.rows or found.findings


EMPTY = (
    "nan",
    "NaN",
    "None",
    "NA",
    "N/A",
    "#N/A",
    "<NA>",
    "NaT",
    "NULL",
    "null",
)  # what programs write for nothing
printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8).filter(
    lambda name: "/" not in name and "\\" not in name and name not in EMPTY
)
words = st.text(st.characters(codec="utf-8"), max_size=20).filter(lambda text: text.strip() not in EMPTY)
row = st.tuples(words, st.integers(0, 10_000), st.integers(0, 999), printable)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.dictionaries(printable, row, min_size=1, max_size=6))
def test_ids_times_and_texts_of_any_transcript_survive(
    tmp_path: Path, rows: dict[str, tuple[str, int, int, str]]
) -> None:
    root = tmp_path / "r"
    if not root.is_dir():
        os.utime(sound(root / "talk.wav", 20.0), (1, 1))  # old enough to be remembered between the examples
    cells = [(n, s / 1000, (s + length) / 1000, text, who) for n, (text, s, length, who) in rows.items()]
    (root / "talk.csv").write_bytes(table_of(["id", "start", "end", "text", "speaker"], cells))
    found = scan(root)
    write_manifest(found, tmp_path / "m.jsonl")
    assert read_manifest(tmp_path / "m.jsonl") == found == scan(root)
    kept = {
        u.id: (u.text or "", u.audio and (u.audio.start, u.audio.end), u.speaker) for u in found.utterances
    }
    assert kept == {n: (text.strip(), (start, end), who) for n, start, end, text, who in cells}
    assert [u.audio and u.audio.start for u in found.utterances] == sorted(start for _, start, *_ in cells)


def table_of(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()


def test_references_without_a_file_have_no_digest(tmp_path: Path) -> None:
    (u,) = scan(folder(tmp_path, {"utterances.csv": "file,text\ngone.mp4,Hi\n"})).utterances
    assert u.video == MediaRef("gone.mp4") == u.audio
