"""Whether a folder holds the corpus that a manifest was made from; where it lies does not matter."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ercache.digests import digest_of_file
from ercache.manifest import Manifest, MediaRef
from ercache.reasons import Missing
from extract.corpora.common.listing import some
from extract.media.files import check_file


def differences(manifest: Manifest, root: Path) -> list[str]:
    """What speaks against a root being that of a manifest: other annotation, or nothing of it there; none if it is.

    A corpus may have moved, and its media may have changed since: extraction compares each file that it reads.
    """
    now = {path: _digest(root, path) for path in manifest.sources}
    other = [path for path, digest in now.items() if digest not in (None, manifest.sources[path])]
    if other:
        return [f"{some(other)}: not as when it was scanned"]
    media = {
        ref.path: ref.sha256 for u in manifest.utterances for ref in (u.video, u.audio) if ref and ref.sha256
    }
    here = next((path for path in media if (root / path).is_file()), None)
    if media and here is None:
        return [f"none of its {len(media):,} media files is there ({some(media, 2)})"]
    gone = [path for path, digest in now.items() if digest is None]
    if now and len(gone) == len(now) and (here is None or _digest(root, here) != media[here]):
        return [f"{some(gone)}: not there"]
    return []


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """What has become of the annotation since a scan, one phrase for each kind of change."""
    new, gone = now.keys() - before.keys(), before.keys() - now.keys()
    other = [path for path in before.keys() & now.keys() if before[path] != now[path]]
    for paths, what in ((other, "changed"), (new, "new"), (gone, "gone")):
        if paths:
            yield f"{what}: {some(sorted(paths), 3)}"


def _digest(root: Path, path: str) -> str | None:
    try:
        return digest_of_file(check_file(root, MediaRef(path)))
    except (Missing, OSError):  # whatever keeps it from being read, it is not the file that was scanned
        return None
