"""EmoryNLP: both forms give the same utterances, every deviation is told, and a wrong folder is refused."""

import csv
import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.corpora.emorynlp.rows import speakers_of
from tests.support.corpus_folder import details, put, refusal, scan_and_write

HEADER = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Start_Time,End_Time"
Row = tuple[
    str, list[str], str, int, int, int, int
]  # text, speakers, emotion, scene, utterance, season, episode
PARTS: dict[str, list[Row]] = {
    "train": [
        ("The stew is gone.", ["Anna Bell"], "Mad", 1, 1, 1, 2),
        ('It was "good", sorry', ["Ben Cole"], "Joyful", 1, 2, 1, 2),
        ("Hooray!", ["#ALL#"], "Powerful", 1, 4, 1, 2),
        ("So quiet.", ["Anna Bell", "Ben Cole"], "Peaceful", 2, 1, 1, 2),
    ],
    "dev": [("Who's there?", ["Ben Cole"], "Scared", 1, 1, 1, 15)],
    "test": [("Nobody.", ["Anna Bell"], "Neutral", 1, 1, 1, 1), ("Oh.", ["Ben Cole"], "Sad", 1, 2, 1, 1)],
}


def table(rows: Sequence[Sequence[Any]], header: str = HEADER) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header.split(","))
    writer.writerows([*row, "00:00:01.000", "00:00:02.000"] for row in rows)
    return text.getvalue()


def tables(root: Path, **changed: Sequence[Sequence[Any]]) -> Path:
    for part, rows in {**PARTS, **changed}.items():
        put(root, f"data/emorynlp/emorynlp_{part}_final.csv", table(rows))
    return root


def release(rows: Sequence[Row]) -> dict[str, Any]:
    """A JSON file as its authors write it."""
    scenes: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
    for text, speakers, emotion, scene, utterance, season, episode in rows:
        name = f"s{season:02}_e{episode:02}_c{scene:02}_u{utterance:03}"
        said = {
            "utterance_id": name,
            "speakers": speakers,
            "transcript": text,
            "tokens": [],
            "emotion": emotion,
        }
        scenes.setdefault((season, episode, scene), []).append(said)
    listed = [{"scene_id": f"s{s:02}_e{e:02}_c{c:02}", "utterances": u} for (s, e, c), u in scenes.items()]
    return {"season_id": "trn", "episodes": [{"episode_id": "s01_e01", "scenes": listed}]}


def jsons(root: Path, **changed: Any) -> Path:
    made = {part: release(rows) for part, rows in PARTS.items()} | changed
    for part, short in (("train", "trn"), ("dev", "dev"), ("test", "tst")):
        put(root, f"json/emotion-detection-{short}.json", json.dumps(made[part]))
    return root


scan, refused = partial(scan_and_write, "emorynlp"), partial(refusal, "emorynlp")


def test_the_tables_give_utterances_with_two_label_sets(tmp_path: Path) -> None:
    found = scan(tables(tmp_path / "r"))
    assert [(u.id, u.dialogue, u.index, u.speaker) for u in found.of_part("train")] == [
        ("s01_e02_c01_u001", "s01_e02_c01", 0, "Anna Bell"),
        ("s01_e02_c01_u002", "s01_e02_c01", 1, "Ben Cole"),
        ("s01_e02_c01_u004", "s01_e02_c01", 2, "#ALL#"),
        ("s01_e02_c02_u001", "s01_e02_c02", 0, "Anna Bell, Ben Cole"),
    ]
    assert found.utterances[1].text == 'It was "good", sorry'
    sentiments = {u.labels["emotion7"]: u.labels["sentiment3"] for u in found.utterances}
    assert sentiments == {
        **dict.fromkeys(("Joyful", "Peaceful", "Powerful"), "positive"),
        **dict.fromkeys(("Mad", "Scared", "Sad"), "negative"),
        "Neutral": "neutral",
    }
    assert found.splits["official"]["dev"] == ("s01_e15_c01_u001",) and found.promises["official"] == (
        "dialogue",
    )


def test_both_forms_give_the_same_utterances_and_together_they_are_refused(tmp_path: Path) -> None:
    one, two = scan(tables(tmp_path / "c")), scan(jsons(tmp_path / "j"))
    assert one.utterances == two.utterances and one.version != two.version
    assert "train: 2 dialogues, the release has 713" in details(two, "count_differs")
    assert details(one, "count_differs") == []
    assert "holds both forms" in refused(jsons(tmp_path / "c"))


def test_speakers_of_several_and_of_none_are_told(tmp_path: Path) -> None:
    dev = [("Psst.", [], "Scared", 1, 1, 1, 15)]
    found = scan(tables(tmp_path / "r", dev=dev))
    assert found.of_part("dev")[0].speaker == "unknown" and details(found, "no_speaker")
    (detail,) = details(found, "group_speaker")
    assert detail == "train: #ALL#, Anna Bell, Ben Cole; each is kept as one speaker"


def test_holes_order_repeated_rows_and_strange_emotions_are_told(tmp_path: Path) -> None:
    first, *rest = PARTS["train"]
    odd = ("Hm.", ["Anna Bell"], "Bored", 2, 2, 1, 2)
    none = ("Mm.", ["Anna Bell"], "", 2, 3, 1, 2)
    found = scan(tables(tmp_path / "r", train=[*rest, odd, none, first, first]))
    assert found.utterances[0].text == first[0] and len(found.of_part("train")) == 6
    assert details(found, "holes_in_ids") == ["train: the numbers of utterances skip 1 number in scenes"]
    assert details(found, "not_in_order") and "Bored" in details(found, "unreadable_label")[0]
    assert "s01_e02_c01_u001; the first counts" in details(found, "repeated_row")[0]
    assert details(found, "no_label") == ["train: 1 utterance without an emotion"]
    assert [u.labels["sentiment3"] for u in found.of_part("train")][-2:] == [None, None]


def test_all_faults_of_the_tables_are_told_at_once(tmp_path: Path) -> None:
    bad = [("a", ["Anna"], "Mad", "x", 1, 1, 1), ("b", "['Anna", "Mad", 1, 1, 1, 1)]
    root = tables(tmp_path / "r", train=bad)
    put(root, "data/emorynlp/emorynlp_dev_final.csv", table(PARTS["dev"]).replace("Scene_ID", "scene"))
    put(root, "data/emorynlp/emorynlp_test_final.csv", b"\xff\xfe")
    text = refused(root)
    for fault in ("row 2: Scene_ID 'x'", "row 3: Speaker", "no column Scene_ID", "not UTF-8"):
        assert fault in text


def test_a_missing_part_and_a_part_under_another_name_are_refused(tmp_path: Path) -> None:
    root = tables(tmp_path / "r", test=PARTS["train"])
    assert "4 utterances of train stand here, too" in refused(root)
    (root / "data/emorynlp/emorynlp_test_final.csv").unlink()
    put(root, "emorynlp.tar.gz", b"")
    text = refused(root)
    assert "emorynlp_test_final.csv is nowhere" in text and "unpack emorynlp.tar.gz" in text


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "not readable JSON"),
        ("[" * 100_000, "not readable JSON"),
        ("[]", "has no list of episodes"),
        ('{"episodes": [{"scenes": [1]}]}', "episode 1, scene 1: has no list of utterances"),
        ('{"episodes": [{"scenes": [{"utterances": [{"utterance_id": "u1"}]}]}]}', "utterance_id 'u1'"),
        ('{"episodes": []}', "train holds no utterance"),
    ],
)
def test_json_of_another_kind_is_refused(tmp_path: Path, content: str, fault: str) -> None:
    root = jsons(tmp_path / "r")
    put(root, "json/emotion-detection-trn.json", content)
    assert fault in refused(root)


def test_another_corpus_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "meld", "train_sent_emo.csv", "Utterance,Speaker,Emotion\nHi,Ross,joy\n")
    assert "found: train_sent_emo.csv" in refused(tmp_path / "meld")
    same_names = tables(
        tmp_path / "r", **{p: [(*r[:2], "joy", *r[3:]) for r in rows] for p, rows in PARTS.items()}
    )
    assert "no utterance has one of the seven emotions" in refused(same_names)


@given(st.lists(st.text()))
def test_every_printed_list_of_names_is_read(names: list[str]) -> None:
    assert speakers_of(str(names)) == tuple(n.strip() for n in names if n.strip())


@given(st.text())
def test_no_cell_breaks_the_reader(cell: str) -> None:
    for text in (cell, f"[{cell}]"):
        found = speakers_of(text)
        assert found is None or all(name == name.strip() != "" for name in found)
