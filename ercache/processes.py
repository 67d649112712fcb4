"""Pools of worker processes for work on untrusted files: a decoder may crash or hang there without harm."""

import ctypes
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait

M_ARENA_MAX = -8  # of malloc.h


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes (a fork of a parent with threads may hang) that end with their parent, however it ends."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)


def end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and die with it: a worker holds the other end of its own queue open."""
    leave_interrupts_to_parent()
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        threading.Thread(target=lambda: (wait([sentinel]), os._exit(1)), daemon=True).start()


def leave_interrupts_to_parent() -> None:
    """Ignore Ctrl-C, which a terminal sends to all processes: the parent ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def keep_stdout_clean() -> None:
    """Send to stderr what libraries print in this process: stdout is the command's answer."""
    os.dup2(2, 1)


def share_one_heap() -> None:
    """Let all threads take memory from one heap: glibc gives each its own, where what is freed stays unused."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # another C library has no such habit
        mallopt(M_ARENA_MAX, 1)
