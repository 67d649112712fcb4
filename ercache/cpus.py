"""How many CPUs this process may keep busy: those that it may run on, and no more than the quota of its control groups.

A container, a batch system or `systemd` gives a quota without hiding the other CPUs; processes beyond it only wait for
each other. (joblib's `cpu_count` looks at the quota of the root alone, which is that of a container, not of a slice.)
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
V1, V2 = ("cpu.cfs_quota_us", "cpu.cfs_period_us"), ("cpu.max",)  # microseconds a period, and the period


def cores(root: Path = ROOT) -> int:
    """CPUs that are worth a process each, at least 1.

    Args:
        root: of the file system that tells of the control groups.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([here, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """The quotas that hold for this process, in CPUs: its own group's and those of the groups around it."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Where version 1 has cpu and cpuacct together, `cpu` is a link to them.
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = mount / path.lstrip("/")
        # In a container the path may be that on its host; the group then lies where the mount is.
        for folder in (group, *group.parents):
            if not folder.is_relative_to(mount):
                break
            quota = _quota(folder, *(V1 if controllers else V2))
            if quota is not None:
                yield quota


def _quota(group: Path, *names: str) -> float | None:
    """CPUs' worth of time that a group gets; None where it is not limited."""
    try:
        told = " ".join((group / name).read_text() for name in names).split()
        quota, period = int(told[0]), int(told[1])
    except (OSError, ValueError, IndexError):  # not there, or "max"
        return None
    return quota / period if quota > 0 and period > 0 else None
