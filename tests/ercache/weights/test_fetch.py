"""Fetching from a hub and from an address, both played by a server of the test; and clear words where there is none."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from ercache import weights
from ercache.errors import WeightsError, WorkError
from ercache.weights import Checkpoint, WeightFile, extra_checkpoints, fetch

COMMIT = "a" * 40


class _Hub(BaseHTTPRequestHandler):
    files: dict[str, bytes]

    def do_HEAD(self) -> None:
        self.answer(False)

    def do_GET(self) -> None:
        self.answer(True)

    def answer(self, body: bool) -> None:
        name = self.path.rsplit("/", 1)[1]
        content, kind = self.files.get(name), "application/octet-stream"
        if self.path.startswith("/api/models/some/net"):
            listed = ", ".join(f'{{"rfilename": "{name}"}}' for name in self.files)
            content = f'{{"id": "some/net", "sha": "{COMMIT}", "siblings": [{listed}]}}'.encode()
            kind = "application/json"
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.send_header("Content-Type", kind)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{name}"')
        self.end_headers()
        if body:
            self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    content = {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}
    kind = type("Hub", (_Hub,), {"files": {"model.safetensors": save(content), "config.json": b"{}"}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv(weights.FOLDER_VARIABLE, str(tmp_path / "weights"))
    yield kind
    server.shutdown()


def entry(kind: str, source: str, *files: WeightFile) -> Checkpoint:
    return Checkpoint("net", kind, source, "", files, "MIT", megabytes=3)  # type: ignore[arg-type]


HUB = entry(
    "hub", "some/net", WeightFile("model.safetensors", instead="pytorch_model.bin"), WeightFile("config.json")
)


def test_a_fetch_records_commit_and_digests_and_refuses_a_changed_file_later(
    hub: type[_Hub], tmp_path: Path
) -> None:
    with extra_checkpoints(HUB):
        assert [path.name for path in fetch("net")] == ["model.safetensors", "config.json"]
        made = weights.provenance("net")
        assert made["revision"] == COMMIT and set(made["sha256"]) == {"model.safetensors", "config.json"}
        fetch("net")  # the same again is no problem
        hub.files["config.json"] = b"{ }"
        with pytest.raises(WeightsError, match="was not added"):
            fetch("net")
        assert weights.provenance("net") == made
    assert not list((tmp_path / "weights").glob(".fetch-*"))


def test_a_file_at_an_address_is_downloaded_and_its_digest_checked(
    hub: type[_Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = os.environ["HF_ENDPOINT"] + "/release"
    with extra_checkpoints(entry("web", source, WeightFile("model.safetensors"))):
        fetch("net")
        assert weights.provenance("net")["source"] == source
    with (
        extra_checkpoints(entry("web", source, WeightFile("model.safetensors", "0" * 8))),
        pytest.raises(WeightsError, match="was not added"),
    ):
        fetch("net")
    with (
        extra_checkpoints(entry("web", source, WeightFile("gone.pt"))),
        pytest.raises(WorkError, match="404"),
    ):
        fetch("net")


def test_the_error_without_a_network_has_id_size_licence_and_remedy(
    hub: type[_Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with extra_checkpoints(HUB), pytest.raises(WorkError) as caught:
        fetch("net")
    for part in ("some/net", "3 MB", "MIT", "ercache weights add net model.safetensors config.json"):
        assert part in str(caught.value)


def test_offline_mode_makes_no_request(hub: type[_Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with extra_checkpoints(HUB), pytest.raises(WorkError, match="HF_HUB_OFFLINE is set"):
        fetch("net")


@pytest.mark.parametrize(
    ("key", "told"), [("dan-affectnet7", "cannot be downloaded"), ("pyfeat-au", "skops")]
)
def test_the_error_says_why_a_checkpoint_cannot_be_downloaded(key: str, told: str) -> None:
    with pytest.raises(WeightsError, match=told):
        fetch(key)
