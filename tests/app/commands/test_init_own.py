"""`ercache init` as a user calls it: a folder or a features file becomes a corpus that is ready to run."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ercache.manifest import read_manifest
from tests.app.test_manifests import clips
from tests.extract.conftest import scanned_here  # noqa: F401 (a fixture)
from tests.support.command import Run, command_runner
from tests.support.feature_files import cosmic_tuple, merbench_folder, mmgcn_tuple, mmsa_dictionary, pickled

pytestmark = pytest.mark.usefixtures("scanned_here", "project")

PARAMS = """\
# my project
corpora: {demo: {}}
faces: {}
engine: {shard: 16, text_shard: 256, batch: 16, precision: float32, threads: 1, lanes: 1, memory: 128, limits: {}}
features:
  words: {encoder: text/minilm} # sentences
  mfcc: {encoder: audio/mfcc}
  mfcc_2: {encoder: audio/mfcc, n_mfcc: 30}
  mel: {encoder: audio/mel-resnet18, pretrained: mel}
pretrain: {mel: {extractor: audio/mel-resnet18, corpus: demo}}
profiles: {default: [words, mfcc, mfcc_2, mel]}
pipeline: {}
training: {seeds: 1, epochs: 2}
experiments: {}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder, and the current one."""
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "200")
    (place / "params.yaml").write_text(PARAMS)
    return place


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line."""
    return command_runner(monkeypatch, capsys)


def talks(root: Path, text: str = "Hi") -> Path:
    """A folder of 8 labelled clips in 4 dialogues."""
    clips(root, *(f"{n}.wav" for n in range(8)))
    rows = "".join(f"{n}.wav,{text},d{n // 2},{'joy' if n % 2 else 'anger'}\n" for n in range(8))
    (root / "utterances.csv").write_text("file,text,dialogue,emotion\n" + rows)
    return root


def params() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(Path("params.yaml").read_text())
    return loaded


def everything() -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(Path().rglob("*")) if p.is_file()}


def test_a_tuple_pickle_gives_a_trained_score_in_two_commands(run: Run) -> None:
    pickled(Path("mm.pkl"), mmgcn_tuple())
    made = run("init", "--from", "mm.pkl", "--json")
    assert made.code == 0, made.err
    assert made.json["next"] == "ercache train mm" and made.json["utterances"] == 48
    trained = run(*made.json["next"].split()[1:], "--json")
    assert trained.code == 0, trained.err
    assert 0 <= trained.json["test"]["weighted_f1"]["mean"] <= 1
    assert "origin of mm_text unknown" in trained.json["marks"]


def test_the_params_of_a_features_file_keep_what_a_person_wrote(run: Run) -> None:
    pickled(Path("mm.pkl"), mmgcn_tuple())
    assert run("init", "--from", "mm.pkl").code == 0
    text = Path("params.yaml").read_text()
    assert "# my project" in text and "# sentences" in text
    assert set(PARAMS.splitlines()) - set(text.splitlines()) == {"corpora: {demo: {}}", "experiments: {}"}
    assert params()["experiments"]["mm"] == {
        "model": "bc_lstm", "corpus": "mm", "label_set": "label", "split": "official",
        "features": {"text": ["mm_text"], "audio": ["mm_audio"], "visual": ["mm_visual"]},
    }  # fmt: skip
    Path("params.yaml").write_text(text.replace("model: bc_lstm", "model: concat"))
    before = Path("params.yaml").read_bytes()
    again = run("init", "--from", "mm.pkl")
    assert again.code == 0 and "kept as you wrote it: params.yaml: experiments.mm" in again.err
    assert Path("params.yaml").read_bytes() == before


@pytest.mark.parametrize("form", ["cosmic", "mmsa", "merbench"])
def test_every_form_gives_an_experiment_that_trains(run: Run, form: str) -> None:
    if form == "merbench":
        merbench_folder(Path("f.pkl"))
    else:
        pickled(Path("f.pkl"), cosmic_tuple() if form == "cosmic" else mmsa_dictionary())
    made = run("init", "--from", "f.pkl", "--name", "mine", "--json")
    assert made.code == 0 and made.json["next"] == "ercache train mine", made.err
    assert run("train", "mine").code == 0


def test_sentences_without_vectors_are_told_and_computed_by_the_next_command(run: Run) -> None:
    pickled(Path("dia.pkl"), cosmic_tuple(vectors=False))
    made = run("init", "--from", "dia.pkl")
    assert made.code == 0 and "holds sentences and labels, but no vectors" in made.err
    assert "next: ercache extract dia --features words && ercache train dia" in made.err
    assert run("extract", "dia", "--features", "words", "--limit", "2").code == 0


def test_a_folder_gets_a_pipeline_on_the_default_profile(tmp_path: Path, run: Run) -> None:
    root = talks(tmp_path / "talks")
    made = run("init", "--folder", root, "--json")
    assert made.code == 0, made.err
    answer = made.json
    stages = ["manifest-talks", "extract-talks-text", "extract-talks-audio", "train-talks"]
    assert answer["stages"] == stages and answer["deviations"] == []
    assert answer["weights"] == [], "the checkpoint of minilm is part of a package"
    assert answer["left_out"] == {"mel": "its extractor is trained on demo"}
    assert answer["next"].endswith("dvc repro train-talks")
    assert yaml.safe_load(Path("params.local.yaml").read_text()) == {"roots": {"talks": str(root)}}
    assert set(stages) < set(yaml.safe_load(Path("dvc.yaml").read_text())["stages"])
    assert params()["corpora"]["talks"] == {"scan": "folder"}
    assert params()["experiments"]["talks"] == {
        "model": "bc_lstm", "corpus": "talks", "label_set": "emotion", "split": "dialogues",
        "features": {"text": ["words"], "audio": ["mfcc"]},
    }  # fmt: skip
    assert run("pipeline", "--check").code == 0
    assert run("scan", "talks").code == 0, "the stage's command finds the folder"


def test_a_second_folder_adds_to_the_first_and_a_second_call_changes_nothing(
    tmp_path: Path, run: Run
) -> None:
    a, b = talks(tmp_path / "a"), clips(tmp_path / "b", "x.wav", "y.wav", "z.wav")
    assert run("init", "--folder", a).code == 0
    made = run("init", "--folder", b)
    assert made.code == 0 and "words is left out: no utterance has a text" in made.err
    assert "no experiment: b has no labels to train on" in made.err
    assert params()["pipeline"] == {"a": "a", "b": "b"} and params()["profiles"]["b"] == ["mfcc", "mfcc_2"]
    before = everything()
    assert run("init", "--folder", a).code == 0 and everything() == before


def test_an_edited_profile_of_the_folder_is_kept(tmp_path: Path, run: Run) -> None:
    root = talks(tmp_path / "talks")
    assert run("init", "--folder", root).code == 0
    text = Path("params.yaml").read_text().replace("[words, mfcc, mfcc_2]", "[words, mfcc]")
    Path("params.yaml").write_text(text)
    made = run("init", "--folder", root)
    assert made.code == 0 and "kept as you wrote it: params.yaml: profiles.talks" in made.err
    assert Path("params.yaml").read_text() == text


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), "no corpus was given"),
    "both": (("--folder", "{root}", "--from", "mm.pkl"), "--folder and --from cannot be given together"),
    "a folder and papers": (("m2fnet", "meld", "--folder", "{root}"), "papers and --folder"),
    "a root of a folder": (("--folder", "{root}", "--root", "{root}"), "leave out --root"),
    "a name of a paper's corpus": (("m2fnet", "meld", "--name", "x"), "leave out --name"),
    "an absent folder": (("--folder", "{root}/x"), "no such folder"),
    "an empty folder": (("--folder", "{root}/empty"), "nor clips"),
    "a published name": (("--folder", "{root}", "--name", "meld"), "a published corpus"),
    "any folder's name": (("--folder", "{root}", "--name", "folder"), "another name"),
    "a name for no path": (("--from", "mm.pkl", "--name", "a/b"), "cannot be the name"),
    "an absent file": (("--from", "x.pkl"), "no such file"),
    "a file that is no corpus": (("--from", "params.yaml"), "not a usable pickle"),
    "a table of vectors": (("--from", "vectors.npz"), "no dialogues and labels"),
    "a name of features": (("--from", "one.pkl", "--name", "demo"), "the name of another corpus"),
}


@pytest.mark.parametrize("what", list(BAD))
def test_bad_input_is_refused_and_nothing_is_written(tmp_path: Path, run: Run, what: str) -> None:
    root = talks(tmp_path / "talks")
    (root / "empty").mkdir()
    pickled(Path("mm.pkl"), mmgcn_tuple())
    pickled(Path("one.pkl"), mmgcn_tuple())
    Path("vectors.npz").write_bytes(b"PK")
    before = everything()
    words, said = BAD[what]
    ran = run("init", *(word.format(root=root) for word in words))
    assert ran.code == 2 and said in ran.err and "Traceback" not in ran.err, ran.err
    assert everything() == before


def test_without_params_there_is_no_project(tmp_path: Path, run: Run) -> None:
    Path("params.yaml").unlink()
    pickled(Path("mm.pkl"), mmgcn_tuple())
    for words in (("--from", "mm.pkl"), ("--folder", talks(tmp_path / "talks"))):
        ran = run("init", *words)
        assert ran.code == 2 and "there is no params.yaml here" in ran.err
    assert [p.name for p in Path().iterdir()] == ["mm.pkl"]


def test_params_in_conflict_are_told_together_and_nothing_is_written(tmp_path: Path, run: Run) -> None:
    Path("params.yaml").write_text(PARAMS.replace("engine: {shard: 16, ", "engine: {"))
    before = everything()
    ran = run("init", "--folder", talks(tmp_path / "talks"))
    assert ran.code == 2 and "engine.shard: missing" in ran.err and everything() == before


def test_a_corpus_of_features_is_not_scanned_but_made_again(run: Run) -> None:
    pickled(Path("mm.pkl"), mmgcn_tuple())
    assert run("init", "--from", "mm.pkl").code == 0
    Path("data/manifests/mm.jsonl").unlink()
    for words in (("scan", "mm"), ("extract", "mm", "--features", "words")):
        ran = run(*words)
        assert ran.code == 2 and "`ercache init --from FILE --name mm`" in ran.err


def test_a_folder_does_not_take_the_name_of_a_features_file(tmp_path: Path, run: Run) -> None:
    pickled(Path("mm.pkl"), mmgcn_tuple())
    assert run("init", "--from", "mm.pkl").code == 0
    root = talks(tmp_path / "mm")
    for words in (("init", "--folder", root), ("scan", root)):
        ran = run(*words)
        assert ran.code == 2 and "was made from a features file" in ran.err and "--name" in ran.err


def test_a_tilde_means_the_home_folder(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    pickled(talks(tmp_path / "talks") / "mm.pkl", mmgcn_tuple())
    assert run("init", "--folder=~/talks").code == 0 and run("init", "--from=~/talks/mm.pkl").code == 0
    assert not Path("~").exists() and set(params()["corpora"]) == {"demo", "talks", "mm"}


def test_two_files_of_one_name_are_two_corpora(run: Run) -> None:
    for folder, turns in (("a", 3), ("b", 4)):
        Path(folder).mkdir()
        pickled(Path(folder) / "f.pkl", mmgcn_tuple(turns=turns))
    assert run("init", "--from", "a/f.pkl").code == 0
    ran = run("init", "--from", "b/f.pkl")
    assert ran.code == 2 and "was made from another features file" in ran.err
    assert run("init", "--from", "b/f.pkl", "--name", "g").code == 0
    sizes = [len(read_manifest(Path(f"data/manifests/{name}.jsonl")).utterances) for name in "fg"]
    assert sizes == [36, 48]


def test_another_folder_of_a_registered_name_is_refused(tmp_path: Path, run: Run) -> None:
    a, b = talks(tmp_path / "a" / "talks"), talks(tmp_path / "b" / "talks", text="Bye")
    assert run("init", "--folder", a).code == 0
    before = everything()
    for words in ((), ("--name", "talks")):
        ran = run("init", "--folder", b, *words)
        assert ran.code == 2 and "already belongs to another folder" in ran.err and everything() == before
    assert run("init", "--folder", b, "--name", "more").code == 0


def test_a_folder_leaves_the_pipeline_again_even_if_it_is_gone(tmp_path: Path, run: Run) -> None:
    root, other = talks(tmp_path / "talks"), talks(tmp_path / "other")
    assert run("init", "--folder", root).code == 0
    shutil.rmtree(root)
    removed = run("init", "--folder", root, "--remove", "--json")
    assert removed.code == 0 and removed.json == {"removed": ["talks"]}, removed.err
    assert params()["pipeline"] == {} and "talks" in params()["experiments"], "what was made stays"
    assert not any("talks" in stage for stage in yaml.safe_load(Path("dvc.yaml").read_text())["stages"])
    before = everything()
    absent = run("init", "--folder", other, "--remove")
    assert absent.code == 2 and "'other' is not in the pipeline" in absent.err and everything() == before


@pytest.mark.parametrize("spoilt", [["text"], ["text", "audio", "visual"]])
def test_features_with_nan_are_kept_and_not_trained_on(run: Run, spoilt: list[str]) -> None:
    content = list(mmgcn_tuple())
    for modality, vectors in zip(("text", "audio", "visual"), content[3:6], strict=True):
        if modality in spoilt:
            next(iter(vectors.values()))[0][0] = np.nan
    pickled(Path("mm.pkl"), tuple(content))
    made = run("init", "--from", "mm.pkl")
    assert made.code == 0 and "NaN or infinite values" in made.err, made.err
    if len(spoilt) == 3:
        assert "no experiment: every feature holds NaN" in made.err and "next: ercache train" not in made.err
    else:
        features = params()["experiments"]["mm"]["features"]
        assert set(features) == {"audio", "visual"} and run("train", "mm").code == 0


def test_corpora_of_ones_own_are_listed_with_their_folder_or_file(tmp_path: Path, run: Run) -> None:
    root = talks(tmp_path / "talks")
    pickled(Path("mm.pkl"), mmgcn_tuple())
    assert run("init", "--folder", root).code == 0 and run("init", "--from", "mm.pkl").code == 0
    rows = {row["key"]: row for row in run("corpora", "--json").json}
    assert rows["talks"]["how_to_get"] == str(root) and rows["talks"]["modalities"] == ["audio", "text"]
    assert rows["mm"]["name"] == "made from a features file" and rows["mm"]["how_to_get"].endswith("mm.pkl")
    assert "meld" in rows
