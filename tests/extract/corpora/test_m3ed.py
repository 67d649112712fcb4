"""M3ED: the parts follow the lists of series, and an annotation that is not as published is refused."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.corpus_folder import details, put, refusal, scan_and_write


def said(text: str, speaker: str = "A", emotion: str | None = "Neutral") -> dict[str, Any]:
    votes = {f"EmoAnnotator{n}": "Neutral" for n in (1, 2, 3)}
    emotions = {**votes, "final_mul_emo": emotion, "final_main_emo": emotion}
    times = {"StartTime": "00:00:00:01", "EndTime": "00:00:01:03"}
    return {**times, "Text": text, "Speaker": speaker, "EmoAnnotation": emotions}


def dialogue(**turns: dict[str, Any]) -> dict[str, Any]:
    people = {"A": {"Name": "小明", "Age": "mid", "OtherName": []}, "B": {"Name": ""}}
    return {"SpeakerInfo": people, "Dialog": turns}


def annotation() -> dict[str, Any]:
    return {
        "haibian": {
            "haibian_1": dialogue(
                haibian_1_1=said("你好", "A", "Happy"),
                haibian_1_2=said("走开", "B", "Anger"),
                haibian_1_10=said("好吧", "A", "Sad"),
            ),
            "haibian_2": dialogue(haibian_2_1=said("什么", "B", "Surprise")),
        },
        "shanshang": {"shanshang_1": dialogue(shanshang_1_1=said("真臭", "A", "Disgust"))},
        "chengli": {"chengli_1": dialogue(chengli_1_1=said("别过来", "A", "Fear"))},
    }


def corpus(
    root: Path, release: object = None, name: str = "annotation.json", lists: str = "movie_list_{0}.txt"
) -> Path:
    content = json.dumps(annotation() if release is None else release, ensure_ascii=False)
    put(root, name, content)
    for short, series in (("train", "haibian\n"), ("val", "shanshang"), ("test", "chengli\n")):
        put(root, f"splitInfo/{lists.format(short)}", series)
    return put(root, "splitInfo/movie_list_total.txt", "haibian\nshanshang\nchengli\n")


scan, refused = partial(scan_and_write, "m3ed"), partial(refusal, "m3ed")


def test_texts_speakers_and_labels_are_read_and_parts_follow_the_lists(tmp_path: Path) -> None:
    found = scan(corpus(tmp_path / "r"))
    assert [(u.id, u.dialogue, u.index, u.speaker, u.text) for u in found.of_part("train")] == [
        ("haibian_1_1", "haibian_1", 0, "haibian_小明", "你好"),
        ("haibian_1_2", "haibian_1", 1, "haibian_1_B", "走开"),
        ("haibian_1_10", "haibian_1", 2, "haibian_小明", "好吧"),
        ("haibian_2_1", "haibian_2", 0, "haibian_2_B", "什么"),
    ]
    assert [u.labels["emotion7"] for u in found.utterances] == [
        "Happy",
        "Anger",
        "Sad",
        "Surprise",
        "Disgust",
        "Fear",
    ]
    assert all(u.video is None and u.audio is None for u in found.utterances)
    assert found.splits["official"]["dev"] == ("shanshang_1_1",) and len(found.sources) == 4
    assert found.promises["official"] == ("speaker", "dialogue")
    assert details(found, "count_differs")[0] == "4 dialogues, the release has 990"


@pytest.mark.parametrize("name", ["M3ED.json", "data/m3ed_annotation.json"])
def test_other_names_of_the_files_give_the_same(tmp_path: Path, name: str) -> None:
    one, two = scan(corpus(tmp_path / "a")), scan(corpus(tmp_path / "b", name=name, lists="{0}.txt"))
    assert one.utterances == two.utterances


def test_two_annotations_are_refused(tmp_path: Path) -> None:
    root = corpus(corpus(tmp_path / "r"), name="M3ED.json")
    assert "annotation.json, M3ED.json: which one" in refused(root)


def test_utterances_out_of_order_and_strange_labels_are_told(tmp_path: Path) -> None:
    release = annotation()
    turns = release["haibian"]["haibian_1"]["Dialog"]
    turns["haibian_1_3"] = said(" ", "B", "Other")
    turns["haibian_1_11"] = said("嗯", "B", None)
    release["haibian"]["haibian_3"] = dialogue()
    found = scan(corpus(tmp_path / "r", release))
    assert [u.id for u in found.of_part("train")][1:4] == ["haibian_1_2", "haibian_1_3", "haibian_1_10"]
    assert details(found, "not_in_order") == ["put in the order of their numbers: haibian_1"]
    assert details(found, "unreadable_label") == ["not one of the seven emotions: Other"]
    assert details(found, "no_label") == ["1 utterance without final_main_emo"]
    assert details(found, "empty_text") == ["1 turn without words"]
    assert details(found, "left_out") == ["1 dialogue without utterances: haibian_3"]


def test_series_without_a_list_or_with_two_are_refused(tmp_path: Path) -> None:
    root = corpus(tmp_path / "r")
    put(root, "splitInfo/movie_list_val.txt", "haibian\n")
    text = refused(root)
    assert "haibian is in train, too" in text and "no list of splitInfo names shanshang" in text
    put(root, "splitInfo/movie_list_val.txt", "shanshang\nzuotian\n")
    assert details(scan(root), "not_in_annotation") == [
        "1 series of splitInfo are not in the annotation: zuotian"
    ]


def test_half_of_the_repository_is_refused_and_the_archive_named(tmp_path: Path) -> None:
    root = corpus(tmp_path / "r")
    (root / "annotation.json").unlink()
    (root / "splitInfo/movie_list_test.txt").unlink()
    put(root, "RUCM3ED.zip", b"")
    text = refused(root)
    assert "none of annotation.json, M3ED.json" in text and "movie_list_test.txt is nowhere" in text
    assert "unpack RUCM3ED.zip there first" in text


@pytest.mark.parametrize(
    ("release", "fault"),
    [
        ([], "is not an object of series"),
        ({"info": {"year": 2014}}, "is not a dialogue with `Dialog`"),
        ({"haibian": {"haibian_1": {"Dialog": {"x": {}}}}}, "does not end in a number"),
        ({"haibian": {"haibian_1": {"Dialog": {"x_1": {"Text": "a"}}}}}, "lacks one of Text, Speaker"),
        ({"haibian": {"haibian_1": dialogue(x_1={**said("a"), "EmoAnnotation": {}})}}, "no final_main_emo"),
        ({"haibian": {"haibian_1": dialogue(x_1={**said("a"), "Text": 3})}}, "Text or Speaker is not a text"),
        (
            {"haibian": {"haibian_1": dialogue(x_1=said("a", "A", "joy"))}},
            "no utterance has one of the seven",
        ),
        (
            {"haibian": {"a": dialogue(x_1=said("a")), "b": dialogue(x_1=said("b"))}},
            "1 utterance name used twice: x_1",
        ),
    ],
)
def test_an_annotation_of_another_form_is_refused(tmp_path: Path, release: object, fault: str) -> None:
    assert fault in refused(corpus(tmp_path / "r", release))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "not readable JSON"),
        (b"[" * 100_000, "not readable JSON"),
        (b'{"a": {}, "a": {}}', "'a' stands twice"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_unreadable_json_is_refused(tmp_path: Path, content: bytes, fault: str) -> None:
    assert fault in refused(put(corpus(tmp_path / "r"), "annotation.json", content))


def test_another_corpus_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "meld", "train_sent_emo.csv", "Utterance,Speaker,Emotion\nHi,Ross,joy\n")
    text = refused(tmp_path / "meld")
    assert "none of annotation.json" in text and "found: train_sent_emo.csv" in text
