"""Find out how many CPUs this process can use, to start as many worker processes and no more.

Two things limit the number: the CPUs on which the process may run (its affinity mask), and the CPU time of its Linux
control groups, which a container, a batch system or `systemd` may limit. joblib's `cpu_count` is not used here, because
it reads only the limit of the root group: it finds the limit of a container, but not that of a systemd slice.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
V1, V2 = ("cpu.cfs_quota_us", "cpu.cfs_period_us"), ("cpu.max",)  # files with quota and period, microseconds


def cores(root: Path = ROOT) -> int:
    """Number of CPUs that this process can use, at least 1. A limit such as 1.5 CPUs is rounded up.

    Args:
        root: folder that contains the folders `proc` and `sys` of Linux: `/`, or a copy in tests.
    """
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([here, *(math.ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPU limits of this process, each as a number of CPUs such as 1.5.

    Linux sets them for the control group of the process and for each parent group. Groups without a limit are left out.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 1 may mount cpu and cpuacct together; `cpu` is then a link.
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        group = mount / path.lstrip("/")
        # In a container the path may be that of the host; then the mount itself is the group.
        for folder in (group, *group.parents):
            if not folder.is_relative_to(mount):
                break
            quota = _quota(folder, *(V1 if controllers else V2))
            if quota is not None:
                yield quota


def _quota(group: Path, *names: str) -> float | None:
    """Read the CPU limit of one Linux control group, as a number of CPUs; None if the group has no limit.

    Args:
        group: folder of the control group below `/sys/fs/cgroup`.
        names: names of its files that hold the allowed CPU time and the period.
    """
    try:
        fields = " ".join((group / name).read_text() for name in names).split()
        quota, period = int(fields[0]), int(fields[1])
    except (OSError, ValueError, IndexError):  # no such file, or the value "max"
        return None
    return quota / period if quota > 0 and period > 0 else None
