"""Which files may be opened, and the facts of a media file: all that comes before decoding."""

import math
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from ercache.manifest import MediaRef, escapes
from ercache.params import Limits
from ercache.reasons import Missing, Reason

# Containers that hold their own media. Playlists, concat scripts, image sequences and network sessions name
# other files, so the demuxers that read them are never offered to a file of a corpus.
FORMATS: Final = (
    "mov,mp4,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo,m4v,dv,nut,"
    "wav,w64,mp3,flac,ogg,aac,amr,aiff,au,caf"
)
PROTOCOLS: Final = "file,pipe"
# Seeking is exact to the packet where the container has an index; elsewhere decoding starts at the beginning.
INDEXED: Final = frozenset({"mov", "matroska", "avi", "wav", "w64", "flac"})
LEAD: Final = 10.0  # seconds read before a stretch, so that decoders have settled
REORDER: Final = 2.0  # seconds by which a later packet may still belong before an earlier one
LFS_POINTER: Final = b"version https://git-lfs"


@dataclass(frozen=True)
class Probe:
    """Facts of a media file, found by demuxing only.

    Attributes:
        duration: seconds, as the container says.
        frame_times: seconds from the start of the file at which each picture begins, sorted.
        key_times: the same of the pictures that are coded alone.
        width, height: of the coded picture, before rotation; 0 without video.
        audio_rate, audio_channels: None and 0 without audio.
        origin: the file's first timestamp, seconds; already taken off `frame_times`.
        indexed: whether the container can be sought in exactly.
        video_rank, audio_rank: of the stream looked at, among those of its kind.
        undecodable: kinds (`video`, `audio`) of which there are streams, but no decoder for any.
    """

    duration: float | None
    frame_times: NDArray[np.float64]
    width: int
    height: int
    audio_rate: int | None
    audio_channels: int
    origin: float = 0.0
    indexed: bool = False
    video_rank: int = 0
    audio_rank: int = 0
    undecodable: frozenset[str] = frozenset()
    key_times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    def seekable_to(self, start: float) -> bool:
        """Whether it pays, and is exact, to skip what comes before a stretch."""
        return self.indexed and LEAD < start <= (self.duration or math.inf)


def check_file(root: Path, ref: MediaRef) -> Path:
    """Find a reference's file without following it out of the corpus, and see that it may be opened.

    Raises:
        Missing: OUTSIDE_ROOT, ABSENT, NOT_A_FILE, EMPTY_FILE, GIT_LFS_POINTER or UNREADABLE.
    """
    path = locate(root, ref)
    check_bytes(path)
    return path


def locate(root: Path, ref: MediaRef) -> Path:
    """Where a reference leads, links followed.

    Raises:
        Missing: OUTSIDE_ROOT, or ABSENT when the links lead nowhere.
    """
    if escapes(ref.path):
        raise Missing(Reason.OUTSIDE_ROOT, ref.path)
    try:
        path = (root / ref.path).resolve()
        inside = path.is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a loop of symbolic links, a name that is too long
        raise Missing(Reason.ABSENT, _words(error)) from error
    if not inside:
        raise Missing(Reason.OUTSIDE_ROOT, f"{ref.path} is a link to a place outside the corpus root")
    return path


def check_bytes(path: Path) -> None:
    """Refuse what is no media file before any decoder sees it; a pipe is never opened.

    Raises:
        Missing: ABSENT, NOT_A_FILE, EMPTY_FILE, GIT_LFS_POINTER or UNREADABLE.
    """
    try:
        facts = path.stat()
    except OSError as error:  # no such file, a name that is too long, a folder that may not be entered
        raise Missing(Reason.ABSENT, _words(error)) from error
    if not stat.S_ISREG(facts.st_mode):
        raise Missing(Reason.NOT_A_FILE, path.name)
    if facts.st_size == 0:
        raise Missing(Reason.EMPTY_FILE, path.name)
    try:
        with path.open("rb") as stream:
            head = stream.read(len(LFS_POINTER))
    except OSError as error:
        raise Missing(Reason.UNREADABLE, _words(error)) from error
    if head == LFS_POINTER:
        raise Missing(Reason.GIT_LFS_POINTER, path.name)


def location(path: Path) -> str:
    """A file's name as FFmpeg must be given it, so that no character of it has a meaning."""
    return f"file:{path.absolute()}"


def probe(path: Path, limits: Limits) -> Probe:
    """Read the facts of a whole file.

    Raises:
        Missing: the file is no readable medium, or reading it ran past `limits.seconds`.
    """
    with _opened(path, limits) as container:
        return _with_times(container, _facts(container, np.empty(0)), limits, None, None)


def probe_stretches(path: Path, refs: Sequence[MediaRef], limits: Limits) -> tuple[Probe, Missing | None]:
    """Like `probe`, with the pictures of some stretches alone (and some around them), in one look at the file.

    Args:
        refs: stretches whose pictures are wanted; without any, no packet is read.

    Returns:
        the facts, and why the times of the pictures could not be read, if so.

    Raises:
        Missing: the file is no readable medium, or reading it ran past `limits.seconds`.
    """
    if not refs:
        with _opened(path, limits) as container:
            return _facts(container, np.empty(0)), None
    starts = [ref.start for ref in refs if ref.start is not None]
    start = min(starts) if len(starts) == len(refs) else None
    ends = [_end(ref, limits.duration) for ref in refs]
    fault = None
    with _opened(path, limits) as container:
        facts = _facts(container, np.empty(0))
        try:
            facts = _with_times(container, facts, limits, start, max(ends) - (start or 0.0))
        except av.error.FFmpegError as error:
            fault = Missing(Reason.UNREADABLE, _words(error))
        except Missing as missing:
            fault = missing
    return facts, fault


def _end(ref: MediaRef, longest: float) -> float:
    start = ref.start or 0.0
    return max(start, start + longest if ref.end is None else min(ref.end, start + longest))


def _with_times(
    container: Any, facts: Probe, limits: Limits, start: float | None, length: float | None
) -> Probe:
    stream = decodable(moving_pictures(container))
    if stream is None:
        return facts
    if start is not None and facts.seekable_to(start):
        container.seek(int((start - LEAD + facts.origin) * av.time_base))
    deadline = time.monotonic() + limits.seconds
    seen = list(_times(container, stream, facts.origin, deadline, start, length))
    return replace(
        facts,
        frame_times=np.unique(np.array([seconds for seconds, _ in seen], np.float64)),
        key_times=np.unique(np.array([seconds for seconds, alone in seen if alone], np.float64)),
    )


def _times(
    container: Any, stream: Any, origin: float, deadline: float, start: float | None, length: float | None
) -> Iterator[tuple[float, bool]]:
    """When the picture of each packet begins, and whether it is coded alone."""
    for packet in container.demux(stream):
        if time.monotonic() > deadline:
            raise Missing(Reason.TIMEOUT, "the list of packets was not read in time")
        if packet.pts is None or packet.is_discard or not packet.size:  # an empty one repeats a picture
            continue
        seconds = float(packet.pts * packet.time_base) - origin
        start = seconds if start is None else start
        if length is not None and seconds > start + length + REORDER:
            return
        yield seconds, packet.is_keyframe


def _facts(container: Any, times: NDArray[np.float64]) -> Probe:
    moving, sounds = moving_pictures(container), list(container.streams.audio)
    video, audio = decodable(moving), decodable(sounds)
    kinds = {"video": (moving, video), "audio": (sounds, audio)}
    return Probe(
        duration=None if container.duration is None else container.duration / av.time_base,
        frame_times=times,
        width=video.codec_context.width if video is not None else 0,
        height=video.codec_context.height if video is not None else 0,
        audio_rate=audio.codec_context.rate if audio is not None else None,
        audio_channels=audio.codec_context.channels if audio is not None else 0,
        origin=max(0.0, (container.start_time or 0) / av.time_base),
        indexed=not INDEXED.isdisjoint(container.format.name.split(",")),
        video_rank=moving.index(video) if video is not None else 0,
        audio_rank=sounds.index(audio) if audio is not None else 0,
        undecodable=frozenset(kind for kind, (some, one) in kinds.items() if some and one is None),
    )


def moving_pictures(container: Any) -> list[Any]:
    """The streams of moving pictures; cover art is none."""
    cover = av.stream.Disposition.attached_pic
    return [s for s in container.streams.video if not s.disposition & cover]


def decodable(streams: Sequence[Any]) -> Any:
    """The first stream that there is a decoder for, or None."""
    return next((s for s in streams if s.codec_context is not None), None)


@contextmanager
def _opened(path: Path, limits: Limits) -> Iterator[Any]:
    check_bytes(path)
    started = time.monotonic()
    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS, "fflags": "+genpts"}
    try:
        with av.open(
            location(path), container_options=options, metadata_errors="replace", timeout=limits.seconds
        ) as container:
            yield container
            # An interrupted read looks like the end of the file; a verdict on half a file would be final.
            if time.monotonic() - started > limits.seconds:
                raise Missing(Reason.TIMEOUT, "the file was not read in time")
    except av.error.FFmpegError as error:
        late = time.monotonic() - started > limits.seconds
        raise Missing(Reason.TIMEOUT if late else Reason.UNREADABLE, _words(error)) from error


def _words(error: BaseException) -> str:
    """What the system says, without the machine's paths."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
