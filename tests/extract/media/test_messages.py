"""Clips travel between processes: arrays without a copy in a pickle."""

import multiprocessing
import os
import pickle
import threading

import numpy as np
import pytest

from extract.media.messages import receive, send


def exchanged(item):
    ours, theirs = multiprocessing.Pipe()
    sender = threading.Thread(target=send, args=(theirs, item))
    sender.start()
    received = receive(ours, patience=10)
    sender.join()
    return received


def test_arrays_arrive_equal_and_writable():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (300, 500, 3), np.uint8)
    item = {
        "pictures": [picture, picture[10:200:2, ::3]],
        "sound": rng.normal(size=70_000).astype(np.float32),
        "turned": np.asfortranarray(picture),
        "empty": np.empty((0, 4), np.float32),
        "none": None,
    }
    received = exchanged(item)
    assert np.array_equal(received["pictures"][1], item["pictures"][1])
    for name in ("sound", "turned", "empty"):
        assert np.array_equal(received[name], item[name]) and received[name].dtype == item[name].dtype
    received["pictures"][0][0] = 0
    assert received["none"] is None


def test_several_messages_keep_their_order():
    ours, theirs = multiprocessing.Pipe()
    items = [np.full(100, n) for n in range(5)] + ["done"]
    for item in items:
        send(theirs, item)
    received = [receive(ours, patience=10) for _ in items]
    assert [int(array[0]) for array in received[:5]] == [0, 1, 2, 3, 4]
    assert received[5] == "done"


def test_silence_is_a_timeout_also_in_the_middle_of_an_array():
    ours, theirs = multiprocessing.Pipe()
    with pytest.raises(TimeoutError):
        receive(ours, patience=0.05)
    theirs.send_bytes(pickle.dumps((b"", [10])))
    os.write(theirs.fileno(), b"12345")
    with pytest.raises(TimeoutError):
        receive(ours, patience=0.05)


def test_an_end_in_the_middle_of_an_array_is_the_end_of_the_file():
    ours, theirs = multiprocessing.Pipe()
    theirs.send_bytes(pickle.dumps((b"", [10])))
    os.write(theirs.fileno(), b"12345")
    theirs.close()
    with pytest.raises(EOFError):
        receive(ours, patience=10)
