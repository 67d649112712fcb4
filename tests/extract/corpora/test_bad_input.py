"""What no corpus may choke on: links, pipes, line ends, sizes and times, the same promises over all corpora."""

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ercache.errors import CorpusError
from ercache.manifest import Manifest, write_manifest
from ercache.reasons import Missing, Reason
from extract.corpora import CORPORA
from extract.corpora.common.listing import describe_unreadable
from extract.corpora.meld.transcript import read_table
from extract.corpora.mosei.labels import COLUMNS, KEYS, read_raters
from tests.extract.corpora.test_dailydialog import lines as dailydialog
from tests.extract.corpora.test_emorynlp import tables as emorynlp
from tests.extract.corpora.test_m3ed import corpus as m3ed
from tests.support.corpus_folder import filmed, put
from tests.support.iemocap_tree import PAIR, write_annotation

pytestmark = pytest.mark.usefixtures("scanned_here")

Tree = Callable[[Path], Path]
MELD = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
VOTES = ",FileName,VoiceVote,VoiceLevel,FaceVote,FaceLevel,MultiModalVote,MultiModalLevel"
RATED = ",".join((*KEYS, *COLUMNS))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filmed(tmp_path_factory.mktemp("film") / "film.mp4", 2)


def meld_row(dialogue: object, utterance: object, words: str = "Hi.", start: int = 1, end: int = 2) -> str:
    times = f'"00:00:{start:02d},000","00:00:{end:02d},000"'
    return f"1,{words},Ross,joy,positive,{dialogue},{utterance},1,1,{times}"


def meld(root: Path) -> Path:
    for part in ("train", "dev", "test"):
        put(root, f"{part}_sent_emo.csv", "\n".join([MELD, meld_row(0, 0), meld_row(0, 1)]))
    return root


def cremad(root: Path) -> Path:
    put(root, "AudioWAV/1001_IEO_ANG_HI.wav", b"RIFF")
    return put(root, "processedResults/summaryTable.csv", f"{VOTES}\n1,1001_IEO_ANG_HI,A,1,A:D,1:2,H,1\n")


def mosei(root: Path) -> Path:
    put(root, "Raw/Transcript/Segmented/Combined/v.txt", "v___0___0___1___one\nv___1___1___2___two\n")
    return put(root, "Raw/Labels/a.csv", f"{RATED}\nv,0,1,3,0,0,0,0,0\nv,1,-1,0,3,0,0,0,0\n")


def folder(root: Path) -> Path:
    return put(root, "utterances.csv", "text,speaker,emotion\none,Ann,joy\ntwo,Bob,anger\n")


def iemocap(root: Path) -> Path:
    return write_annotation(root, PAIR)


TREES: dict[str, Tree] = {
    "meld": meld,
    "cremad": cremad,
    "mosei": mosei,
    "folder": folder,
    "iemocap": iemocap,
    "dailydialog": dailydialog,
    "emorynlp": emorynlp,
    "m3ed": m3ed,
}


# What a scan says of an annotation file without content, if it is not the general message.
EMPTY = {
    "meld": "{}: has no column",
    "emorynlp": "{}: has no column",
    "m3ed": "{}: not readable JSON",
    "dailydialog": "{}: holds no line",
}


def scan(corpus: str, root: Path) -> Manifest:
    """A scan whose manifest can be written."""
    found = CORPORA[corpus].scan(root, CORPORA[corpus].Switches())
    write_manifest(found, root.parent / f"{corpus}.jsonl")
    return found


def texts(root: Path) -> list[Path]:
    return [p for p in root.rglob("*") if p.suffix in (".csv", ".txt", ".json") and p.is_file()]


@pytest.mark.parametrize("corpus", TREES)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks_change_no_utterance(tmp_path: Path, corpus: str, mark: bytes) -> None:
    plain = scan(corpus, TREES[corpus](tmp_path / "plain"))
    root = TREES[corpus](tmp_path / "other")
    for path in texts(root):
        path.write_bytes(mark + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(plain.utterances) >= 1
    assert scan(corpus, root).utterances == plain.utterances


@pytest.mark.parametrize("corpus", ["meld", "cremad", "folder", "dailydialog", "emorynlp", "m3ed"])
def test_tables_that_are_not_utf_8_are_refused_by_name(tmp_path: Path, corpus: str) -> None:
    root = TREES[corpus](tmp_path / "r")
    (path, *_) = texts(root)
    path.write_bytes(path.read_bytes() + "\nü".encode("latin-1"))
    with pytest.raises(CorpusError) as caught:
        scan(corpus, root)
    assert path.name in str(caught.value) and "not UTF-8" in str(caught.value)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "what", [Reason.OUTSIDE_ROOT, Reason.NOT_A_FILE, Reason.EMPTY_FILE, Reason.GIT_LFS_POINTER]
)
@pytest.mark.parametrize("corpus", ["meld", "cremad", "iemocap", "dailydialog", "emorynlp", "m3ed"])
def test_an_annotation_that_may_not_be_opened_is_never_read_nor_waited_for(
    tmp_path: Path, corpus: str, what: Reason
) -> None:
    root = TREES[corpus](tmp_path / "r")
    folders = ("r", "processedResults", "EmoEvaluation", "validation", "emorynlp")
    path = next(p for p in texts(root) if p.parent.name in folders)
    kept = path.rename(tmp_path / "kept")
    if what is Reason.OUTSIDE_ROOT:
        path.symlink_to(kept)
    elif what is Reason.NOT_A_FILE:
        os.mkfifo(path)
    else:
        path.write_text("" if what is Reason.EMPTY_FILE else "version https://git-lfs.github.com/spec/v1\n")
    if corpus == "cremad":  # the labels by raters are one of several sets
        found = scan(corpus, root)
        assert what.value in {p.reason for p in found.problems}
        assert found.utterances[0].labels["perceived6"] is None and found.sources == {}
        return
    with pytest.raises(CorpusError) as caught:
        scan(corpus, root)
    told = describe_unreadable(path.name, Missing(what))
    if what is Reason.EMPTY_FILE:
        told = EMPTY.get(corpus, told).format(path.name)
    assert told in str(caught.value)


def test_recordings_of_mosei_that_are_links_out_of_the_root_are_not_read(tmp_path: Path, film: Path) -> None:
    root = mosei(tmp_path / "r")
    video = root / "Raw/Videos/Full/Combined/v.mp4"
    video.parent.mkdir(parents=True)
    video.symlink_to(film)
    found = scan("mosei", root)
    assert [u.video.sha256 for u in found.utterances if u.video] == [None, None]
    assert [p.utterance for p in found.problems if p.reason == "outside_root"] == ["v_0", "v_1"]


@pytest.mark.parametrize("corpus", ["ravdess", "cremad"])
def test_a_folder_that_is_a_link_out_of_the_root_is_seen_and_not_read(
    tmp_path: Path, film: Path, corpus: str
) -> None:
    name = {"ravdess": "01-01-03-01-01-01-01.mp4", "cremad": "1001_IEO_ANG_HI.flv"}[corpus]
    inside = {"ravdess": "01-01-03-01-01-01-02.mp4", "cremad": "1002_IEO_ANG_HI.flv"}[corpus]
    put(tmp_path / "elsewhere", name, film)
    root = put(tmp_path / "r", inside, film)
    (root / "VideoFlash").symlink_to(tmp_path / "elsewhere")
    found = scan(corpus, root)
    digests = {u.speaker: bool(u.video and u.video.sha256) for u in found.utterances}
    assert len(digests) == 2 and list(digests.values()) == [False, True]
    assert "outside_root" in {p.reason for p in found.problems}


@pytest.mark.parametrize(
    ("corpus", "path", "text", "said"),
    [
        (
            "meld",
            "dev_sent_emo.csv",
            f"{MELD}\n{meld_row('0/1', 0)}\n{meld_row(0, '../1')}",
            ("'0/1'", "'../1'"),
        ),
        ("meld", "dev_sent_emo.csv", f"{MELD}\n{meld_row(0, 0)}\n{meld_row(0, 0)}", ("stands in 2 rows",)),
        ("meld", "dev_sent_emo.csv", f"{MELD}\n{meld_row(0, 0).replace('joy', 'glee')}", ("'glee'",)),
        (
            "folder",
            "utterances.csv",
            "id,text\na/b,x\nc,y\nc,z\n",
            ("path separator", "id 'c' is already used in"),
        ),
        ("folder", "utterances.csv", "file,start,end\nx.wav,3,1\n", ("run backwards",)),
    ],
)
def test_bad_ids_labels_and_times_make_a_table_unusable(
    tmp_path: Path, corpus: str, path: str, text: str, said: tuple[str, ...]
) -> None:
    with pytest.raises(CorpusError) as caught:
        scan(corpus, put(TREES[corpus](tmp_path / "r"), path, text))
    assert all(words in str(caught.value) for words in said)


def test_rows_of_meld_whose_times_run_backwards_are_told_and_kept(tmp_path: Path) -> None:
    rows = [meld_row(0, 0, start=9, end=8), meld_row(0, 1, start=5, end=6)]
    found = scan("meld", put(meld(tmp_path / "r"), "dev_sent_emo.csv", "\n".join([MELD, *rows])))
    told = {(p.utterance, p.reason, p.detail) for p in found.problems}
    assert ("dev_dia0_utt0", "short_by_table", "-1.000 s") in told
    assert ("dev_dia0_utt1", "starts_before_previous", "00:00:05,000") in told
    assert [u.id for u in found.of_part("dev")] == ["dev_dia0_utt0", "dev_dia0_utt1"]


def test_segments_of_mosei_that_stand_there_twice_or_leave_their_folder_are_told(tmp_path: Path) -> None:
    lines = "v___0___0___1___one\nv___0___1___2___again\nv___../1___0___1___out\nv___2___5___3___back\n"
    found = scan("mosei", put(mosei(tmp_path / "r"), "Raw/Transcript/Segmented/Combined/v.txt", lines))
    assert [u.id for u in found.utterances if u.text] == ["v_0", "v_2"]
    reasons = [p.reason for p in found.problems]
    assert {"repeated_segment", "unreadable_line"} <= set(reasons)
    assert ("v_2", "5 s to 3 s run backwards") in {(p.utterance, p.detail) for p in found.problems}


def test_tables_of_a_hundred_thousand_rows_are_read() -> None:
    table = "\r\n".join([MELD, *(meld_row(n // 20, n % 20) for n in range(100_000))])
    assert len(read_table(table.encode(), "train_sent_emo.csv").rows) == 100_000
    text = io.StringIO()
    votes = ([f"v{n // 3000}", n // 3 % 1000, 1, 3, 0, 0, 0, 0, 0] for n in range(100_000))
    csv.writer(text).writerows([(*KEYS, *COLUMNS), *votes])
    rated = read_raters([("a.csv", text.getvalue().encode())])
    assert rated.notes == [] and sum(map(len, rated.of_video.values())) == 33_334
