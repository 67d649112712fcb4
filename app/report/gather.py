"""Read all files under `data/` that the report needs, and list the files that cannot be read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from app.report.extractors import ExtractorRecord, read_extractor
from app.report.paper_tables import PaperTables, read_tables
from app.report.runs import Run, read_run
from ercache.cache import ArraySpec, CacheFile, Entry, stated_digest
from ercache.errors import ErcacheError
from ercache.manifest import Manifest, read_manifest
from ercache.trained_extractors import EXTRACTORS, RECORD
from fusion.evaluation.row_result import FOLDER

T = TypeVar("T")


@dataclass(frozen=True)
class CacheIndex:
    """What a cache file says about its feature and its utterances, without the values of the feature.

    Attributes:
        path: path relative to the folder of the caches.
        digest: sha256 of the values. The file states it; it is not computed here.
        part: part of the corpus, such as train, dev or test.
        provenance: how the feature was computed.
        specs: name, shape and unit of each array.
        entries: for each utterance, whether it has the feature, and why not.
    """

    path: str
    digest: str
    corpus: str
    modality: str
    feature: str
    part: str
    provenance: dict[str, Any]
    specs: tuple[ArraySpec, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class ReportData:
    """Everything under the data folder that the report shows, in the order of file names.

    Attributes:
        unreadable: for each file that cannot be read, its path relative to the data folder, and why.
    """

    manifests: tuple[Manifest, ...]
    caches: tuple[CacheIndex, ...]
    runs: tuple[Run, ...]
    extractors: tuple[ExtractorRecord, ...]
    tables: tuple[PaperTables, ...]
    unreadable: tuple[tuple[str, str], ...]

    def manifest(self, corpus: str) -> Manifest | None:
        """Find the manifest of a corpus. None if no readable manifest has this corpus."""
        return next((m for m in self.manifests if m.corpus == corpus), None)

    def groups(self) -> dict[tuple[str, str, str, str], list[Run]]:
        """Group the runs that can be compared: same corpus, label set, split and task.

        Returns:
            A dictionary from these four values to runs. The run with the best validation score comes first.
        """
        groups: dict[tuple[str, str, str, str], list[Run]] = {}
        for run in sorted(self.runs, key=lambda r: (r.record.comparable, r.rank)):
            groups.setdefault(run.record.comparable, []).append(run)
        return groups


def gather(data: Path) -> ReportData:
    """Read all files in a data folder that the report shows: manifests, caches, runs, extractors, reproduced tables.

    Files that cannot be read are skipped and listed in `unreadable`.
    """
    unreadable: list[tuple[str, str]] = []
    read = _Reader(data, unreadable)
    manifests = read.each((data / "manifests").glob("*.jsonl"), read_manifest)
    caches = read.each((data / "caches").rglob("*.h5"), lambda path: read_cache(path, data / "caches"))
    runs = read.each((data / "models").glob("*/run.json"), lambda path: read_run(path.parent))
    extractors = read.each((data / EXTRACTORS).glob(f"*/{RECORD}"), lambda path: read_extractor(path.parent))
    tables = read.each((data / FOLDER).glob("*.json"), read_tables)
    return ReportData(
        tuple(manifests), tuple(caches), tuple(runs), tuple(extractors), tuple(tables), tuple(unreadable)
    )


def read_cache(path: Path, root: Path) -> CacheIndex:
    """Read from a cache file which utterances have the feature and how it was computed, but no values.

    Args:
        path: the file, `<root>/<corpus>/<modality>/<feature>.<part>.h5`.
        root: folder of the caches.
    """
    where = path.relative_to(root)
    feature, _, part = path.stem.rpartition(".")
    folders = where.parts[:-1]
    with CacheFile(path) as cache:
        return CacheIndex(
            path=where.as_posix(),
            digest=stated_digest(path),
            corpus=folders[0] if folders else str(cache.provenance.get("corpus", "")),
            modality=folders[1] if len(folders) > 1 else str(cache.provenance.get("modality", "")),
            feature=feature or path.stem,
            part=part if feature else str(cache.provenance.get("part", "")),
            provenance=cache.provenance,
            specs=tuple(cache.specs[name] for name in sorted(cache.specs)),
            entries=cache.entries,
        )


@dataclass(frozen=True)
class _Reader:
    data: Path
    unreadable: list[tuple[str, str]]

    def each(self, paths: Any, read: Callable[[Path], T]) -> list[T]:
        found: list[T] = []
        for path in sorted(paths):
            if any(part.startswith(".") for part in path.relative_to(self.data).parts):
                continue  # a file or a run folder that is being written
            try:
                found.append(read(path))
            except ErcacheError as error:
                self._note(path, error.message)
            except ValidationError as error:
                found_wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
                self._note(path, "; ".join(found_wrong))
            except (OSError, ValueError) as error:
                self._note(path, " ".join(str(error).split()))
        return found

    def _note(self, path: Path, sentence: str) -> None:
        where = path.relative_to(self.data).as_posix()
        self.unreadable.append((where, sentence.replace(str(path), where)))
