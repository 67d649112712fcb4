"""Reading a file of a corpus, if it is still the one that was scanned."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ercache.digests import digest_of_file
from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Missing, Reason
from extract.media.clip import Clip, Stretch, nothing, read_clips
from extract.media.container import fault_of
from extract.media.files import check_file


@dataclass(frozen=True)
class Request:
    """A file of a corpus and what is wanted of it.

    Attributes:
        root: of the corpus.
        path: below the root.
        sha256: what the scan found; None skips the comparison, for files that no manifest names.
    """

    root: Path
    path: str
    sha256: str | None
    stretches: tuple[Stretch, ...]
    limits: Limits


Read = Callable[[Request, Callable[[], None]], Iterator[tuple[int, Clip]]]


def read_scanned(request: Request, tick: Callable[[], None] = lambda: None) -> Iterator[tuple[int, Clip]]:
    """Number and clip of each stretch, as soon as it is read; every fault, ours too, is a result.

    Args:
        tick: called again and again while the file is read.
    """
    left = dict(enumerate(request.stretches))
    try:
        path = scanned_file(request.root, MediaRef(request.path, sha256=request.sha256))
        for number, clip in read_clips(path, request.stretches, request.limits, tick):
            del left[number]
            yield number, clip
    except Missing as missing:
        fault = missing
    except Exception as error:  # whatever a library does with one file concerns that file
        fault = fault_of(error)
    for number, stretch in left.items():
        yield number, nothing(stretch, fault)


def scanned_file(root: Path, ref: MediaRef) -> Path:
    """The file that the scan saw; if it is not there any more, that is a fault of this run, not of the data.

    Raises:
        Missing: with `CHANGED`, which is tried again.
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
    """Digest of a file, taken once for the shards that read it one after the other."""
    return digest_of_file(path)
