"""Tables as people save them: whatever a program did to them on the way is taken or told, or refused in words."""

import csv
import io
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.corpora.folder.labels import unify_labels
from extract.corpora.folder.table import ClipRow, ClipTable, read_clip_table
from tests.extract.corpora.test_folder import folder, refused, scan, told

pytestmark = pytest.mark.usefixtures("scanned_here")


def read(content: str | bytes, encoding: str = "utf-8") -> ClipTable:
    return read_clip_table(content.encode() if isinstance(content, str) else content, "t.csv", encoding)


def rows_of(content: str | bytes, encoding: str = "utf-8") -> list[ClipRow]:
    table = read(content, encoding)
    assert table.findings == []
    return table.rows


def missing_from_error(content: str | bytes) -> str:
    (fault,) = read(content).findings
    return fault


def test_words_for_nothing_are_no_label_and_counted(tmp_path: Path) -> None:
    words = ["nan", "NaN", "joy", "None", "NA", "", "-", "n/a", "<NA>"]
    table = "text,emotion\n" + "".join(f"x,{word}\n" for word in words)
    found = scan(folder(tmp_path, {"utterances.csv": table}))
    assert found.label_sets == {"emotion": ("joy",)}
    assert [u.labels["emotion"] for u in found.utterances] == [None, None, "joy", *[None] * 6]
    (problem,) = [p for p in found.problems if p.reason == "no_label"]
    assert problem.count == 8 and problem.detail.startswith("emotion: 8 of 9 rows have no label: nan (1)")
    assert "an empty cell (1)" in problem.detail


def test_a_word_for_nothing_is_a_value_where_the_user_declares_it(tmp_path: Path) -> None:
    root = folder(tmp_path, {"utterances.csv": "text,emotion\nx,None\nx,joy\nx,\n"})
    found = scan(root, label_sets={"emotion": ["joy", "none"]})
    assert [u.labels["emotion"] for u in found.utterances] == ["none", "joy", None]


def test_spellings_of_a_value_are_one_the_most_frequent(tmp_path: Path) -> None:
    table = "text,emotion\nx,Joy\nx,joy\nx,JOY\nx, joy \nx,no  Emotion\nx,no emotion\nx,sad\n"
    found = scan(folder(tmp_path, {"utterances.csv": table}))
    assert found.label_sets == {"emotion": ("joy", "no  Emotion", "sad")}
    assert [u.labels["emotion"] for u in found.utterances][:4] == ["joy"] * 4
    assert told(found, "other_spelling") == [
        "emotion: 3 rows were taken as another spelling: Joy (1) as joy, JOY (1) as joy, "
        "no emotion (1) as no  Emotion"
    ]


def test_the_declared_spelling_wins_over_the_frequent_one(tmp_path: Path) -> None:
    root = folder(tmp_path, {"utterances.csv": "text,emotion\nx,joy\nx,joy\nx,JOY\n"})
    found = scan(root, label_sets={"emotion": ["JOY", "sad"]})
    assert [u.labels["emotion"] for u in found.utterances] == ["JOY"] * 3
    assert "unknown emotion 'glee' (known: JOY, sad)" in refused(
        folder(tmp_path, {"utterances.csv": "text,emotion\nx,glee\n"}), label_sets={"emotion": ["JOY", "sad"]}
    )


def test_a_decomposed_label_is_the_composed_one(tmp_path: Path) -> None:
    table = "text,emotion\nx,tr\u00e4ge\nx,tra\u0308ge\nx,tr\u00e4ge\n"
    assert scan(folder(tmp_path, {"utterances.csv": table})).label_sets == {"emotion": ("tr\u00e4ge",)}


@given(st.lists(st.sampled_from(["joy", "Joy", "JOY", "sad", "nan", "-", ""])), st.booleans())
def test_settled_labels_count_every_row_once(words: list[str], declared: bool) -> None:
    rows = [ClipRow(str(n), labels={"e": word} if word else {}) for n, word in enumerate(words)]
    kept, notes = unify_labels(rows, ["e"], {"e": ["Joy", "sad"]} if declared else {})
    values = Counter(row.labels.get("e") for row in kept)
    assert [row.where for row in kept] == [row.where for row in rows]
    assert len({v.casefold() for v in values if v}) == len([v for v in values if v])
    assert values[None] == sum(count for reason, _, count in notes if reason == "no_label")
    assert not declared or {*values} <= {"Joy", "sad", None}


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "sep=;;;", "SEP=;"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_separator_line_of_excel_is_no_header(line: str, mark: bytes) -> None:
    table = mark + f"{line}\r\nfile;text;speaker\r\na.mp4;Hello, you;Ann\r\n".encode()
    (row,) = rows_of(table)
    assert (row.file, row.text, row.speaker, row.where) == ("a.mp4", "Hello, you", "Ann", "t.csv, line 3")


@pytest.mark.parametrize(
    "table",
    [
        "file,text\na.mp4,Hi\n",
        "file;text\na.mp4;Hi\n",
        "file\ttext\na.mp4\tHi\n",
        "\ufefffile,text\r\na.mp4,Hi\r\n",
        '"file","text"\n"a.mp4","Hi"\n',
        "\n\n file , Text \n\na.mp4, Hi \n\n",
        "File Name,TEXT\na.mp4,Hi\n",
        "file-name,text\na.mp4,Hi\n",
        "file,text,,\na.mp4,Hi,,\n",
        "file,text\na.mp4,Hi,,\n",
        "file,text\ra.mp4,Hi\r",
        ",file,text\n,a.mp4,Hi\n",
        'file;"a, b, c";text\na.mp4;;Hi\n',
    ],
)
def test_one_table_saved_in_many_ways_has_the_same_row(table: str) -> None:
    (row,) = rows_of(table)
    assert (row.file, row.text) == ("a.mp4", "Hi")


def test_tables_in_utf16_and_in_a_named_encoding_are_read() -> None:
    table = "file\ttext\na.mp4\tgr\u00fcn\n"
    assert rows_of(table.encode("utf-16"))[0].text == "gr\u00fcn"
    assert rows_of(table.encode("cp1252"), "cp1252")[0].text == "gr\u00fcn"
    assert "encoding: cp1252" in missing_from_error(table.encode("cp1252"))
    assert "utf-16-le" in missing_from_error(table.encode("utf-16-le"))


def test_turns_that_pandas_made_floats_and_decimal_commas_are_read() -> None:
    rows = rows_of("text;dialogue;turn;start;end\na;d;0.0;1,5;2,25\nb;d;1.0;3;4\nc;d;2,00;;\n")
    assert [row.index for row in rows] == [0, 1, 2] and (rows[0].start, rows[0].end) == (1.5, 2.25)
    assert "turn '1.5' is not a whole number" in missing_from_error("text,turn\na,1.5\n")
    assert "give names in the column id" in missing_from_error("text,turn\na,first\n")


def test_what_pandas_writes_for_nothing_is_empty_and_told() -> None:
    table = read(
        "file,text,speaker,start,end,dialogue,turn\na.mp4,None,None,nan,NaN,nan,<NA>\n,nan,Nan,,,,\nb,x,,,,,\n"
    )
    assert table.findings == ["t.csv, line 3: has neither a file nor a text"]
    first = table.rows[0]
    assert (first.text, first.speaker, first.start, first.end, first.dialogue, first.index) == (
        *("None", None, None, None, None, None),
    )
    assert dict(table.notes)["empty_cell"].endswith(
        "speaker (1), start (1), end (1), dialogue (1), turn (1), text (1)"
    )


def test_names_in_utterance_id_are_ids_or_files() -> None:
    table = read("utterance_id,file,text\nSes01F_F000,a.mp4,Hi\nb.mp4,b.mp4,Yo\n")
    assert [row.id for row in table.rows] == ["Ses01F_F000", "b.mp4"] and table.findings == []
    assert table.notes == [("names_not_numbers", "t.csv: utterance_id holds names: taken as id")]
    files = read("Utterance ID,text\na.mp4,Hi\nb/c.wav,Yo\n")
    assert [row.file for row in files.rows] == ["a.mp4", "b/c.wav"] and not files.findings
    assert [row.index for row in rows_of("utterance_id,text\n0,Hi\n1,Yo\n")] == [0, 1]
    both = read("id,utterance_id,text\nx,a,Hi\n")
    assert both.rows[0].id == "x" and dict(both.notes)["unused_column"].startswith(
        "t.csv: utterance_id holds names"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04" + b"\0" * 30, "is a workbook (.xlsx, .ods)"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 30, "is an old Excel workbook"),
        (b"<!DOCTYPE html><table>", "is a page of HTML"),
        (b"text,speaker\nHello, you,Ann\n", "put a text with separators or line breaks into quotes"),
        (b"text,speaker\nHello\n", "1 fields, the header has 2"),
        (b'text,speaker\n"Hello" she said,Ann\n', "double the quotes inside it"),
        (b"file\nC:\\clips\\a.mp4\n", "give paths as they are seen from --root"),
        (b"file\n/data/clips/a.mp4\n", "give paths as they are seen from --root"),
        (b"id,text\na/b,Hi\n", "give paths in the column file"),
        (b"sep=;\r\n", "has no column audio, file, text or video (found: none)"),
    ],
)
def test_what_cannot_be_taken_is_refused_in_words_that_lead_on(content: bytes, said: str) -> None:
    assert said in missing_from_error(content)


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5), st.sampled_from(",;\t"), st.booleans())
def test_texts_survive_any_separator_and_the_separator_line(
    rows: list[tuple[str, str]], separator: str, told_first: bool
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=separator).writerows([("text", "speaker"), *((f"x{a}", b) for a, b in rows)])
    line = f"sep={separator}\n" if told_first else ""
    found = rows_of((line + out.getvalue()).encode())
    assert [row.text for row in found] == [f"x{a}".strip() for a, _ in rows]


@given(st.binary(max_size=200), st.sampled_from([b"", b"sep=;\n", b"utterance_id;text\n", b"text,turn\n"]))
def test_any_bytes_give_rows_or_findings(content: bytes, header: bytes) -> None:
    found = read(header + content)
    assert found.rows or found.findings
