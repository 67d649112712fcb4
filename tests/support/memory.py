"""Peak memory of this process."""

from pathlib import Path


def peak() -> int:
    """Peak memory of this program since its start, in bytes.

    `getrusage` does not say it: on Linux a child begins with the peak of the process that started it, so that every
    child of a large pytest looks alike.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
