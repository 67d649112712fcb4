"""Send clips from one process to another through a pipe, without a pickled copy of their arrays.

A clip of 1080p pictures has tens of megabytes. `Connection.send` would copy it twice on each side.
"""

import os
import pickle
from multiprocessing.connection import Connection
from typing import Any

import numpy as np


def send(connection: Connection, item: object) -> None:
    """Send an object through a pipe. Contiguous arrays in it are sent without a copy.

    Raises:
        ConnectionError: the other end of the pipe is closed.
    """
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(item, pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    connection.send_bytes(pickle.dumps((pickled, [view.nbytes for view in views])))
    for view in views:
        while view.nbytes:
            view = view[os.write(connection.fileno(), view) :]


def receive(connection: Connection, patience: float) -> Any:
    """Return the next object that the other end of the pipe has sent with `send`.

    Args:
        connection: this end of the pipe.
        patience: longest wait for the next bytes, seconds.

    Raises:
        TimeoutError: nothing arrived within `patience`.
        EOFError, OSError: the process at the other end has closed the pipe or ended.
    """
    _wait(connection, patience)
    pickled, sizes = pickle.loads(connection.recv_bytes())
    buffers = [np.empty(size, np.uint8) for size in sizes]
    for buffer in buffers:
        view = buffer.data
        while view.nbytes:
            _wait(connection, patience)
            count = os.readv(connection.fileno(), [view])
            if not count:
                raise EOFError
            view = view[count:]
    return pickle.loads(pickled, buffers=buffers)


def _wait(connection: Connection, patience: float) -> None:
    if not connection.poll(patience):
        raise TimeoutError(f"nothing arrived within {patience:.0f} s")
