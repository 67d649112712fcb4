"""Choose a folder where numba stores the code that it compiles for librosa.

Numba uses NUMBA_CACHE_DIR, or else a folder beside librosa's files. In a shared or read-only installation both may be
read-only, and so may the home folder. Without a writable folder, librosa cannot be imported. One process fills
ercache's own folder before other processes see it: if several processes compile the same functions at once, the stored
files can be damaged (see `extract.encoders.warm_up`).
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
    """Make sure that librosa can be imported, in this process and in the processes that it starts.

    Raises:
        WorkError: librosa's functions cannot be compiled.
    """
    if place_found_by_numba() is not None:
        return
    base = own_folder()
    if base is None:
        base = Path(tempfile.mkdtemp(prefix="ercache-numba-"))
        atexit.register(shutil.rmtree, base, ignore_errors=True)
    folder = base / _folder_name()
    if not folder.is_dir():
        notify_once(
            f"note: numba has no writable folder; librosa's functions are compiled into {folder} (half a minute)"
        )
        _compile_into(folder)
    os.environ[VARIABLE] = str(folder)


def place_found_by_numba() -> Path | None:
    """Return the writable folder that numba uses without help; None if there is none."""
    spec = importlib.util.find_spec("librosa")
    beside = Path(spec.origin or "").parent / "core" / "__pycache__" if spec is not None else None
    given = os.environ.get(VARIABLE)
    for place in (Path(given) if given else None, beside):
        if place is not None and why_not_writable(place) is None:
            return place
    return None


def own_folder() -> Path | None:
    """Return a writable folder that belongs to ercache; None if there is none."""
    folders = (user_folder() / "numba", default_store() / "numba")
    return next((folder for folder in folders if why_not_writable(folder) is None), None)


def _folder_name() -> str:
    """Return a folder name that contains the versions of Python, librosa and numba, and the type of processor.

    So machines that share a home folder use different folders if their compiled code differs.
    """
    from llvmlite.binding import get_host_cpu_name

    python = "".join(platform.python_version_tuple()[:2])
    return f"py{python}-librosa{version('librosa')}-numba{version('numba')}-{get_host_cpu_name()}"


def _compile_into(folder: Path) -> None:
    """Compile librosa's functions in a separate process and store the result in a folder.

    The folder appears only when it is complete, even if several processes compile at once.
    """
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
