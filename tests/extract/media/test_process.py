"""The process that reads media, without starting it."""

from multiprocessing import Pipe

from extract.media.process import serve


def test_a_reader_whose_parent_ended_before_it_read_everything_ends_without_a_traceback() -> None:
    ours, theirs = Pipe()
    theirs.send("a clip that nobody reads")
    ours.close()  # the operating system reports a reset here, not an end of file
    serve(theirs)
