"""Conversion of pickles with classes: the tensors come out bit for bit, and nothing in the file is ever run."""

import argparse
import collections
import copyreg
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from ercache import weights
from ercache.digests import digest_of_file
from ercache.errors import WeightsError
from ercache.weights import Weights, convert, read_tensors
from ercache.weights.stub_unpickler import tensors_of


class RecorderMeter:
    """As the training code of EfficientFace leaves one in its checkpoints."""

    def __init__(self) -> None:
        self.epoch_losses = np.zeros((3, 2), dtype=np.float32)
        self.best = np.float64(63.7)


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.makedirs, (str(self.target), 0o777, True)


class Rows(list[Any]):
    """A list of its own class, filled by opcodes of its own."""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 7))


def face_pickle(path: Path, *, zipped: bool, **more: Any) -> dict[str, torch.Tensor]:
    state = {f"module.{name}": tensor for name, tensor in network().state_dict().items()}
    saved = {"epoch": 9, "state_dict": collections.OrderedDict(state), "recorder": RecorderMeter(), **more}
    torch.save(saved, path, _use_new_zipfile_serialization=zipped)
    return state


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_with_a_class_is_refused_until_converted_and_then_loads(
    tmp_path: Path, zipped: bool
) -> None:
    path = tmp_path / "EfficientFace_Trained_on_AffectNet7.pth.tar"
    state = face_pickle(path, zipped=zipped)
    with pytest.raises(WeightsError, match="refused, because it holds more than tensors"):
        read_tensors(path, inside="state_dict")
    made = convert("efficientface", path)
    tensors = read_tensors(made)
    assert tensors.keys() == state.keys() and all(torch.equal(tensors[name], state[name]) for name in state)
    loaded = Weights("efficientface").network(network)
    assert torch.equal(loaded.state_dict()["0.weight"], state["module.0.weight"])
    told = weights.provenance("efficientface")
    assert told["sha256"] == {"model.safetensors": digest_of_file(made)}
    assert told["converted_from"] == {path.name: digest_of_file(path)}


def test_the_model_is_read_from_a_pickle_of_fairseq(tmp_path: Path) -> None:
    path = tmp_path / "emotion2vec_base.pt"
    shared = torch.arange(6.0).reshape(2, 3)
    model = {
        "a.weight": shared[:, 1:],
        "a.half": torch.ones(2).half(),
        "a.parameter": nn.Parameter(torch.ones(2)),
    }
    args = argparse.Namespace(arch="data2vec", rows=Rows([1, 2]), kinds=collections.Counter("aab"))
    torch.save({"args": args, "cfg": {"task": args}, "model": model, "optimizer_history": [args]}, path)
    tensors = read_tensors(convert("emotion2vec", path))
    assert (
        tensors["a.weight"].tolist() == [[1.0, 2.0], [4.0, 5.0]] and tensors["a.half"].dtype == torch.float16
    )
    assert tensors.keys() == model.keys()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_runs_no_code(tmp_path: Path, zipped: bool) -> None:
    trace, path = tmp_path / "trace", tmp_path / "x.pth.tar"
    state = face_pickle(path, zipped=zipped, evil=Evil(trace), nested=[{"a": Evil(trace)}])
    assert read_tensors(convert("efficientface", path)).keys() == state.keys()
    assert not trace.exists()
    torch.load(path, weights_only=False)  # it would have
    assert trace.exists()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(
        [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
    ),
    shape=st.lists(st.integers(0, 3), max_size=3),
    turned=st.booleans(),
    zipped=st.booleans(),
)
def test_tensors_of_any_type_shape_and_stride_are_read_unchanged(
    tmp_path: Path, dtype: torch.dtype, shape: list[int], turned: bool, zipped: bool
) -> None:
    tensor = (torch.rand(shape) * 9).to(dtype)
    state = {
        "w": tensor.T if turned and tensor.ndim == 2 else tensor,
        "again": tensor,
        "meter": tensor[..., :1] if shape else tensor,
    }
    path = tmp_path / "x.pt"
    torch.save(
        {"state_dict": state, "recorder": RecorderMeter()}, path, _use_new_zipfile_serialization=zipped
    )
    found = tensors_of(path, "state_dict")
    assert all(torch.equal(found[name], state[name]) and found[name].dtype == dtype for name in state)


def test_classes_behind_extension_codes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    copyreg.add_extension("posix", "system", 241)
    try:
        with path.open("wb") as stream:
            for part in (0x1950A86A20F9469CFC6C, 1001, {}, {"state_dict": os.system}, []):
                pickle.dump(part, stream, protocol=2)
        with pytest.raises(WeightsError, match="opcode EXT1"):
            tensors_of(path, "state_dict")
    finally:
        copyreg.remove_extension("posix", "system", 241)


def test_the_error_about_a_missing_state_dict_lists_the_keys_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"net": {"w": torch.ones(1)}, "epoch": 3}, path)
    with pytest.raises(WeightsError, match=r"no state dict under 'state_dict' \(it has: net, epoch\)"):
        tensors_of(path, "state_dict")
    torch.save({"state_dict": {"w": torch.ones(1), "meter": RecorderMeter()}}, path)
    with pytest.raises(WeightsError, match="1 entries of the state dict are not tensors") as caught:
        tensors_of(path, "state_dict")
    assert caught.value.details == ("meter: RecorderMeter",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_truncated_file_gives_an_error_that_names_it(tmp_path: Path, zipped: bool, share: float) -> None:
    path = tmp_path / "x.pt"
    face_pickle(path, zipped=zipped)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(WeightsError, match=r"x\.pt|ends before|not tensors"):
        tensors_of(path, "state_dict")


def test_a_tensor_that_reaches_beyond_its_storage_is_refused(tmp_path: Path) -> None:
    class Long:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (torch.ones(2).storage(), 0, (10**6,), (1,), False, {})

    path = tmp_path / "x.pt"
    torch.save({"state_dict": {"w": Long()}}, path)
    with pytest.raises(WeightsError, match="not a file that torch saved"):
        tensors_of(path, "state_dict")


def test_a_conversion_with_another_result_than_before_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save({"state_dict": {"w": torch.ones(1)}}, path)
    made = convert("efficientface", path)
    before = made.read_bytes()
    torch.save({"state_dict": {"w": torch.zeros(1)}}, path)
    with pytest.raises(WeightsError, match="than the one that was added before"):
        convert("efficientface", path)
    assert made.read_bytes() == before


def test_the_conversion_process_gets_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(command: list[str], env: dict[str, str], **_: Any) -> Any:
        seen.update(env)
        return subprocess.CompletedProcess(command, 1, "", "died")

    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(subprocess, "run", run)
    path = tmp_path / "x.pt"
    path.write_bytes(b"x")
    with pytest.raises(WeightsError, match="conversion failed with exit code 1") as caught:
        convert("efficientface", path)
    assert caught.value.details == ("died",)
    assert set(seen) == {"PYTHONPATH", "OMP_NUM_THREADS"} and sys.executable


def test_a_checkpoint_that_needs_no_conversion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="needs no conversion"):
        convert("passt", tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"file of checkpoint .* not found"):
        convert("efficientface", tmp_path / "x.pt")
