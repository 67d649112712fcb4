"""From what authors publish to the file that is used here: from a pickle with classes to safetensors, as a rule.

That happens in a process of its own that knows no secrets: it runs `inert` on the pickle, under a limit of memory and
time, and sees nothing of this one's environment.
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

SECONDS: Final = 600


def convert(key: str, path: Path, make: Callable[[Path, Path], None] | None = None) -> Path:
    """Turn the published file of a checkpoint into the one used here and take it in; a pickle is never executed.

    Args:
        make: writes the second file from the first, where that is no pickle of tensors.

    Returns:
        The file that is used; the record beside it has the sha256 of both.

    Raises:
        WeightsError: this checkpoint needs no conversion, or the file is absent, damaged, without what is wanted,
            or gives something else than an earlier conversion did.
    """
    row = checkpoint(key)
    if not row.published:
        raise WeightsError(f"checkpoint {key!r} needs no conversion", hint=remedy(row))
    if not path.is_file():
        raise WeightsError(f"{path}: no such file", hint=remedy(row))
    before, source = read_record(row), digest_of_file(path)
    target = folder_of(row) / row.files[0].name
    with atomic_file(target) as temporary:
        if make is None:
            _in_own_process(path, row.inside, temporary)
        else:
            make(path, temporary)
        digest = digest_of_file(temporary)
        known = before.sha256.get(target.name) or row.files[0].sha256
        if known and not digest.startswith(known):
            raise WeightsError(
                f"{path}: gives something else than was first taken in",
                details=[f"sha256 expected {known}", f"sha256 found    {digest}"],
                hint=f"if that is meant, remove {target.parent} first",
            )
    write_record(row, IngestRecord(before.revision, {target.name: digest}, {path.name: source}))
    return target


def _in_own_process(path: Path, inside: str, target: Path) -> None:
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
        raise WeightsError(f"{path}: its conversion took more than {SECONDS} s and was ended") from error
    if done.returncode:
        told = done.stderr.strip().splitlines()
        try:
            finding = json.loads(told[-1])
        except (IndexError, ValueError):
            finding = {
                "message": f"{path}: its conversion ended with {done.returncode}",
                "details": told[-3:],
                "hint": "",
            }
        raise WeightsError(finding["message"], details=finding["details"], hint=finding["hint"])
