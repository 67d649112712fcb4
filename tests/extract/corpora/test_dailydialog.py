"""DailyDialog: every turn stays, labels that do not fit are told, and a folder that is not the corpus is refused."""

import csv
import io
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.corpora.dailydialog.facts import has_stray_blanks
from extract.corpora.dailydialog.lines import turns_of
from extract.corpora.dailydialog.tables import list_of_numbers, list_of_texts
from tests.support.corpus_folder import details, put, refusal, scan_and_write

Dialogues = list[tuple[list[str], list[int], list[int]]]  # turns, emotions, acts
PARTS: dict[str, Dialogues] = {
    "train": [
        (["Shall we go ?", "No .", "Why not ?"], [0, 1, 6], [2, 1, 2]),
        (["I fell .", "Oh no !"], [5, 3], [1, 1]),
    ],
    "validation": [(["Good morning", "You are late"], [4, 0], [1, 3])],
    "test": [(["This soup is cold", "I will warm it"], [2, 0], [1, 4])],
}


def lines(root: Path, parts: dict[str, Dialogues] | None = None, inside: str = "{0}/") -> Path:
    """The text files of the release: blanks around the marks and after the last label."""
    for name, dialogues in (parts or PARTS).items():
        place = inside.format(name)
        texts = [" __eou__ ".join(turns) + " __eou__" for turns, _, _ in dialogues]
        put(root, f"{place}dialogues_{name}.txt", "\n".join(texts) + "\n")
        for kind, at in (("emotion", 1), ("act", 2)):
            rows = ["".join(f"{n} " for n in dialogue[at]) for dialogue in dialogues]  # type: ignore[union-attr]
            put(root, f"{place}dialogues_{kind}_{name}.txt", "\n".join(rows) + "\n")
    return root


scan, refused = partial(scan_and_write, "dailydialog"), partial(refusal, "dailydialog")


def test_the_text_files_give_turns_of_two_speakers_with_three_label_sets(tmp_path: Path) -> None:
    found = scan(lines(tmp_path / "r"))
    first = found.utterances[:3]
    assert [(u.id, u.speaker, u.text) for u in first] == [
        ("train_dia0_utt0", "A", "Shall we go ?"),
        ("train_dia0_utt1", "B", "No ."),
        ("train_dia0_utt2", "A", "Why not ?"),
    ]
    assert [u.labels for u in first[:2]] == [
        {"emotion7": "no emotion", "emotion6": None, "act": "question"},
        {"emotion7": "anger", "emotion6": "anger", "act": "inform"},
    ]
    assert found.parts == ("train", "dev", "test") and [u.index for u in found.utterances][:5] == [
        0,
        1,
        2,
        0,
        1,
    ]
    assert found.splits["official"]["dev"] == ("dev_dia0_utt0", "dev_dia0_utt1")
    assert found.promises["official"] == ("dialogue",) and len(found.sources) == 9
    assert {u.labels["act"] for u in found.of_part("test")} == {"inform", "commissive"}


@pytest.mark.parametrize("inside", ["", "EMNLP_dataset/{0}/{0}/"])
def test_the_files_are_found_at_any_depth(tmp_path: Path, inside: str) -> None:
    assert len(scan(lines(tmp_path / "r", inside=inside)).utterances) == 9


def test_labels_that_do_not_fit_the_turns_are_left_out_and_the_turns_stay(tmp_path: Path) -> None:
    train = [*PARTS["train"], (["One", "Two"], [4], [1, 2])]
    found = scan(lines(tmp_path / "r", {**PARTS, "train": train}))
    last = found.of_part("train")[-2:]
    assert [u.text for u in last] == ["One", "Two"]
    assert [(u.labels["emotion7"], u.labels["act"]) for u in last] == [(None, "inform"), (None, "question")]
    (detail,) = details(found, "labels_do_not_fit")
    assert "train_dia2 (2 turns, 1 emotions, 2 acts)" in detail


def test_a_number_that_is_no_label_is_told(tmp_path: Path) -> None:
    root = lines(tmp_path / "r")
    put(root, "test/dialogues_emotion_test.txt", "7 x \n")
    found = scan(root)
    assert [u.labels["emotion7"] for u in found.of_part("test")] == [None, None]
    (problem,) = [p for p in found.problems if p.reason == "unreadable_label"]
    assert problem.count == 2 and "test_dia0" in problem.detail


def test_a_dialogue_in_two_parts_is_told_and_breaks_the_promise(tmp_path: Path) -> None:
    again = (["shall we go?", "No .", "Why not ?"], [0, 1, 6], [2, 1, 2])
    parts = {**PARTS, "train": [*PARTS["train"], PARTS["train"][1]], "test": [*PARTS["test"], again]}
    found = scan(lines(tmp_path / "r", parts))
    assert details(found, "dialogue_in_two_parts") == ["1 dialogue of test also in train: test_dia1"]
    assert details(found, "repeated_dialogue") == ["train has 1 dialogue twice: train_dia2"]
    assert found.promises["official"] == () and len(found.utterances) == 14


def test_stray_blanks_and_counts_are_told_and_texts_kept(tmp_path: Path) -> None:
    found = scan(lines(tmp_path / "r"))
    (problem,) = [p for p in found.problems if p.reason == "stray_blanks"]
    assert problem.count == 5 and found.utterances[1].text == "No ."
    assert "train: 2 dialogues, the release has 11118" in details(found, "count_differs")
    assert [has_stray_blanks(t) for t in ("I don ’ t", "Who 's he", "a . b", "I don't. No!", "3 .5")] == [
        *(True, True, True),
        *(False, False),
    ]


def test_a_turn_without_words_and_a_missing_last_mark_are_read(tmp_path: Path) -> None:
    assert turns_of("A __eou__ __eou__ B") == ("A", "", "B") and turns_of("") == ()
    root = lines(tmp_path / "r")
    put(root, "test/dialogues_test.txt", "This soup is cold __eou__ \u2028 __eou__\n")
    found = scan(root)
    assert [u.text for u in found.of_part("test")] == ["This soup is cold", None]
    assert details(found, "empty_text") == ["1 turn without words"]


def test_a_half_unpacked_archive_names_what_to_unpack(tmp_path: Path) -> None:
    root = lines(tmp_path / "r", {"train": PARTS["train"]}, "")
    for name in ("validation.zip", "test.zip", "train.zip", "dialogues_text.txt"):
        put(root, name, b"")
    text = refused(root)
    assert "dialogues_test.txt is nowhere" in text and "dialogues_act_validation.txt is nowhere" in text
    assert "unpack test.zip, train.zip, validation.zip there first" in text
    for path in root.glob("dialogues_*train.txt"):
        path.unlink()
    assert "no dialogues_train.txt" in refused(root) and "unpack test.zip" in refused(root)


def test_files_of_different_lengths_are_refused_with_all_faults(tmp_path: Path) -> None:
    root = lines(tmp_path / "r")
    put(root, "train/dialogues_act_train.txt", "2 1 2 \n")
    put(root, "test/dialogues_test.txt", b"\xff\xfe\xff")
    text = refused(root)
    assert "dialogues_train.txt has 2 lines" in text and "dialogues_act_train.txt 1" in text
    assert "not UTF-8" in text


def test_another_corpus_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "meld", "train_sent_emo.csv", "Utterance,Speaker,Emotion\nHi,Ross,joy\n")
    text = refused(tmp_path / "meld")
    assert "has no column dialog, act, emotion" in text and "no csv file of test" in text
    put(tmp_path / "x", "holiday.jpg", b"")
    assert "found: holiday.jpg" in refused(tmp_path / "x")


def table(dialogues: Dialogues) -> pa.Table:
    texts, emotions, acts = (list(column) for column in zip(*dialogues, strict=True))
    return pa.table({"dialog": texts, "act": acts, "emotion": emotions})


@pytest.mark.parametrize("name", ["data/{0}-00000-of-00001.parquet", "default/{0}/0000.parquet"])
def test_parquet_files_give_the_same_utterances_as_the_text_files(tmp_path: Path, name: str) -> None:
    for part, dialogues in PARTS.items():
        target = tmp_path / "p" / name.format(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table(dialogues), target)
    assert scan(tmp_path / "p").utterances == scan(lines(tmp_path / "t")).utterances


def test_shards_of_a_part_are_joined_and_an_absent_one_is_a_fault(tmp_path: Path) -> None:
    for part, dialogues in PARTS.items():
        for n in range(2 if part == "train" else 1):
            total = 2 if part == "train" else 1
            rows = dialogues[n : n + 1] if total == 2 else dialogues
            put(tmp_path / "p", f"{part}-0000{n}-of-0000{total}.parquet", b"")
            parquet.write_table(table(rows), tmp_path / "p" / f"{part}-0000{n}-of-0000{total}.parquet")
    assert len(scan(tmp_path / "p").of_part("train")) == 5
    (tmp_path / "p" / "train-00001-of-00002.parquet").unlink()
    assert "is one absent" in refused(tmp_path / "p")
    put(tmp_path / "p", "test-00000-of-00001.parquet", b"PAR1 cut short")
    assert "not a readable parquet file" in refused(tmp_path / "p")


@pytest.mark.parametrize("comma", [", ", " ", "\n "])
def test_csv_files_give_the_same_utterances(tmp_path: Path, comma: str) -> None:
    for part, dialogues in PARTS.items():
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["dialog", "act", "emotion"])
        for turns, emotions, acts in dialogues:
            cells = [map(repr, turns), map(str, acts), map(str, emotions)]
            writer.writerow(["[" + comma.join(cell) + "]" for cell in cells])
        put(tmp_path / "c", f"{part}.csv", text.getvalue())
    assert scan(tmp_path / "c").utterances == scan(lines(tmp_path / "t")).utterances
    (tmp_path / "c" / "validation.csv").unlink()
    assert "no csv file of dev" in refused(tmp_path / "c")


def test_a_cell_that_is_no_printed_list_is_refused(tmp_path: Path) -> None:
    for cell in ("Hello", "['a' x 'b']", "['a', 'b' 'c']", "['a'", "[1]", "['a', ...]"):
        assert list_of_texts(cell) is None
    assert list_of_numbers("[0 1 ... 2]") is None and list_of_texts("[]") == []
    for part in PARTS:
        put(tmp_path / "c", f"{part}.csv", 'dialog,act,emotion\n"Hello",[1],[0]\n')
    assert "train.csv, row 1: dialog, act, emotion are not printed lists" in refused(tmp_path / "c")


@given(st.lists(st.text()))
def test_every_printed_list_is_read_back(texts: list[str]) -> None:
    assert list_of_texts(str(texts)) == texts
    assert list_of_texts("[" + "\n ".join(map(repr, texts)) + "]") == texts


@given(st.text())
def test_no_cell_breaks_the_reader(cell: str) -> None:
    for text in (cell, f"[{cell}]"):
        found, numbers = list_of_texts(text), list_of_numbers(text)
        assert found is None or all(isinstance(one, str) for one in found)
        assert numbers is None or all(one.isdecimal() for one in numbers)
