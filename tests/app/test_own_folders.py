"""A folder of one's own: a command takes the folder itself, and its name is the corpus, so two live side by side."""

from pathlib import Path

import pytest

from ercache.manifest import read_manifest
from tests.app.test_manifests import clips, corpus
from tests.extract.conftest import scanned_here  # noqa: F401 (a fixture)
from tests.support.command import Run

pytestmark = pytest.mark.usefixtures("scanned_here", "project")

MANIFESTS = Path("data/manifests")
LABELLED = "file,text,dialogue,emotion\n"


def manifests() -> list[str]:
    return sorted(path.stem for path in MANIFESTS.glob("*.jsonl"))


def test_two_folders_live_side_by_side_under_their_names(tmp_path: Path, run: Run) -> None:
    for name in ("talk show", "clips"):
        assert run("scan", corpus(tmp_path / name, f"{name}.wav")).code == 0
    assert manifests() == ["clips", "talk_show"]
    assert read_manifest(MANIFESTS / "talk_show.jsonl").corpus == "talk_show"
    for name in ("talk show", "clips"):
        answer = run("extract", tmp_path / name, "--features", "mfcc", "--json")
        assert answer.code == 0, answer.err
        assert answer.json["files"] == [f"data/caches/{name.replace(' ', '_')}/audio/mfcc.all.h5"]


def test_name_overrides_and_a_tilde_means_the_home_folder(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    clips(tmp_path / "clips", "a.wav")
    assert run("scan", "~/clips", "--name", "mine").code == 0 and manifests() == ["mine"]
    Path("params.local.yaml").write_text("roots: {mine: ~/clips}\n")
    ran = run("extract", "mine", "--features", "mfcc")
    assert ran.code == 0 and Path("data/caches/mine/audio/mfcc.all.h5").is_file(), ran.err


def test_another_folder_of_the_same_name_is_not_taken_for_the_first(tmp_path: Path, run: Run) -> None:
    a, b = corpus(tmp_path / "a" / "clips", "x.wav"), corpus(tmp_path / "b" / "clips", "y.wav", level=2)
    assert run("scan", a).code == 0
    before = (MANIFESTS / "clips.jsonl").read_bytes()
    for words in (("scan", b), ("extract", b, "--features", "mfcc")):
        ran = run(*words)
        assert ran.code == 2 and "another folder that is also called clips" in ran.err
    assert (MANIFESTS / "clips.jsonl").read_bytes() == before and not Path("data/caches").exists()
    assert run("scan", b, "--name", "other").code == 0 and manifests() == ["clips", "other"]
    assert run("scan", b, "--name", "clips").code == 0
    assert (MANIFESTS / "clips.jsonl").read_bytes() != before, "--name clips says that it is meant"


def test_a_changed_table_in_the_same_folder_is_the_same_corpus(tmp_path: Path, run: Run) -> None:
    root = corpus(tmp_path / "clips", "x.wav")
    assert run("scan", root).code == 0
    (root / "utterances.csv").write_text("file,text\nx.wav,Bye\n")
    assert run("scan", root).code == 0
    assert [u.text for u in read_manifest(MANIFESTS / "clips.jsonl").utterances] == ["Bye"]


def test_clips_alone_are_told_in_one_line_and_extracted(tmp_path: Path, run: Run) -> None:
    root = clips(tmp_path / "clips", "a.wav", "b.wav", "c.wav")
    ran = run("scan", root)
    assert ran.code == 0 and ran.out.count("speaker and text unknown") == 1 and "no_speaker" not in ran.out
    ran = run("extract", root, "--features", "words,mfcc")
    assert ran.code == 0 and "warning: words is left out: no utterance has a text" in ran.err
    assert [p.name for p in Path("data/caches").rglob("*.h5")] == ["mfcc.all.h5"]
    ran = run("extract", root, "--features", "words")
    assert (
        ran.code == 2 and "lacks the input of all chosen features: words: no utterance has a text" in ran.err
    ), "nothing would be left"


def test_the_labels_and_splits_of_a_table_need_no_names(tmp_path: Path, run: Run) -> None:
    with Path("params.yaml").open("a") as stream:
        stream.write("training: {seeds: 1, epochs: 1}\n")
    root = clips(tmp_path / "talks", *(f"{n}.wav" for n in range(8)))
    rows = "".join(f"{n}.wav,Hi,d{n // 2},{'joy' if n % 2 else 'anger'}\n" for n in range(8))
    (root / "utterances.csv").write_text(LABELLED + rows)
    assert run("extract", root, "--features", "mfcc").code == 0
    ran = run("train", "--model", "concat", "--corpus", "talks", "--features", "mfcc")
    assert ran.code == 0 and "talks: label set emotion, split dialogues" in ran.err, ran.err


def test_train_leaves_out_the_features_of_a_medium_that_the_corpus_lacks(tmp_path: Path, run: Run) -> None:
    with Path("params.yaml").open("a") as stream:
        stream.write("training: {seeds: 1, epochs: 1}\n")
    root = clips(tmp_path / "talks", *(f"{n}.wav" for n in range(4)))
    (root / "utterances.csv").write_text("file,emotion\n" + "".join(f"{n}.wav,e{n % 2}\n" for n in range(4)))
    assert run("extract", root, "--features", "words,mfcc").code == 0
    train = ("train", "--model", "concat", "--corpus", "talks", "--features")
    ran = run(*train, "words,mfcc")
    assert ran.code == 0 and ran.err.count("words is left out: the corpus has no texts") == 1, ran.err
    alone = run(*train, "words")
    assert alone.code == 2 and "lacks the input (text, audio or video) of the features words" in alone.err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("file,dialogue\n0.wav,a\n1.wav,b\n2.wav,c\n", "talks has no labels to train on"),
        (
            "file,dialogue,emotion\n0.wav,a,joy\n1.wav,a,anger\n",
            "talks has no split into train, dev and test",
        ),
        ("file,emotion,sentiment\n0.wav,joy,up\n1.wav,joy,up\n2.wav,joy,up\n", "--label-set emotion"),
    ],
)
def test_what_train_cannot_choose_it_explains(tmp_path: Path, run: Run, table: str, said: str) -> None:
    root = clips(tmp_path / "talks", "0.wav", "1.wav", "2.wav")
    (root / "utterances.csv").write_text(table)
    run("scan", root)
    ran = run("train", "--model", "concat", "--corpus", "talks", "--features", "mfcc")
    assert ran.code == 2 and said in ran.err and "known: none" not in ran.err, ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("scan", "nowhere/clips"), "no such folder"),
        (("scan", "folde"), "did you mean 'folder'?"),
        (("scan", "{root}", "--root", "{root}"), "give only one of them"),
        (("scan", "folder", "--root", "{root}", "--name", "x"), "leave out --name"),
        (("scan", "{root}", "--name", "a/b"), "cannot be the name of a corpus"),
        (("scan", "{root}", "--name", "-x"), "no - at the beginning"),
        (("scan", "{root}", "--name", "meld"), "the name of a published corpus"),
        (("extract", "{root}/MELD", "--features", "mfcc"), "`meld --root"),
        (("scan", "{root}/видео"), "give a name with --name"),
    ],
)
def test_unusable_folders_are_refused_and_nothing_is_written(
    tmp_path: Path, run: Run, words: tuple[str, ...], said: str
) -> None:
    root = clips(tmp_path / "clips", "a.wav", "MELD/a.wav", "видео/a.wav")
    ran = run(*(word.format(root=root) for word in words))
    assert ran.code == 2 and said in ran.err and not Path("data").exists(), ran.err


def test_a_folder_has_the_switches_of_folder_and_its_own(tmp_path: Path, run: Run) -> None:
    root = tmp_path / "talks"
    corpus(root, "a.wav")
    (root / "utterances.csv").write_text("file,text\na.wav,Hi\n../x.wav,Bye\n")
    refused = run("scan", root)
    assert refused.code == 2 and "leaves the root" in refused.err
    plain = Path("params.yaml").read_text()
    for entry in ("folder: {bad_rows: drop}", "talks: {scan: folder, bad_rows: drop}"):
        Path("params.yaml").write_text(f"{plain}corpora: {{{entry}}}\n")
        assert run("scan", root).code == 0
    for entry, said in (
        ("talks: {scan: foldr}", "did you mean 'folder'?"),
        ("talks: {scan: folder, bad_row: drop}", "did you mean 'bad_rows'?"),
        ("talks: {bad_rows: drop}", "unknown corpus 'talks'"),
        ("'a/b': {scan: folder}", "in its name"),
    ):
        Path("params.yaml").write_text(f"{plain}corpora: {{{entry}}}\n")
        wrong = run("scan", root)
        assert wrong.code == 2 and said in wrong.err, wrong.err
