"""Open media files with FFmpeg's libraries (PyAV) and translate FFmpeg's errors into reasons why a feature is missing.

If FFmpeg rejects the *data*, the file counts as unreadable for good. After a timeout, lack of memory, or any other
error (a disk, a library, a bug in ercache), the next run tries the file again.
"""

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import av
import av.logging

from ercache.params.schema import Limits
from ercache.reasons import Missing, Reason
from extract.media.files import check_openable, error_text, ffmpeg_url
from extract.media.unseen import without_picture_codecs

# Containers that hold their own media. Playlists, concat scripts, image sequences and network sessions name
# other files, so the demuxers that read them are never offered to a file of a corpus.
FORMATS: Final = (
    "mov,mp4,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo,m4v,dv,nut,"
    "wav,w64,mp3,flac,ogg,aac,amr,aiff,au,caf,nistsphere,ac3,eac3"
)
PROTOCOLS: Final = "file,pipe"
# Containers without a table of contents: a stream appears only where its first packet stands.
FORMATS_WITHOUT_INDEX: Final = frozenset({"mpegts", "mpeg", "flv"})
PROBE_BYTES: Final = 64 << 20  # how far into such a container late streams are searched
MIN_BYTES_PER_SECOND: Final = 20e6  # slowest disk expected; larger files get more time
WAV_PACKET_BYTES: Final = 1 << 14  # larger packets take FFmpeg longer to open
MAX_RETRIES: Final = 200  # attempts in a row without a packet before reading a container fails
MAX_LATE_PACKETS: Final = 20_000  # packets in a row that belong to late streams and are skipped
RETRY_PAUSE: Final = (
    0.01  # seconds before reading on when no packet is ready; the ffmpeg command waits the same
)
# Error numbers that mean that the system, not the file, is at fault.
_SYSTEM_ERRNOS: Final = frozenset(
    {errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EBADF, errno.ENODEV}
)
# First bytes of compressed sound that a wav file declares as plain samples: DTS (four variants) and IEC 61937.
_CODED_SOUND_MARKS: Final = (
    b"\x7f\xfe\x80\x01",
    b"\xfe\x7f\x01\x80",
    b"\x1f\xff\xe8\x00",
    b"\xff\x1f\x00\xe8",
    b"\x72\xf8\x1f\x4e",
)
_WAV_PROBE_BYTES: Final = 1 << 16  # bytes of a wav file that are searched for these marks


class Deadline:
    """Time limit for reading one file.

    Args:
        seconds: time allowed from now on, wall clock.
        tick: function that every `check` calls, for example to show that the process is alive.
    """

    def __init__(self, seconds: float, tick: Callable[[], None] = lambda: None) -> None:
        self.seconds, self._tick = seconds, tick
        self._deadline = time.monotonic() + seconds

    def extend(self, seconds: float) -> None:
        """Allow more time, in seconds, for a file that needs more work than usual."""
        self.seconds += seconds
        self._deadline += seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock during the `with` block, for example while the caller works on a clip that was read."""
        began = time.monotonic()
        yield
        self._deadline += time.monotonic() - began

    def check(self) -> None:
        """Check that time is left.

        Raises:
            Missing: the time is over (reason `TIMEOUT`).
        """
        with self.paused():
            self._tick()
        if time.monotonic() > self._deadline:
            raise Missing(Reason.TIMEOUT, f"the file was not read within {self.seconds:g} s")


class ErrorLog:
    """FFmpeg's last error messages about a file, for the reason that a failed clip gives.

    Attributes:
        ended_by: FFmpeg's message if it could not read the file to the end; empty otherwise.
    """

    def __init__(self) -> None:
        self.logs: list[tuple[int, str, str]] = []
        self.ended_by = ""

    def add(self, name: str, error: BaseException) -> None:
        """Add the message of an exception to the log, because FFmpeg itself logs only some of its errors.

        Args:
            name: where the error occurred, for example `demuxer`.
            error: the exception.
        """
        self.logs.append((av.logging.ERROR, name, error_text(error)))

    def __bool__(self) -> bool:
        return bool(self.logs)

    def trim(self) -> None:
        """Forget all but the last eight messages, because a damaged file of several hours produces millions."""
        del self.logs[:-8]

    def text(self) -> str:
        """Return up to three of the last messages in one line; empty when there are none."""
        messages = dict.fromkeys(f"{name}: {words.strip()}" for _, name, words in self.logs[-8:])
        return "; ".join(list(messages)[-3:])[:500]


@contextmanager
def open_media(
    path: Path, limits: Limits, tick: Callable[[], None] = lambda: None
) -> Iterator[tuple[Callable[[], Any], Deadline, ErrorLog]]:
    """Context manager for reading one media file: it limits the time, and turns errors into `Missing`.

    Yields:
        Three things: a function that opens the file (anew on each call, because not every file can be rewound); the
        time limit for the file; and FFmpeg's error log.

    Raises:
        Missing: the file is not a readable media file, or something failed inside the `with` block.
    """
    check_openable(path)
    deadline = Deadline(limits.seconds, tick)
    deadline.extend(path.stat().st_size / MIN_BYTES_PER_SECOND)
    error_log = ErrorLog()
    av.logging.set_level(av.logging.ERROR)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS, "fflags": "+genpts"}
    if _is_plain_wav(path):
        options["max_probe_packets"] = "1"  # saves the 4 ms that FFmpeg searches for compressed sound
        # By default a clip of 4 s has 60 packets, and each costs time here.
        options["max_size"] = str(WAV_PACKET_BYTES)
    with av.logging.Capture(True) as logs, errors_as_missing(deadline, error_log), ExitStack() as containers:
        error_log.logs = logs
        deadline.check()
        yield lambda: containers.enter_context(_open(path, options, deadline)), deadline, error_log
        # An interrupted read looks like the end of the file, but a result from half a file would count as final.
        deadline.check()


def _open(path: Path, options: dict[str, str], deadline: Deadline) -> Any:
    """Open a media file with FFmpeg, and read far enough to know the format of all its video and audio streams."""

    def opened(file: Any, every: dict[str, str]) -> Any:
        return av.open(file, container_options=every, metadata_errors="replace", timeout=deadline.seconds)

    def open_with(**more: str) -> Any:
        name, every = ffmpeg_url(path), options | more
        try:
            return opened(name, every)
        except av.error.InvalidDataError:
            sound_only = without_picture_codecs(path, name, deadline.check)
            if sound_only is None:
                raise
            return opened(sound_only, every)
        except av.error.FFmpegError as error:
            check_disk(path, error)
            raise

    container = open_with()
    if FORMATS_WITHOUT_INDEX.isdisjoint(container.format.name.split(",")) or all(
        any(is_known(stream) for stream in streams)
        for streams in (container.streams.video, container.streams.audio)
    ):
        return container
    container.close()
    deadline.check()
    return open_with(probesize=str(PROBE_BYTES), analyzeduration=str(1 << 40))


def is_known(stream: Any) -> bool:
    """Return whether FFmpeg has read enough of a stream to know its format."""
    context = stream.codec_context
    return context is not None and bool(context.width if stream.type == "video" else context.rate)


def is_discarded(stream: Any) -> bool:
    """Return whether FFmpeg leaves out a stream, because its damaged header would stop the reading of all streams."""
    return bool(stream.discard is av.stream.Discard.all)


def check_disk(path: Path, error: av.error.FFmpegError) -> None:
    """After FFmpeg's "input/output error", read the whole file to see whether the disk is broken.

    If this works, the file itself is incomplete, and nothing is raised. After any other error, nothing is done.

    Args:
        path: path of the file.
        error: FFmpeg's error.

    Raises:
        OSError: the file cannot be read, because the disk is broken.
    """
    if error.errno == errno.EIO:
        with path.open("rb") as stream:
            while stream.read(1 << 20):
                pass


@contextmanager
def errors_as_missing(deadline: Deadline | None = None, error_log: ErrorLog | None = None) -> Iterator[None]:
    """Turn any exception of the `with` block into a `Missing`, which says why a file could not be read.

    Args:
        deadline: time limit of the file; if it has passed, the reason is `TIMEOUT`. None sets no limit.
        error_log: FFmpeg's messages, which are added to the exception's own text; None adds none.

    Raises:
        Missing: in place of the original exception.
    """
    try:
        yield
    except Missing:
        raise
    except Exception as error:
        if deadline is not None:
            deadline.check()
        raise missing_from_error(error, error_log.text() if error_log else "") from error


def missing_from_error(error: BaseException, error_log: str = "") -> Missing:
    """Return a `Missing` for an exception: out of memory, timeout, unreadable data, or else the reason `FAULT`.

    Args:
        error: the exception.
        error_log: earlier messages of FFmpeg, which are added to the exception's own text; may be empty.
    """
    words = error_text(error) if not error_log else f"{error_text(error)} ({error_log})"
    if isinstance(error, MemoryError | av.error.MemoryError):
        return Missing(Reason.OUT_OF_MEMORY, words)
    if isinstance(error, av.error.ExitError):  # the deadline of an open file interrupted it
        return Missing(Reason.TIMEOUT, words)
    if is_data_error(error):
        return Missing(Reason.UNREADABLE, words)
    return Missing(Reason.FAULT, words)


def is_data_error(error: BaseException) -> bool:
    """Return whether an error is caused by the data of the file, not by the machine or by ercache.

    An "input/output error" counts as caused by the data. So call `check_disk` first, which finds a broken disk.
    """
    return isinstance(error, av.error.FFmpegError) and error.errno not in _SYSTEM_ERRNOS


def demuxed(container: Any, streams: Sequence[Any], deadline: Deadline, error_log: ErrorLog) -> Iterator[Any]:
    """Yield the non-empty packets of some streams, in the order of the file.

    Damaged files are read as the ffmpeg command reads them:

    - When no packet is ready, reading is tried again.
    - A stream that appears only after the streams were chosen is skipped.
    - If the damaged header of one stream stops FFmpeg, the other streams are read without this one.
    - If FFmpeg cannot read the rest of the file, the packets end here. Its message is put into `error_log.ended_by`.

    Args:
        container: the open file.
        streams: the streams whose packets are wanted.
        deadline: time limit for the file.
        error_log: FFmpeg's error messages.

    Raises:
        Missing: reading took too long (reason `TIMEOUT`).
    """
    numbers = {stream.index for stream in streams}
    tries = late = 0
    while True:
        try:
            for packet in container.demux(*streams):
                deadline.check()
                error_log.trim()
                tries = late = 0
                if packet.size and packet.stream_index in numbers:
                    yield packet
            return
        except IndexError:  # PyAV raises it for a packet of a stream that appeared meanwhile
            deadline.check()
            late += 1
            if late == MAX_LATE_PACKETS:
                raise
        except BlockingIOError:
            deadline.check()
            tries += 1
            if tries == MAX_RETRIES:
                raise
            time.sleep(RETRY_PAUSE)
        except av.error.FFmpegError as error:
            if not is_data_error(error):
                raise
            check_disk(Path(container.name.removeprefix("file:")), error)
            error_log.add("demuxer", error)
            if _discard_unknown(streams):
                continue
            error_log.ended_by = error_log.text()
            return


def _discard_unknown(streams: Sequence[Any]) -> bool:
    """Make FFmpeg leave out the streams whose format it does not know, but not if this would be all streams.

    Returns:
        Whether a stream was left out.
    """
    unknown = [s for s in streams if not (is_known(s) or is_discarded(s))]
    if len(unknown) == len(streams):
        return False
    for stream in unknown:
        stream.discard = av.stream.Discard.all
    return bool(unknown)


def _is_plain_wav(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(_WAV_PROBE_BYTES)
    return (
        head[:4] == b"RIFF" and head[8:12] == b"WAVE" and not any(mark in head for mark in _CODED_SOUND_MARKS)
    )
