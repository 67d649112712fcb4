"""Corpus folders for the tests of scans: make a small film, put files at paths, scan, and read what a scan told."""

import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from ercache.errors import CorpusError
from ercache.manifest import Manifest, write_manifest
from extract.corpora import CORPORA


def filmed(path: Path, seconds: int) -> Path:
    """Make a film of 32 x 32 pixels, ten frames a second, with sound, lasting some seconds."""
    sources = (
        *("-f", "lavfi", "-i", f"testsrc=s=32x32:r=10:d={seconds}"),
        *("-f", "lavfi", "-i", f"sine=d={seconds}"),
    )
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *sources, str(path)], check=True)
    return path


def scan_and_write(key: str, root: Path) -> Manifest:
    """Scan a corpus without switches, and write its manifest beside the root: a scan must give what can be written."""
    entry = CORPORA[key]
    found = entry.scan(root, entry.Switches())
    write_manifest(found, root.parent / f"{key}.jsonl")
    return found


def refusal(key: str, root: Path) -> str:
    """Scan a corpus that must be refused. Return the message for the user."""
    with pytest.raises(CorpusError) as caught:
        scan_and_write(key, root)
    return str(caught.value)


def details(manifest: Manifest, reason: str) -> list[str]:
    """Details of the problems with this reason."""
    return [p.detail for p in manifest.problems if p.reason == reason]


def put(root: Path, path: str, content: str | bytes | Path) -> Path:
    """Write a file at a path below a root folder. Return the root folder.

    Args:
        content: text or bytes of the file, or a file to copy.
    """
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        shutil.copy(content, target)
    else:
        target.write_bytes(content.encode() if isinstance(content, str) else content)
    return root
