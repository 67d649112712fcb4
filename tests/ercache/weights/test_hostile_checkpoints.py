"""Checkpoints whose zip or pickle is not as it should be are refused at once, in words, whichever way they come in."""

import pickle
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ercache import weights
from ercache.archives import BadArchive, members_of
from ercache.errors import WeightsError
from ercache.weights import Checkpoint, WeightFile, add, convert, extra_checkpoints, read_tensors
from tests.support.archive_files import bomb, damaged, encrypted, larger, of_unknown_method, zipped
from tests.support.limited import SECONDS, outcomes

AT_ONCE = 40.0  # seconds: a conversion has a process of its own, which imports torch; what is asked for takes minutes
SPOILT: dict[str, tuple[Callable[[Path, str], object], str]] = {
    "bad CRC": (damaged, "x.pth|CRC|damaged|read failed"),
    "encrypted": (encrypted, "is encrypted"),
    "unknown method": (of_unknown_method, "method 99"),
    "lying size": (larger, "two sizes"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    return tmp_path / "weights"


def row(name: str) -> Checkpoint:
    return Checkpoint("own", "brought", "a friend", "1", (WeightFile(name),), "MIT")


def saved(path: Path) -> Path:
    torch.save({"model": {"weight": torch.arange(6000.0), "bias": torch.zeros(1)}}, path)
    return path


def refusal(do: Callable[[], object]) -> str:
    begun = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        do()
    assert time.monotonic() - begun < AT_ONCE and caught.value.exit_code == 2 and caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("fault", SPOILT)
def test_a_checkpoint_with_a_damaged_zip_is_refused_with_a_message(
    tmp_path: Path, folder: Path, fault: str
) -> None:
    spoil, told = SPOILT[fault]
    path = saved(tmp_path / "x.pth")
    spoil(path, "x/data/0")
    with extra_checkpoints(row("x.pth")), pytest.raises(WeightsError, match=told):
        add("own", [path])
    with pytest.raises(WeightsError, match=rf"{path.name}"):
        convert("efficientface", path)
    assert not (folder / "own").exists()


@pytest.mark.parametrize("fault", SPOILT)
def test_a_damaged_archive_of_checkpoints_is_refused_with_a_message(
    tmp_path: Path, folder: Path, fault: str
) -> None:
    save_file({"w": torch.arange(100.0)}, tmp_path / "own.safetensors")
    path = zipped(tmp_path / "all.zip", {"deep/own.safetensors": (tmp_path / "own.safetensors").read_bytes()})
    SPOILT[fault][0](path, "deep/own.safetensors")
    with extra_checkpoints(row("own.safetensors")):
        assert "all.zip" in refusal(lambda: add("own", [path]))
    assert not (folder / "own").exists()


def test_an_archive_with_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    twice = zipped(tmp_path / "all.zip", {"a/own.safetensors": b"1", "b/own.safetensors": b"2"})
    with extra_checkpoints(row("own.safetensors")):
        assert "two folders" in refusal(lambda: add("own", [twice]))
    with zipfile.ZipFile(twice, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for content in ("1", "2"):
            archive.writestr("own.safetensors", content)
    with extra_checkpoints(row("own.safetensors")):
        assert "it lists 'own.safetensors' twice" in refusal(lambda: add("own", [twice]))


def test_a_path_that_leads_out_of_the_folder_writes_nothing_there(tmp_path: Path, folder: Path) -> None:
    save_file({"w": torch.arange(100.0)}, tmp_path / "own.safetensors")
    content = (tmp_path / "own.safetensors").read_bytes()
    path = zipped(tmp_path / "all.zip", {"../../../own.safetensors": content})
    (tmp_path / "own.safetensors").unlink()
    with extra_checkpoints(row("own.safetensors")):
        assert add("own", [path]) == [folder / "own" / "own.safetensors"]
    assert not list(tmp_path.parent.glob("own.safetensors"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = bomb(tmp_path / "all.zip", "own.safetensors", 1 << 28)
    assert path.stat().st_size < 2 << 20
    with extra_checkpoints(row("own.safetensors")):
        assert "its content would be 268,435,456 bytes" in refusal(lambda: add("own", [path]))
    shutil.copyfile(path, tmp_path / "x.pth")
    with extra_checkpoints(row("x.pth")):
        assert "method 8" in refusal(lambda: add("own", [tmp_path / "x.pth"]))
    assert "method 8" in refusal(lambda: convert("efficientface", tmp_path / "x.pth"))


def test_archive_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a": bytes(5000), "b": b""})
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 1)
    content[second + 16 : second + 28] = content[first + 16 : first + 28]  # checksum and sizes
    content[second + 42 : second + 46] = bytes(4)  # place
    path.write_bytes(content)
    with pytest.raises(BadArchive, match="overlap"):
        members_of(path)


def deep(count: int) -> bytes:
    return b"\x80\x02}N" + b"\x85" * count + b"Ns."


def shared(count: int) -> bytes:
    made = (b"r" + struct.pack("<I", n) + b"j" + struct.pack("<I", n) + b"\x86" for n in range(1, count))
    return b"\x80\x02}N\x85" + b"".join(made) + b"Ns."


def test_a_key_that_crashes_or_blocks_the_process_is_refused(tmp_path: Path) -> None:
    files: dict[str, Path] = {}
    for name, content in {"deep": deep(150_000), "shared": shared(60)}.items():
        files[f"{name} in a zip"] = zipped(
            tmp_path / f"{name}.pt", {"x/data.pkl": content, "x/version": b"3\n"}
        )
        old = tmp_path / f"{name}_old.pt"
        old.write_bytes(
            pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + content
        )
        files[f"{name} in a row"] = old
    prepare = "from ercache.errors import ErcacheError\nfrom ercache.weights import read_tensors as read\nimport torch"
    found = outcomes(files, prepare, memory=20 << 30)
    for name, outcome in found.items():
        assert "not readable as a checkpoint" in outcome.told and "byte" in outcome.told, (name, outcome)
        assert outcome.seconds < SECONDS
    for path in files.values():
        assert path.name in refusal(lambda path=path: convert("efficientface", path))  # type: ignore[misc]


def test_files_of_torch_with_tuples_as_keys_are_read(tmp_path: Path) -> None:
    content = {"w": torch.ones(2), "b": torch.zeros(3, dtype=torch.float16)}
    for zipped_ in (True, False):
        torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped_)
        assert read_tensors(tmp_path / "x.pt").keys() == content.keys()
        torch.save(
            {"state_dict": content, "sizes": {(1, 2): 3}},
            tmp_path / "y.pt",
            _use_new_zipfile_serialization=zipped_,
        )
        assert read_tensors(tmp_path / "y.pt", "state_dict").keys() == content.keys()
