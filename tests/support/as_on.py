"""Run a command as on a machine that refuses something.

Usage: `python -m tests.support.as_on REFUSED[=ERRNO].. -- COMMAND`. REFUSED is `fallocate`, `flock` or `locks` (those
of fcntl): these system calls then fail with an error number. A seccomp filter does this, and child processes inherit
it. Or REFUSED is `rights`: root then loses its right to ignore file permissions.
"""

import ctypes
import errno
import os
import platform
import struct
import subprocess
import sys
from functools import cache
from typing import Final

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 24, 38, 22, 2
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER = 1, 2, 3
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, AT_LEAST, ANSWER = 0x20, 0x15, 0x35, 0x06  # of BPF: a word, two jumps, the end
ARGUMENT = 24  # where the second argument of the call stands (its low word)
SETLK, SETLKW, OFD_SETLK, OFD_SETLKW = 6, 7, 37, 38  # commands of fcntl that lock
CALLS: Final = {
    "x86_64": {"fallocate": 285, "flock": 73, "locks": 72},
    "aarch64": {"fallocate": 47, "flock": 32, "locks": 25},
}
NOT_HERE: Final = "needs seccomp filters (Linux on x86_64 or aarch64)"
NOT_GIVEN_UP: Final = "needs rights that can be given up"


@cache
def refuses(what: str) -> bool:
    """Whether the refusal can be simulated on this machine."""
    command = [*refusing(what), sys.executable, "-c", _TRIES[what]]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def refusing(*what: str) -> list[str]:
    """The words to put before a command, so that the given system calls or rights are refused."""
    return [sys.executable, os.path.abspath(__file__), *what, "--"]


_TRIES: Final = {
    "fallocate": "import os, tempfile; p = tempfile.mkdtemp()\n"
    "f = os.open(p, os.O_TMPFILE | os.O_WRONLY | os.O_APPEND)\n"
    "try: os.posix_fallocate(f, 0, 1)\nexcept OSError: pass\nelse: raise SystemExit(1)\nfinally: os.rmdir(p)",
    "flock": "import fcntl, tempfile; f = tempfile.TemporaryFile()\n"
    "try: fcntl.flock(f, fcntl.LOCK_EX)\nexcept OSError: pass\nelse: raise SystemExit(1)",
    "locks": "import fcntl, tempfile; f = tempfile.TemporaryFile()\n"
    "try: fcntl.lockf(f, fcntl.LOCK_EX)\nexcept OSError: pass\nelse: raise SystemExit(1)",
    "rights": "import os, tempfile; d = tempfile.mkdtemp(); os.chmod(d, 0o555)\n"
    "try: open(d + '/x', 'w')\nexcept OSError: os.rmdir(d)\nelse: raise SystemExit(1)",
}


def _refuse(call: str, number: int) -> None:
    """Make a system call fail with an error number from now on."""
    steps = [(LOAD, 0, 0, 0), (EQUAL, 0, 255, CALLS[platform.machine()][call])]
    if call == "locks":
        steps.append((LOAD, 0, 0, ARGUMENT))
        steps += [(EQUAL, n, 0, command) for n, command in zip((4, 3, 2, 1), _LOCKING, strict=True)]
        steps.append((ANSWER, 0, 0, ALLOW))
    steps += [(ANSWER, 0, 0, ERRNO | number), (ANSWER, 0, 0, ALLOW)]
    steps[1] = (EQUAL, 0, len(steps) - 3, steps[1][3])
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(held))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_SECCOMP, MODE_FILTER, program)


_LOCKING: Final = (SETLK, SETLKW, OFD_SETLK, OFD_SETLKW)


def _prctl(*arguments: int | bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(*arguments, *(0,) * (5 - len(arguments))):
        raise OSError(ctypes.get_errno(), "prctl")


def main() -> None:
    """Set up the refusals that the arguments name, then run the command."""
    end = sys.argv.index("--")
    for asked in sys.argv[1:end]:
        what, _, number = asked.partition("=")
        if what == "rights":
            if os.geteuid() == 0:  # others have no such right
                for right in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER):
                    _prctl(PR_CAPBSET_DROP, right)
        else:
            _refuse(what, int(number or errno.EOPNOTSUPP))
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])


if __name__ == "__main__":
    main()
