"""A place where numba may keep what it compiles for librosa; without one, librosa cannot even be imported.

Numba looks in NUMBA_CACHE_DIR, then beside librosa's files; in a shared or read-only installation neither may be
writable, and then in a home that may not be either. Ours is filled by one process before others see it: when several
compile the same functions at once, what they keep can be torn (see `extract.encoders.warm_up`).
"""

import atexit
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

from ercache.errors import WorkError
from ercache.files import remove_leftovers
from ercache.notices import notify_once
from ercache.paths import default_store, user_folder, why_not_writable

VARIABLE: Final = "NUMBA_CACHE_DIR"


def prepare() -> None:
    """See to it that librosa can be imported, here and in the processes that this one starts.

    Raises:
        WorkError: librosa's functions cannot be compiled.
    """
    if numbas_own() is not None:
        return
    base = ours()
    if base is None:
        base = Path(tempfile.mkdtemp(prefix="ercache-numba-"))
        atexit.register(shutil.rmtree, base, ignore_errors=True)
    folder = base / _made_for()
    if not folder.is_dir():
        notify_once(
            f"note: numba may write nowhere; librosa's functions are compiled into {folder}, in about half a minute"
        )
        _fill(folder)
    os.environ[VARIABLE] = str(folder)


def numbas_own() -> Path | None:
    """Where numba itself finds a place that every user of this installation has filled before, if it does."""
    spec = importlib.util.find_spec("librosa")
    beside = Path(spec.origin or "").parent / "core" / "__pycache__" if spec is not None else None
    given = os.environ.get(VARIABLE)
    for place in (Path(given) if given else None, beside):
        if place is not None and why_not_writable(place) is None:
            return place
    return None


def ours() -> Path | None:
    """A folder of ours that can be written, if there is one."""
    folders = (user_folder() / "numba", default_store() / "numba")
    return next((folder for folder in folders if why_not_writable(folder) is None), None)


def _made_for() -> str:
    """Names all that compiled functions depend on, so that machines of one home do not meet in a folder."""
    from llvmlite.binding import get_host_cpu_name

    python = "".join(platform.python_version_tuple()[:2])
    return f"py{python}-librosa{version('librosa')}-numba{version('numba')}-{get_host_cpu_name()}"


def _fill(folder: Path) -> None:
    """Compile in a process of its own; the folder appears when that is done, whoever else does the same."""
    remove_leftovers(folder)
    fresh = folder.with_name(f".{folder.name}.{os.getpid()}")
    environment = {**os.environ, VARIABLE: str(fresh)}
    command = [sys.executable, "-m", "extract.encoders.warm_up"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            words = done.stderr.strip().rpartition("\n")[2]
            raise WorkError(
                f"librosa's functions cannot be compiled ({words or f'exit code {done.returncode}'})",
                hint=f"set {VARIABLE} to a folder that you may write",
            )
        if not folder.is_dir():
            fresh.rename(folder)
    except OSError:
        if not folder.is_dir():  # somebody else was first
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
