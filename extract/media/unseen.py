"""Open a file as if the codec of its pictures were unknown, to read its sound although the pictures are damaged.

FFmpeg's libraries refuse a whole file if H.264 or H.265 lacks the header that mp4 and Matroska store outside the
packets. The `ffmpeg` command plays the sound of such a file.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

# Names of these codecs: in mp4 as the first entry of a table of formats (`stsd`), in Matroska as text.
_NAMES: Final = re.compile(
    rb"(?<=stsd.{12})(?:avc[1-4]|hvc1|hev1)|(?<=V_)(?:MPEG4/ISO/AVC|MPEGH/ISO/HEVC)", re.DOTALL
)
_BLOCK: Final = 1 << 20  # bytes that are searched at once
_OVERLAP: Final = 64  # bytes of the block before, in which a name may begin


class _Overwritten(io.RawIOBase):
    """An open file that looks as if question marks stood at some places. The file on the disk stays unchanged.

    Args:
        path: path of the file.
        places: for each place, the position of its first byte and of the byte after its last.
        name: file name that FFmpeg sees.
    """

    def __init__(self, path: Path, places: list[tuple[int, int]], name: str) -> None:
        self._file, self._places, self.name = path.open("rb"), places, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        start = self._file.tell()
        count = self._file.readinto(buffer)
        for first, end in self._places:
            low, high = max(first - start, 0), min(end - start, count)
            if low < high:
                buffer[low:high] = b"?" * (high - low)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def without_picture_codecs(path: Path, name: str, tick: Callable[[], None]) -> io.BufferedReader | None:
    """Open an mp4, mov or Matroska file so that FFmpeg cannot recognise the codec of its pictures.

    Args:
        path: path of the file.
        name: file name that FFmpeg sees.
        tick: function that is called often while the file is searched for the names of codecs.

    Returns:
        The open file, in which the names of H.264 and H.265 read as question marks; None if neither name occurs.
    """
    places, position, tail = set(), 0, b""
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            tick()
            searched = tail + block
            start = position - len(tail)
            places |= {(start + found.start(), start + found.end()) for found in _NAMES.finditer(searched)}
            position += len(block)
            tail = searched[-_OVERLAP:]
    if not places:
        return None
    return io.BufferedReader(_Overwritten(path, sorted(places), name))
