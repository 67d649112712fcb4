"""A process that reads media: started once, it reads file after file, so that a decoder may crash or hang in it.

Run as `python -m extract.media.process FD` by `extract.media.reader`. A request comes with the function that answers
it; whatever that function gives out is sent back at once. The process ends when the other end closes.
"""

import os
import pickle
import resource
import select
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Final

from ercache.processes import keep_stdout_clean, leave_interrupts_to_parent
from extract.media.scanned import Read, Request

ALIVE: Final = 1.0  # seconds between signs of life
MEMORY: Final = (
    16 << 30
)  # bytes of address space: a header that asks for more than that is refused, not obeyed


def main(descriptor: int) -> None:
    """Answer requests until the other end closes."""
    leave_interrupts_to_parent()
    keep_stdout_clean()
    threading.Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    allowed = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
    connection = Connection(descriptor)
    while True:
        try:
            function, request = connection.recv()
        except EOFError:
            return
        try:
            answer(connection, function, request)
        except ConnectionError:  # whoever asked is gone
            return


def answer(connection: Connection, function: Read, request: Request) -> None:
    """Send what a function gives out, and a sign of life now and then."""
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last > ALIVE:
            connection.send_bytes(pickle.dumps(None))
            last = time.monotonic()

    for item in function(request, tick):
        connection.send_bytes(pickle.dumps(item, pickle.HIGHEST_PROTOCOL))
        last = time.monotonic()
    connection.send_bytes(pickle.dumps("done"))


def _end_with_parent(descriptor: int) -> None:
    """Die with the parent, however it ends and whatever this process is busy with."""
    watch = select.poll()
    watch.register(descriptor, select.POLLHUP | select.POLLRDHUP)
    watch.poll()
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
