"""The process that reads media, without starting it."""

from multiprocessing import Pipe

import pytest

from extract.media.process import serve


def test_a_reader_whose_parent_ended_before_it_read_everything_ends_without_a_traceback() -> None:
    ours, theirs = Pipe()
    theirs.send("a clip that nobody reads")
    ours.close()
    serve(theirs)
    with pytest.raises(EOFError):  # `serve` has met the reset that comes before the end of file
        theirs.recv()


def test_a_parent_that_ends_with_something_unread_is_a_reset() -> None:
    ours, theirs = Pipe()
    theirs.send("a clip that nobody reads")
    ours.close()
    with pytest.raises(ConnectionResetError):
        theirs.recv()
