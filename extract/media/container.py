"""Opening media files with FFmpeg's libraries (PyAV), and what their errors mean.

Three kinds of error are told apart. What FFmpeg says of the *data* is final: the file is unreadable. Time that ran out,
memory that ran out and everything else (a disk, a library, a fault of ours) is tried again by the next run.
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
from extract.media.files import check_bytes, location, words_of

# Containers that hold their own media. Playlists, concat scripts, image sequences and network sessions name
# other files, so the demuxers that read them are never offered to a file of a corpus.
FORMATS: Final = (
    "mov,mp4,matroska,webm,avi,flv,asf,mpeg,mpegts,mpegvideo,m4v,dv,nut,"
    "wav,w64,mp3,flac,ogg,aac,amr,aiff,au,caf,nistsphere,ac3,eac3"
)
PROTOCOLS: Final = "file,pipe"
# Those without a table of contents: what streams there are shows where each begins.
NO_CONTENTS: Final = frozenset({"mpegts", "mpeg", "flv"})
LOOK: Final = 64 << 20  # bytes of these in which a stream that begins late is looked for
SLOWEST: Final = 20e6  # bytes a second at which any disk reads a file; larger files are given more time
TRIES: Final = 200  # without a packet between them, before a demuxer is given up
LATE: Final = 20_000  # packets of such streams in a row that are passed over
PAUSE: Final = 0.01  # seconds before a demuxer that has nothing yet is asked again, as FFmpeg's command does
# What a system says when it, and not the file, is at fault.
_OURS: Final = frozenset({errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EBADF, errno.ENODEV})
# First bytes of sound that is coded, although a wav file calls it samples: DTS (four ways) and IEC 61937.
_CODED: Final = (
    b"\x7f\xfe\x80\x01",
    b"\xfe\x7f\x01\x80",
    b"\x1f\xff\xe8\x00",
    b"\xff\x1f\x00\xe8",
    b"\x72\xf8\x1f\x4e",
)
_LOOK: Final = 1 << 16  # bytes of a wav file in which these are looked for


class Clock:
    """The time that is left for a file.

    Args:
        seconds: wall clock from now on.
        tick: called at each look at the clock.
    """

    def __init__(self, seconds: float, tick: Callable[[], None] = lambda: None) -> None:
        self.seconds, self._tick = seconds, tick
        self._deadline = time.monotonic() + seconds

    def extend(self, seconds: float) -> None:
        """Give more time, because there is more to do than a usual file asks for."""
        self.seconds += seconds
        self._deadline += seconds

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The time that a block takes does not count: whoever uses what was read may take his own."""
        began = time.monotonic()
        yield
        self._deadline += time.monotonic() - began

    def check(self) -> None:
        """See that there is time left.

        Raises:
            Missing: TIMEOUT.
        """
        with self.stopped():
            self._tick()
        if time.monotonic() > self._deadline:
            raise Missing(Reason.TIMEOUT, f"the file was not read within {self.seconds:g} s")


class Complaints:
    """What FFmpeg says of a file while it is open: its last errors, without addresses.

    Attributes:
        ended_by: what it said when it could not go on before the end of the file; empty while it can.
    """

    def __init__(self) -> None:
        self.logs: list[tuple[int, str, str]] = []
        self.ended_by = ""

    def add(self, name: str, error: BaseException) -> None:
        """Note an error that was raised rather than told."""
        self.logs.append((av.logging.ERROR, name, words_of(error)))

    def __bool__(self) -> bool:
        return bool(self.logs)

    def trim(self) -> None:
        """Keep the last ones only: a damaged file of hours has millions."""
        del self.logs[:-8]

    def text(self) -> str:
        """The last complaints in one line; empty when there are none."""
        told = dict.fromkeys(f"{name}: {words.strip()}" for _, name, words in self.logs[-8:])
        return "; ".join(list(told)[-3:])[:500]


@contextmanager
def opened(
    path: Path, limits: Limits, tick: Callable[[], None] = lambda: None
) -> Iterator[tuple[Callable[[], Any], Clock, Complaints]]:
    """What opens a file's container (anew each time: not every file can be sought), the clock that runs for it,
    and FFmpeg's complaints.

    Raises:
        Missing: it is no readable medium, or what went wrong in the block.
    """
    check_bytes(path)
    clock = Clock(limits.seconds, tick)
    clock.extend(path.stat().st_size / SLOWEST)
    complaints = Complaints()
    av.logging.set_level(av.logging.ERROR)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": PROTOCOLS, "fflags": "+genpts"}
    if _is_plain_wav(path):
        options["max_probe_packets"] = "1"  # FFmpeg looks for coded sound in it for 4 ms
    with av.logging.Capture(True) as logs, naming_faults(clock, complaints), ExitStack() as containers:
        complaints.logs = logs
        clock.check()
        yield lambda: containers.enter_context(_open(path, options, clock)), clock, complaints
        # An interrupted read looks like the end of the file; a verdict on half a file would be final.
        clock.check()


def _open(path: Path, options: dict[str, str], clock: Clock) -> Any:
    """A container, looked into far enough to know its streams."""

    def look(**more: str) -> Any:
        name, every = location(path), options | more
        try:
            return av.open(name, container_options=every, metadata_errors="replace", timeout=clock.seconds)
        except av.error.FFmpegError as error:
            check_disk(path, error)
            raise

    container = look()
    if NO_CONTENTS.isdisjoint(container.format.name.split(",")) or all(
        any(is_known(stream) for stream in streams)
        for streams in (container.streams.video, container.streams.audio)
    ):
        return container
    container.close()
    clock.check()
    return look(probesize=str(LOOK), analyzeduration=str(1 << 40))


def is_known(stream: Any) -> bool:
    """Whether FFmpeg has seen enough of a stream to say what it is."""
    context = stream.codec_context
    return context is not None and bool(context.width if stream.type == "video" else context.rate)


def check_disk(path: Path, error: av.error.FFmpegError) -> None:
    """FFmpeg says "input/output error" of a file that ends early as well as of a broken disk: read it to the end.

    Raises:
        OSError: the disk's own.
    """
    if error.errno == errno.EIO:
        with path.open("rb") as stream:
            while stream.read(1 << 20):
                pass


@contextmanager
def naming_faults(clock: Clock | None = None, complaints: Complaints | None = None) -> Iterator[None]:
    """Turn whatever goes wrong in a block into a reason.

    Raises:
        Missing: always instead of any other exception.
    """
    try:
        yield
    except Missing:
        raise
    except Exception as error:
        if clock is not None:
            clock.check()
        raise fault_of(error, complaints.text() if complaints else "") from error


def fault_of(error: BaseException, complaints: str = "") -> Missing:
    """The reason that an exception of a library stands for.

    Args:
        complaints: what the tool said before, put behind the error's own words.
    """
    words = words_of(error) if not complaints else f"{words_of(error)} ({complaints})"
    if isinstance(error, MemoryError | av.error.MemoryError):
        return Missing(Reason.OUT_OF_MEMORY, words)
    if isinstance(error, av.error.ExitError):  # the clock of an open file interrupted it
        return Missing(Reason.TIMEOUT, words)
    if is_verdict(error):
        return Missing(Reason.UNREADABLE, words)
    return Missing(Reason.FAULT, words)


def is_verdict(error: BaseException) -> bool:
    """Whether an error is what FFmpeg says of the data, rather than of the machine or of us.

    Its "input/output error" is one of the data once `check_disk` has found the disk to be sound.
    """
    return isinstance(error, av.error.FFmpegError) and error.errno not in _OURS


def demuxed(container: Any, streams: Sequence[Any], clock: Clock, complaints: Complaints) -> Iterator[Any]:
    """The packets of some streams that hold anything, in the order of the file.

    A demuxer that asks for another try gets it, and a stream that begins late, which nobody could foresee, is passed
    over: both as FFmpeg's command does. What FFmpeg cannot demux ends the packets as the end of the file does.

    Raises:
        Missing: TIMEOUT.
    """
    numbers = {stream.index for stream in streams}
    tries = late = 0
    while True:
        try:
            for packet in container.demux(*streams):
                clock.check()
                complaints.trim()
                tries = late = 0
                if packet.size and packet.stream_index in numbers:
                    yield packet
            return
        except IndexError:  # PyAV, of a packet of a stream that appeared meanwhile
            clock.check()
            late += 1
            if late == LATE:
                raise
        except BlockingIOError:
            clock.check()
            tries += 1
            if tries == TRIES:
                raise
            time.sleep(PAUSE)
        except av.error.FFmpegError as error:
            if not is_verdict(error):
                raise
            check_disk(Path(container.name.removeprefix("file:")), error)
            complaints.add("demuxer", error)
            complaints.ended_by = complaints.text()
            return


def _is_plain_wav(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(_LOOK)
    return head[:4] == b"RIFF" and head[8:12] == b"WAVE" and not any(mark in head for mark in _CODED)
