"""Choose a folder where numba stores the code that it compiles for librosa.

Numba uses the folder in the variable NUMBA_CACHE_DIR, or else a folder beside librosa's files. If neither is writable,
as in a shared installation, librosa cannot be imported. Then ercache makes a folder of its own. It is filled by one
process before others see it, because stored files can be damaged if several processes compile the same functions at
once (see `extract.encoders.warm_up`).
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
    """Give numba a writable folder, so that this process and the processes that it starts can import librosa.

    The first call on a machine may compile librosa's functions, which takes half a minute.

    Raises:
        WorkError: the process that compiles librosa's functions has failed.
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
    """Return the folder that numba uses by itself (NUMBA_CACHE_DIR, or beside librosa); None if none is writable."""
    spec = importlib.util.find_spec("librosa")
    beside = Path(spec.origin or "").parent / "core" / "__pycache__" if spec is not None else None
    given = os.environ.get(VARIABLE)
    for place in (Path(given) if given else None, beside):
        if place is not None and why_not_writable(place) is None:
            return place
    return None


def own_folder() -> Path | None:
    """Return ercache's own folder for numba, in the user's folder or in the store; None if neither is writable."""
    folders = (user_folder() / "numba", default_store() / "numba")
    return next((folder for folder in folders if why_not_writable(folder) is None), None)


def _folder_name() -> str:
    """Return a folder name made of the versions of Python, librosa and numba, and the type of processor.

    Compiled code depends on these four. So machines that share a home folder do not read each other's code.
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
                hint=f"set the environment variable {VARIABLE} to a folder in which you may write",
            )
        if not folder.is_dir():
            fresh.rename(folder)
    except OSError:
        if not folder.is_dir():  # somebody else was first
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
