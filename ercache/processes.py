"""Worker processes that read untrusted files. If a decoder crashes or hangs there, the main process continues."""

import ctypes
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait

M_ARENA_MAX = -8  # constant of malloc.h


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Create a pool of worker processes. They end when the process that called this function ends or is killed.

    The processes are spawned and not forked, because a fork of a process with threads may hang.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)


def end_with_parent() -> None:
    """Set up a worker process: ignore Ctrl-C, and exit when the parent exits.

    Otherwise a worker whose parent was killed would wait for ever.
    """
    leave_interrupts_to_parent()
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), os._exit(1)), daemon=True).start()


def leave_interrupts_to_parent() -> None:
    """Ignore Ctrl-C in this process. A terminal sends it to all processes; the parent handles it and ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def keep_stdout_clean() -> None:
    """Redirect stdout of this process to stderr, so that stdout holds only results and no messages of libraries."""
    os.dup2(2, 1)


def share_one_heap() -> None:
    """Let all threads share one memory heap (glibc). Memory that one thread freed can then be used by another."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries do not have this problem
        mallopt(M_ARENA_MAX, 1)
