"""Read a media file of a corpus, after checking that it has not changed since `ercache scan` recorded its digest."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ercache.digests import digest_of_file
from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Missing, Reason
from extract.media.clip import Clip, Span, failed_clip, read_clips
from extract.media.container import missing_from_error
from extract.media.files import check_file


@dataclass(frozen=True)
class ReadRequest:
    """A file of a corpus and what to read from it.

    Attributes:
        root: folder of the corpus.
        path: path of the file relative to the root.
        sha256: digest of the file at the time of the scan; None skips the comparison, for files that no manifest names.
        spans: the time spans to read.
        limits: limits for reading one file.
    """

    root: Path
    path: str
    sha256: str | None
    spans: tuple[Span, ...]
    limits: Limits


ReadFunction = Callable[[ReadRequest, Callable[[], None]], Iterator[tuple[int, Clip]]]


def read_scanned(request: ReadRequest, tick: Callable[[], None] = lambda: None) -> Iterator[tuple[int, Clip]]:
    """Yield (index of the span, clip) for each time span, as soon as it is read.

    No error is raised: a span that cannot be read gives a clip that says why, even after an error in ercache itself.

    Args:
        request: the file and the spans.
        tick: function that is called often while the file is read, for example to show that the process is alive.
    """
    left = dict(enumerate(request.spans))
    try:
        path = scanned_file(request.root, MediaRef(request.path, sha256=request.sha256))
        for number, clip in read_clips(path, request.spans, request.limits, tick):
            del left[number]
            yield number, clip
    except Missing as missing:
        fault = missing
    except Exception as error:  # an unexpected error of a library concerns this file alone
        fault = missing_from_error(error)
    for number, span in left.items():
        yield number, failed_clip(span, fault)


def scanned_file(root: Path, ref: MediaRef) -> Path:
    """Return the path of a media file after checking that its content has not changed since the corpus was scanned.

    Args:
        root: folder of the corpus.
        ref: the file: its path relative to the root, and its sha256 digest at the time of the scan.

    Raises:
        Missing: the file has changed or disappeared since the scan (reason `CHANGED`, so the next run tries it again),
            or it has a problem that the scan found as well (an empty file, a Git LFS pointer).
    """
    try:
        path = check_file(root, ref)
        facts = path.stat()
        same = (
            ref.sha256 is None or _digest(path, facts.st_size, facts.st_mtime_ns, facts.st_ino) == ref.sha256
        )
    except Missing as missing:
        if missing.reason in (Reason.EMPTY_FILE, Reason.GIT_LFS_POINTER):
            same = ref.sha256 is None or digest_of_file(root / ref.path) == ref.sha256
            if same:
                raise
        raise Missing(Reason.CHANGED, f"{missing.reason.value}: {missing.detail}") from missing
    except OSError as error:
        raise Missing(Reason.CHANGED, error.strerror or type(error).__name__) from error
    if not same:
        raise Missing(Reason.CHANGED, "the file's sha256 differs from that in the manifest")
    return path


@functools.lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> str:
    """Return the sha256 digest of a file. Reading the same file several times in a row computes it only once."""
    return digest_of_file(path)
