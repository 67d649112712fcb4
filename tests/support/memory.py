"""Peak memory of this process."""

from pathlib import Path


def peak() -> int:
    """Peak memory of this program since its start, in bytes.

    `getrusage` cannot be used. On Linux, a child process starts with the peak of its parent, so every child of a large
    pytest process would show the same number.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
