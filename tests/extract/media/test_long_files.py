"""Memory does not grow with the length of a file, however its stretches are spread over it."""

import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest

PEAK = """
import sys
from pathlib import Path
from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from extract.media.types import PictureRequest
from extract.media import Span, read_spans
from tests.support.memory import peak
path, span = Path(sys.argv[1]), float(sys.argv[2])
kind, starts = PictureRequest(4), [span * n / 16 for n in range(16)]
spans = [Span(MediaRef(path.name, s, s + 2), (kind,), (16000,)) for s in starts]
clips = read_spans(path, spans, Limits())
assert all(len(c.pictures[kind]) == 4 and len(c.sounds[16000]) == 32000 for c in clips)
print(peak())
"""


def peak(path: Path, span: float) -> int:
    """Bytes at most, when 16 spans are read from the first `span` seconds."""
    command = [sys.executable, "-c", PEAK, str(path), str(span)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("minutes", [10, pytest.param(180, marks=pytest.mark.full)])
def test_a_long_file_is_read_in_the_memory_of_a_short_one(tmp_path: Path, minutes: int) -> None:
    path = tmp_path / "long.mp4"
    picture = f"testsrc=size=160x120:rate=5:duration={60 * minutes}"
    sound = f"sine=frequency=440:sample_rate=16000:duration={60 * minutes}"
    inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", "-b:a", "32k"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *inputs, *codecs, str(path)]
    subprocess.run(command, check=True)
    assert peak(path, 60 * minutes - 10) <= 1.1 * peak(path, 50)
