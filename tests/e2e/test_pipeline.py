"""From media to report through the command line, and what users see on the way."""

import json
import shutil

import pytest
import yaml

from tests.e2e.conftest import MakeProject, Project

pytestmark = pytest.mark.e2e


def test_every_utterance_of_the_demo_is_accounted_for(extracted: Project) -> None:
    extracted = extracted.here
    answer = extracted.json("extract", "demo")
    scanned = extracted.json("scan", "demo", "--out", "again.jsonl")
    count = sum(split["utterances"] for split in scanned["splits"].values())
    assert len(answer["files"]) == 5 * 3
    assert answer["done"] == 0, "a second extraction finds everything done"
    broken = json.loads((extracted.folder / "data/raw/demo/demo.json").read_text())["broken"]
    failed = {(f["utterance"], f["feature"]): f["reason"] for f in answer["failed"]}
    kinds = {row["kind"] for row in broken}
    assert {"no_face", "silent", "truncated"} <= kinds
    for row in broken:
        if row["kind"] == "no_face":
            assert failed[row["id"], "face_hog"] == "no_face"
        if row["kind"] == "silent":
            assert failed[row["id"], "prosody"] in ("silent", "no_audio")
        if row["kind"] == "truncated":
            assert {failed[row["id"], f] for f in ("prosody", "mfcc", "face_hog")} <= {
                "unreadable",
                "empty_file",
            }
    assert {u for u, _ in failed} == {row["id"] for row in broken}, (
        "only what was broken on purpose is missing"
    )
    rows = extracted.json("cache", "ls", "data/caches")
    assert sum(r["utterances"] for r in rows) == 5 * count


def test_caches_verify_and_show_their_provenance(extracted: Project) -> None:
    extracted = extracted.here
    assert extracted.json("cache", "verify", "data/caches") == {"checked": 15, "bad": []}
    info = extracted.json("cache", "info", "data/caches/demo/visual/face_hog.train.h5")
    provenance = info["provenance"]
    assert provenance["encoder"] == "visual/face-hog" and provenance["corpus"] == "demo"
    assert provenance["faces"]["encoder"] == "faces/mtcnn"
    assert provenance["made"][0]["device"] in ("cpu", "cuda")
    text = extracted.json("cache", "info", "data/caches/demo/text/minilm.train.h5")["provenance"]
    assert text["weights"]["sha256"]["model.safetensors"].startswith("53aa5117")


def test_train_evaluate_compare_and_report_from_the_caches(extracted: Project) -> None:
    for name, project in (
        ("m2fnet", extracted),
        ("avafn", extracted.here),
        ("concat", extracted.here),
        ("bc_lstm", extracted.here),
    ):
        answer = project.json("train", name, "--seeds", "2")
        assert answer["selected_on"] == "validation" and len(answer["seeds"]) == 2
        low, high = answer["test"]["weighted_f1"]["ci95"]
        assert 0 <= low <= answer["test"]["weighted_f1"]["mean"] <= high <= 1
    extracted = extracted.here
    again = extracted.json("evaluate", "data/models/m2fnet")
    run = json.loads((extracted.folder / "data/models/m2fnet/run.json").read_text())
    assert again["test"]["weighted_f1"]["mean"] == pytest.approx(run["test"]["weighted_f1"]["mean"], abs=1e-6)
    rows = extracted.json("compare", "data/models/m2fnet", "data/models/concat")
    assert {"a", "b", "difference", "ci95", "p"} <= set(rows[0])
    (tables,) = extracted.json("systems")
    assert {r["system"] for r in tables["against_reference"]} == {"m2fnet", "avafn", "concat", "bc_lstm"}
    case = extracted.json("case", "data/models/avafn", "test_dia0")
    assert sum(case["audio_attention"][-1]) == pytest.approx(1, abs=1e-5)
    page = extracted.json("report")["path"]
    text = (extracted.folder / page).read_text()
    assert "<script" not in text and 'src="http' not in text
    for name in ("m2fnet", "concat", "bc_lstm"):
        assert name in text


def test_stdout_is_the_answer_and_nothing_else(extracted: Project) -> None:
    for command in (
        ["doctor"],
        ["corpora"],
        ["encoders"],
        ["models"],
        ["extract", "demo"],
        ["weights", "ls"],
    ):
        real = extracted if command[0] == "extract" else extracted.here
        done = real.ercache(*command, "--json")
        json.loads(done.stdout)
        assert done.stderr == "", "a pipe sees no progress"


def test_a_partial_run_never_touches_the_canonical_caches(copied: Project) -> None:
    shutil.rmtree(copied.folder / "data/caches")
    answer = copied.json("extract", "demo", "--features", "minilm", "--limit", "3")
    assert all(path.startswith("data/partial/") for path in answer["files"])
    assert copied.caches() == {}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["extract", "demmo"], "did you mean 'demo'?"),
        (["extract", "demo", "--features", "mini_lm"], "did you mean 'minilm'?"),
        (["extract", "demo", "--profile", "defalt"], "did you mean 'default'?"),
        (["extract", "demo", "--device", "tpu"], "auto, cpu or cuda"),
        (["extract", "demo", "--limit", "0"], "'--limit'"),
        (["train", "m2fnett"], "did you mean 'm2fnet'?"),
        (["train", "m2fnet"], "ercache extract demo"),
        (["evaluate", "nowhere"], "nowhere"),
        (["cache", "info", "nowhere.h5"], "nowhere.h5"),
        (["cache", "verify", "nowhere"], "nowhere"),
        (["scan", "meld", "--root", "nowhere"], "nowhere"),
        (["scan", "meld"], "ERCACHE_ROOT_MELD"),
        (["demo", "d", "--size", "huge"], "tiny or full"),
        (["no-such-verb"], "no-such-verb"),
    ],
)
def test_wrong_usage_is_told_and_exits_with_2(
    make_small: MakeProject, arguments: list[str], told: str
) -> None:
    project = make_small().here
    if arguments[0] == "train":
        project.ercache("scan", "demo")
    done = project.ercache(*arguments, code=2)
    assert told in " ".join(done.stderr.split())


def test_wrong_usage_is_told_by_the_real_command(make_project: MakeProject) -> None:
    project = make_project()
    assert "did you mean 'm2fnet'?" in project.ercache("train", "m2fnett", code=2).stderr
    assert "no-such-verb" in project.ercache("no-such-verb", code=2).stderr


def test_all_wrong_params_are_told_at_once(make_project: MakeProject) -> None:
    project = make_project().here
    with project.params() as params:
        params["training"]["epochs"] = "none"
        params["features"]["minilm"]["encoder"] = "text/minilmm"
        params["features"]["mfcc"] = {"encoder": "audio/mfcc", "n_mffc": 20}
    told = project.ercache("extract", "demo", code=2).stderr
    for part in ("training.epochs", "'text/minilm'", "'n_mfcc'"):
        assert part in told


def test_a_damaged_cache_is_found_not_used_and_made_again(copied: Project) -> None:
    path = copied.folder / "data/caches/demo/text/minilm.train.h5"
    good = path.read_bytes()
    path.write_bytes(good[:5000] + bytes([good[5000] ^ 1]) + good[5001:])
    assert copied.json("cache", "verify", "data/caches", code=1)["bad"][0]["file"].endswith("minilm.train.h5")
    done = copied.ercache("extract", "demo", "--features", "minilm")
    assert "is damaged" in done.stderr
    assert path.read_bytes() == good


def test_a_cache_of_another_corpus_is_refused_by_train(copied: Project) -> None:
    (copied.folder / "data/caches/demo").rename(copied.folder / "data/caches/meld")
    manifest = copied.folder / "data/manifests/demo.jsonl"
    text = manifest.read_text().replace('"corpus":"demo"', '"corpus":"meld"', 1)
    manifest.with_name("meld.jsonl").write_text(text)
    manifest.with_name("demo.splits.json").rename(manifest.with_name("meld.splits.json"))
    with copied.params() as params:
        params["experiments"]["m2fnet_text"]["corpus"] = "meld"
    assert "corpus" in copied.ercache("train", "m2fnet_text", code=2).stderr


def test_features_of_another_project_are_imported_and_trained_on(copied: Project) -> None:
    for part in ("train", "dev", "test"):
        cache = f"data/caches/demo/audio/mfcc.{part}.h5"
        copied.ercache("cache", "export", cache, "--format", "npz", "--out", f"{part}.npz")
        copied.ercache(
            "cache", "import", f"{part}.npz", "--format", "npz", "--corpus", "demo", "--name", "theirs"
        )
    path = copied.folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["features"]["theirs"] = {"encoder": "imported"}
    params["experiments"] = {
        "ours": {"model": "concat", "corpus": "demo", "features": {"audio": ["mfcc"]}},
        "same": {"model": "concat", "corpus": "demo", "features": {"audio": ["theirs"]}},
    }
    path.write_text(yaml.safe_dump(params))
    ours, same = copied.json("train", "ours"), copied.json("train", "same")
    assert ours["test"] == same["test"]
    told = copied.ercache("extract", "demo", "--features", "theirs", code=2).stderr
    assert "was imported from another project and cannot be extracted" in told
