"""The process that reads media. It starts once and reads file after file; if a decoder crashes, only this process dies.

`extract.media.reader` runs it as `python -m extract.media.process FD`; FD is the file descriptor of a pipe. Through it
come requests, each with the function that answers it. Every item that the function yields is sent back at once. The
process ends when the other end of the pipe closes.
"""

import os
import resource
import select
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Final

from ercache.processes import keep_stdout_clean, leave_interrupts_to_parent
from extract.media.messages import send
from extract.media.scanned import ReadFunction, ReadRequest

HEARTBEAT_SECONDS: Final = 1.0  # time between two messages that show that the process is alive
MAX_MEMORY: Final = 16 << 30  # bytes of address space: a damaged header may ask for much more


def main(descriptor: int) -> None:
    """Run the reading process: receive requests from the pipe, read the media, and send back what is read.

    Ends when the other end of the pipe closes.

    Args:
        descriptor: file descriptor of this end of the pipe.
    """
    leave_interrupts_to_parent()
    keep_stdout_clean()
    threading.Thread(target=_end_with_parent, args=(descriptor,), daemon=True).start()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    allowed = MAX_MEMORY if most == resource.RLIM_INFINITY else min(MAX_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, most))
    serve(Connection(descriptor))


def serve(connection: Connection) -> None:
    """Answer one request after the other; return when the parent process closes its end of the pipe.

    It may do so at any time, even before it has taken all answers.
    """
    while True:
        try:
            function, request = connection.recv()
        except (EOFError, ConnectionError):  # a reset, if something that was sent is still unread there
            return
        try:
            answer(connection, function, request)
        except ConnectionError:  # the parent has ended
            return


def answer(connection: Connection, function: ReadFunction, request: ReadRequest) -> None:
    """Answer one request: send each clip as soon as it is read, and at the end the word `done`.

    During reading, None is sent about every second, to show that the process is alive.

    Args:
        connection: this end of the pipe.
        function: function that reads the request and yields (index of the span, clip).
        request: the file and its time spans.
    """
    last = time.monotonic()

    def tick() -> None:
        nonlocal last
        if time.monotonic() - last > HEARTBEAT_SECONDS:
            send(connection, None)
            last = time.monotonic()

    for item in function(request, tick):
        send(connection, item)
        last = time.monotonic()
    send(connection, "done")


def _end_with_parent(descriptor: int) -> None:
    """End this process when the parent process ends, for whatever reason, even in the middle of decoding."""
    watch = select.poll()
    watch.register(descriptor, select.POLLHUP | select.POLLRDHUP)
    watch.poll()
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
