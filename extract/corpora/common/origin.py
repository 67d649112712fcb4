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
    """Return messages that say why a folder does not hold the corpus of a manifest; an empty list if it does.

    The messages name annotation files that have changed, or files of which none is there. Where the folder lies does
    not matter. Changed media files are found later, when features are extracted from them.
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
    """Return whether a folder holds at least one file of a manifest, with unchanged content.

    Annotation files and the first media files are compared. The result is true if the manifest lists no file at all.
    """
    media = {r.path: r.sha256 for u in manifest.utterances for r in (u.video, u.audio) if r and r.sha256}
    files = {**manifest.sources, **dict(list(media.items())[:COMPARED])}
    return not files or any(_digest(root, path) == digest for path, digest in files.items())


def annotation_changes(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """Describe how the annotation files have changed since a scan.

    Args:
        before: path -> digest at the time of the scan.
        now: path -> digest at present.

    Returns:
        Up to three phrases, one for each kind of change, for example `new: labels.csv`.
    """
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
