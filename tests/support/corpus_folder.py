"""Corpus folders for the tests of scans: make a small film, and put files at paths."""

import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg


def filmed(path: Path, seconds: int) -> Path:
    """Make a film of 32 x 32 pixels, ten frames a second, with sound, lasting some seconds."""
    sources = (
        *("-f", "lavfi", "-i", f"testsrc=s=32x32:r=10:d={seconds}"),
        *("-f", "lavfi", "-i", f"sine=d={seconds}"),
    )
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *sources, str(path)], check=True)
    return path


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
