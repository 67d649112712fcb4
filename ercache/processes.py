"""Worker processes for untrusted files: a decoder may crash or hang there without harm to the main process."""

import ctypes
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait

M_ARENA_MAX = -8  # constant of malloc.h


def process_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of processes that end with their parent, however it ends.

    The processes are spawned, because a fork of a process with threads may hang.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)


def end_with_parent() -> None:
    """Ignore Ctrl-C, and exit when the parent exits. A worker would otherwise wait for its queue for ever."""
    leave_interrupts_to_parent()
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), os._exit(1)), daemon=True).start()


def leave_interrupts_to_parent() -> None:
    """Ignore Ctrl-C, which a terminal sends to all processes. The parent handles it and ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def keep_stdout_clean() -> None:
    """Redirect what libraries print in this process to stderr, because stdout is for the answer of the command."""
    os.dup2(2, 1)


def share_one_heap() -> None:
    """Let all threads of glibc share one heap. By default each has its own, and freed memory stays unused there."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries do not have this problem
        mallopt(M_ARENA_MAX, 1)
