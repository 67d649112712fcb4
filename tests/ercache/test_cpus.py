"""No more processes than the CPUs that a machine, a container or a batch system gives."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ercache.cpus import cores

HERE = 64


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(HERE)), raising=False)


def files(root: Path, content: dict[str, str]) -> Path:
    for name, text in content.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


V1 = "12:pids:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/job"
CASES = {
    "no control groups": ({}, HERE),
    "no quota": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, HERE),
    "a container": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
    "a part of a CPU": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
    "less than one": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "20000 100000"}, 1),
    "more than there are": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "9900000 100000"}, HERE),
    "a slice around it": (
        {
            "proc/self/cgroup": "0::/user.slice/a.scope",
            "sys/fs/cgroup/user.slice/cpu.max": "300000 100000",
            "sys/fs/cgroup/user.slice/a.scope/cpu.max": "max 100000",
        },
        3,
    ),
    "the path is that of the host": (
        {"proc/self/cgroup": "0::/docker/0123", "sys/fs/cgroup/cpu.max": "400000 100000"},
        4,
    ),
    "version 1": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "500000",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
        },
        5,
    ),
    "version 1 in a container": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "10000",
        },
        5,
    ),
    "version 1 without a quota": (
        {
            "proc/self/cgroup": V1,
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
        },
        HERE,
    ),
    "nonsense": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": ""}, HERE),
}


@pytest.mark.parametrize("case", CASES)
def test_the_quota_of_a_control_group_is_respected(tmp_path: Path, case: str) -> None:
    content, expected = CASES[case]
    assert cores(files(tmp_path, content)) == expected


def test_only_the_cpus_of_the_affinity_mask_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    assert cores(tmp_path) == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores(tmp_path) == os.cpu_count()


def test_a_quota_of_this_machine_is_found(tmp_path: Path) -> None:
    """A file system of our own where the control groups are mounted, in a process of its own."""
    files(
        tmp_path,
        {"cpu.max": "100000 100000", "cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"},
    )
    if shutil.which("unshare") is None:
        pytest.skip("needs the right to mount a small file system")
    mounts = f"mount --bind {tmp_path} /sys/fs/cgroup || exit 77"
    program = f"{mounts}; exec {sys.executable} -c 'from ercache.cpus import cores; print(cores())'"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", program], capture_output=True, text=True, check=False
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("needs the right to mount a small file system")
    assert done.stdout == "1\n", done.stderr
