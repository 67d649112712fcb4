"""Check whether a folder holds the corpus from which a manifest was made, even if the folder has moved."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ercache.digests import digest_of_file
from ercache.manifest import Manifest, MediaRef
from ercache.reasons import Missing
from extract.corpora.common.listing import list_some
from extract.media.files import check_file

COMPARED = 20  # media files that are compared to recognise a folder


def origin_differences(manifest: Manifest, root: Path) -> list[str]:
    """Return the reasons why a folder does not hold the corpus of a manifest; empty if it does.

    Reasons are changed annotation or absent media files. The folder may have moved. The content of media files is not
    compared here: extraction compares each file that it reads.
    """
    now = {path: _digest(root, path) for path in manifest.sources}
    changed = [path for path, digest in now.items() if digest not in (None, manifest.sources[path])]
    if changed:
        return [f"{list_some(changed)}: not as when it was scanned"]
    media = {
        ref.path: ref.sha256 for u in manifest.utterances for ref in (u.video, u.audio) if ref and ref.sha256
    }
    here = next((path for path in media if (root / path).is_file()), None)
    if media and here is None:
        return [f"none of its {len(media):,} media files is there ({list_some(media, 2)})"]
    removed = [path for path, digest in now.items() if digest is None]
    if now and len(removed) == len(now) and (here is None or _digest(root, here) != media[here]):
        return [f"{list_some(removed)}: not there"]
    return []


def shares_files(manifest: Manifest, root: Path) -> bool:
    """Return whether a folder holds an annotation file, or one of the first media files, of a manifest, unchanged.

    If the manifest was made from no file at all, this is true.
    """
    media = {r.path: r.sha256 for u in manifest.utterances for r in (u.video, u.audio) if r and r.sha256}
    files = {**manifest.sources, **dict(list(media.items())[:COMPARED])}
    return not files or any(_digest(root, path) == digest for path, digest in files.items())


def annotation_changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Describe how the annotation files have changed since a scan, one phrase for each kind of change."""
    new, removed = now.keys() - before.keys(), before.keys() - now.keys()
    changed = [path for path in before.keys() & now.keys() if before[path] != now[path]]
    for paths, what in ((changed, "changed"), (new, "new"), (removed, "gone")):
        if paths:
            yield f"{what}: {list_some(sorted(paths), 3)}"


def _digest(root: Path, path: str) -> str | None:
    try:
        return digest_of_file(check_file(root, MediaRef(path)))
    except (Missing, OSError):  # a file that cannot be read is not the file that was scanned
        return None
