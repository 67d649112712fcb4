"""The peak of this process's own memory."""

from pathlib import Path


def peak() -> int:
    """Bytes at most that this program held since it was started.

    `getrusage` does not say it: on Linux a child begins with the peak of the process that started it, so that every
    child of a large pytest looks alike.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
