"""Convert checkpoint files of authors that ercache cannot load directly, usually pickles with classes, to safetensors.

A separate process reads the pickle. It runs `stub_unpickler` with limits on memory and time. It gets none of the
environment variables of this process, because they may hold secrets.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ercache.digests import digest_of_file
from ercache.errors import WeightsError
from ercache.files import atomic_file
from ercache.weights.folder import IngestRecord, folder_of, read_record, remedy, write_record
from ercache.weights.table import checkpoint

SECONDS: Final = 600  # time limit of a conversion


def convert(key: str, path: Path, make: Callable[[Path, Path], None] | None = None) -> Path:
    """Convert the published file of a checkpoint, and add the converted file to the weights folder.

    No code in a pickle is run.

    Args:
        key: key of the checkpoint.
        path: the file that the authors publish.
        make: function that converts the file, if it is not a pickle of tensors. It gets two paths: the published file
            and the file to write.

    Returns:
        Path of the converted file. The file `record.json` beside it holds the sha256 of the published file and of the
            converted file.

    Raises:
        WeightsError: the checkpoint needs no conversion, the file is absent or damaged or lacks the tensors, or the
            result differs from that of an earlier conversion.
    """
    row = checkpoint(key)
    if not row.published:
        raise WeightsError(
            f"checkpoint {key!r} needs no conversion, because ercache loads its published files",
            hint=remedy(row),
        )
    if not path.is_file():
        raise WeightsError(f"file of checkpoint {key!r} not found: {path}", hint=remedy(row))
    before, source = read_record(row), digest_of_file(path)
    target = folder_of(row) / row.files[0].name
    with atomic_file(target) as temporary:
        if make is None:
            _convert_in_subprocess(path, row.inside, temporary)
        else:
            make(path, temporary)
        digest = digest_of_file(temporary)
        known = before.sha256.get(target.name) or row.files[0].sha256
        if known and not digest.startswith(known):
            raise WeightsError(
                f"{path}: converting this file gives another file than the one that was added before",
                details=[f"sha256 expected {known}", f"sha256 found    {digest}"],
                hint=f"to replace the file that was added before, remove {target.parent} first",
            )
    write_record(row, IngestRecord(before.revision, {target.name: digest}, {path.name: source}))
    return target


def _convert_in_subprocess(path: Path, inside: str, target: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ercache.weights.stub_unpickler",
        str(path.resolve()),
        inside,
        str(target.resolve()),
    ]
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"{path}: the conversion took more than {SECONDS} s and was stopped; try again on an idle machine"
        ) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        try:
            failure = json.loads(lines[-1])
        except (IndexError, ValueError):
            failure = {
                "message": f"{path}: the conversion failed with exit code {done.returncode}",
                "details": lines[-3:],
                "hint": "",
            }
        raise WeightsError(failure["message"], details=failure["details"], hint=failure["hint"])
