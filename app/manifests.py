"""What the commands do with manifests: scan a corpus, save its manifest, print warnings, check the media folder."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from app.console import MANIFESTS, progress, say
from app.corpora import ChosenCorpus, corpus_entry, corpus_switches, known_corpora
from ercache.cache import Status
from ercache.errors import CorpusError, UsageError, WorkError
from ercache.manifest import Manifest, Problem, Utterance, read_manifest, write_manifest
from ercache.params.own_corpora import FOLDER
from ercache.params.roots import corpus_root
from ercache.params.schema import Params
from ercache.reasons import Reason
from extract.corpora import CORPORA
from extract.corpora.common.listing import list_some
from extract.corpora.common.origin import annotation_changes, origin_differences, shares_files

WARN_SHARE = 0.1  # share of unusable clips above which a scan prints a warning
SHOWN_DETAILS = 3  # details per reason in the table
# Reasons for which a whole file is unusable, unlike the lack of one stream.
NO_FILE = frozenset(
    r.value
    for r in (
        Reason.ABSENT,
        Reason.EMPTY_FILE,
        Reason.GIT_LFS_POINTER,
        Reason.NOT_A_FILE,
        Reason.OUTSIDE_ROOT,
        Reason.UNREADABLE,
    )
)


def scan_corpus(corpus: str, root: Path, loaded: Params) -> Manifest:
    """Scan a corpus: read its annotation, check its media files, and show progress.

    Args:
        corpus: name of the corpus.
        root: folder with the annotation and media files of the corpus.
        loaded: contents of params.yaml.

    Returns:
        The manifest. It is not written to a file yet.
    """
    entry = corpus_entry(corpus, loaded)
    switches = entry.Switches(**corpus_switches(corpus, loaded))
    with progress() as tick:
        manifest = entry.scan(root, switches, lambda done, total: tick("files", done, total))
    return manifest if manifest.corpus == corpus else replace(manifest, corpus=corpus)


def check_not_another_folder(chosen: ChosenCorpus, path: Path) -> None:
    """Check that scanning a folder does not replace the manifest of another folder with the same name.

    If the user gave the name with `--name`, nothing is checked: the manifest may be replaced.

    Args:
        chosen: the corpus to scan.
        path: the manifest file that the scan would replace.

    Raises:
        UsageError: the manifest names none of the files in the folder.
    """
    if chosen.root is None or chosen.named or not path.is_file():
        return
    try:
        same = shares_files(read_manifest(path), chosen.root)
    except CorpusError:  # told when it is replaced
        return
    if not same:
        raise UsageError(
            f"{path} is the manifest of another folder that is also called {chosen.name}",
            hint=f"name this one with --name; `--name {chosen.name}` replaces the other one",
        )


def save_manifest(manifest: Manifest, root: Path, path: Path) -> None:
    """Write a manifest. Print warnings if many clips are absent, or if the old manifest was made from other files.

    Args:
        manifest: the manifest.
        root: folder with the media files of the corpus.
        path: the manifest file to write.

    Raises:
        WorkError: no clip is usable. Nothing is written.
    """
    warn_of_absent_clips(manifest, root)
    if path.is_file():
        _warn_of_replacement(manifest, path)
    write_manifest(manifest, path)


def warn_of_absent_clips(manifest: Manifest, root: Path) -> None:
    """Print a warning if at least a tenth of the clips of a scanned corpus are unusable.

    Raises:
        WorkError: no clip is usable, or the manifest has no utterance.
    """
    placed = {u.id: _paths(u) for u in manifest.utterances if u.video or u.audio}
    lacking: dict[str, list[Problem]] = defaultdict(list)
    for problem in manifest.problems:
        if problem.utterance in placed and problem.reason in NO_FILE:
            lacking[problem.utterance].append(problem)
    if manifest.utterances and len(lacking) < max(1, WARN_SHARE * len(placed)):
        return
    count = Counter(reason for problems in lacking.values() for reason in {p.reason for p in problems})
    how = (
        "absent"
        if set(count) == {"absent"}
        else list_some(f"{reason} ({n:,})" for reason, n in count.items())
    )
    summary = f"{len(lacking):,} of {len(placed):,} clips are {how}"
    hint = f"check that --root {root} is the right folder"
    hint += " and that paths in the table are relative to it" if _is_own(manifest.corpus) else ""
    where = [p.detail for p in manifest.problems if p.reason == "other_place"]
    if not manifest.utterances:
        raise WorkError(f"{manifest.corpus}: the scan found no utterance; nothing was written", hint=hint)
    if all(len(lacking[name]) >= len(paths) for name, paths in placed.items()):
        first = [p.detail for problems in lacking.values() for p in problems][:SHOWN_DETAILS]
        raise WorkError(
            f"{manifest.corpus}: no clip is usable ({summary}); nothing was written",
            details=where or first,
            hint=hint,
        )
    say(f"warning: {summary}; {hint}")
    for line in where:
        say(f"  - {line}")


def _is_own(corpus: str) -> bool:
    return corpus == FOLDER or corpus not in CORPORA


def _paths(u: Utterance) -> set[str]:
    return {ref.path for ref in (u.video, u.audio) if ref is not None}


def _warn_of_replacement(manifest: Manifest, path: Path) -> None:
    try:
        old = read_manifest(path)
    except CorpusError as error:
        say(f"warning: {path} is replaced: {error.message}")
        return
    ids = {u.id for u in old.utterances} & {u.id for u in manifest.utterances}
    changed = list_some(annotation_changes(old.sources, manifest.sources))
    if not changed and ids:
        return
    say(
        f"warning: {path} was made from other files ({changed or 'other media'}). Its {len(old.utterances):,} "
        f"utterances are replaced by {len(manifest.utterances):,}, {len(ids):,} of them with the same ids"
    )


def load_or_scan(corpus: str, root: Path | None, loaded: Params) -> Manifest:
    """Read the manifest of a corpus. If there is none, scan the corpus first.

    Raises:
        CorpusError: the manifest is damaged or belongs to another corpus.
    """
    path = MANIFESTS / f"{corpus}.jsonl"
    if not path.is_file():
        corpus_entry(
            corpus, loaded
        )  # a corpus that cannot be scanned is reported before its folder is looked up
        folder = corpus_root(corpus, loaded, root)
        say(f"no manifest yet: scanning {corpus} into {path}")
        save_manifest(scan_corpus(corpus, folder, loaded), folder, path)
    manifest = read_manifest(path)
    if manifest.corpus != corpus:
        raise CorpusError(
            f"{path} is the manifest of corpus {manifest.corpus!r}, not of {corpus!r}",
            hint=f"run `ercache scan {corpus}`",
        )
    return manifest


def checked_root(manifest: Manifest, root: Path | None, loaded: Params) -> Path:
    """Find the media folder of a corpus, and check that it holds the files that were scanned.

    Args:
        manifest: manifest of the corpus.
        root: value of the option `--root`; None if it was not given.
        loaded: contents of params.yaml.

    Raises:
        UsageError: neither the option --root, the environment nor params.yaml names a media folder.
        CorpusError: the files in the folder differ from the scanned ones.
    """
    folder = corpus_root(manifest.corpus, loaded, root)
    found = origin_differences(manifest, folder)
    if found:
        path = MANIFESTS / f"{manifest.corpus}.jsonl"
        raise CorpusError(
            f"{folder} differs from the folder that was scanned for {path}",
            details=found,
            hint=f"to use this folder, replace the manifest: `{_scan_command(manifest.corpus, folder, loaded)}`",
        )
    return folder


def _scan_command(corpus: str, root: Path, loaded: Params) -> str:
    if corpus in known_corpora(loaded):
        return f"ercache scan {corpus} --root {root}"
    return f"ercache scan {root} --name {corpus}"


def manifest_and_root(
    corpus: str, root: Path | None, loaded: Params, media: bool
) -> tuple[Manifest, Path | None]:
    """Read the manifest of a corpus (scan the corpus if it has none), and find the folder of its media.

    Args:
        corpus: name of the corpus.
        root: value of the option `--root`; None if it was not given.
        loaded: contents of params.yaml.
        media: whether media are needed.

    Returns:
        Two values: the manifest, and the media folder. The folder is None if media are not needed and `root` is None.
    """
    manifest = load_or_scan(corpus, root, loaded)
    return manifest, checked_root(manifest, root, loaded) if media or root else None


def problem_rows(problems: Sequence[Problem]) -> list[tuple[str, str, str, str]]:
    """Summarise the problems that a scan found: one table row for each status and reason.

    Each row has status, reason, number of utterances, and details of the first problems. Problems that make
    utterances or media unusable come first.
    """
    order = [Status.MISSING.value, Status.UNAVAILABLE.value]
    grouped: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for problem in problems:
        grouped[problem.status, problem.reason].append(problem)
    rows = []
    for (status, reason), found in sorted(
        grouped.items(), key=lambda item: (item[0][0] not in order, item[0])
    ):
        named = {p.utterance for p in found} - {
            None
        }  # one may stand there for its pictures and for its sound
        number = len(named) + sum(p.count or 0 for p in found)
        more = [f"and {len(found) - SHOWN_DETAILS:,} more"] if len(found) > SHOWN_DETAILS else []
        details = "\n".join([*map(_detail, found[:SHOWN_DETAILS]), *more])
        rows.append((status, reason, f"{number:,}" if number else "", details))
    return rows


def _detail(problem: Problem) -> str:
    whose = problem.utterance
    return f"{whose}: {problem.detail}" if whose and problem.detail else whose or problem.detail
