"""Read a file of a corpus, provided that it is still the file that was scanned."""

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
        path: path of the file below the root.
        sha256: digest that the scan found; None skips the comparison, for files that no manifest names.
        spans: the spans to read.
        limits: limits for reading one file.
    """

    root: Path
    path: str
    sha256: str | None
    spans: tuple[Span, ...]
    limits: Limits


ReadFunction = Callable[[ReadRequest, Callable[[], None]], Iterator[tuple[int, Clip]]]


def read_scanned(request: ReadRequest, tick: Callable[[], None] = lambda: None) -> Iterator[tuple[int, Clip]]:
    """Yield (number, clip) of each span as soon as it is read. Every error becomes a result, also errors of ercache.

    Args:
        tick: called repeatedly while the file is read.
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
    """Return the path of a file after checking that it is the one that was scanned.

    A file that has changed or disappeared is a fault of this run, not of the data.

    Raises:
        Missing: with `CHANGED`, which the next run tries again, or with the reason that the scan found as well
            (an empty file, a Git LFS pointer).
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
        raise Missing(Reason.CHANGED, "its sha256 is not the one in the manifest")
    return path


@functools.lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> str:
    """Digest of a file, computed once for all shards that read it one after the other."""
    return digest_of_file(path)
