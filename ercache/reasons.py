"""Why an utterance has no feature: the fixed vocabulary of every index, table and report."""

from enum import StrEnum

from ercache.cache import Status


class Reason(StrEnum):
    """`missing` reasons are properties of the data and final; `unavailable` ones are tried again."""

    NOT_IN_CORPUS = "not_in_corpus"
    ABSENT = "absent"
    EMPTY_FILE = "empty_file"
    GIT_LFS_POINTER = "git_lfs_pointer"
    OUTSIDE_ROOT = "outside_root"
    NOT_A_FILE = "not_a_file"
    CHANGED = "changed"
    UNREADABLE = "unreadable"
    NO_VIDEO = "no_video"
    NO_AUDIO = "no_audio"
    NO_FACE = "no_face"
    SILENT = "silent"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"
    NO_TEXT = "no_text"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    CRASH = "crash"
    FAULT = "fault"

    @property
    def status(self) -> Status:
        """Whether the reason is final."""
        again = (Reason.TIMEOUT, Reason.OUT_OF_MEMORY, Reason.CRASH, Reason.CHANGED, Reason.FAULT)
        return Status.UNAVAILABLE if self in again else Status.MISSING

    @property
    def meaning(self) -> str:
        """One sentence for people."""
        return _MEANING[self]


_MEANING = {
    Reason.NOT_IN_CORPUS: "the corpus gives no such medium for this utterance",
    Reason.ABSENT: "the file that the annotation names is not there",
    Reason.EMPTY_FILE: "the file has no bytes",
    Reason.GIT_LFS_POINTER: "the file is a Git LFS pointer: fetch it with `git lfs pull`",
    Reason.OUTSIDE_ROOT: "the path leads out of the corpus root",
    Reason.NOT_A_FILE: "the path is a folder, a pipe or another special file",
    Reason.CHANGED: "the file is not the one that was scanned: scan the corpus again",
    Reason.UNREADABLE: "the decoder cannot read the file",
    Reason.NO_VIDEO: "the file has no picture in this stretch",
    Reason.NO_AUDIO: "the file has no sound in this stretch",
    Reason.NO_FACE: "no face was found in any frame looked at",
    Reason.SILENT: "the sound is digital silence",
    Reason.TOO_SHORT: "the stretch is below the encoder's minimum",
    Reason.TOO_LONG: "the stretch is above the limit on duration",
    Reason.TOO_LARGE: "the picture is above the limit on pixels",
    Reason.NO_TEXT: "the transcript is empty",
    Reason.TIMEOUT: "decoding or encoding ran past its time limit",
    Reason.OUT_OF_MEMORY: "the machine ran out of memory",
    Reason.CRASH: "the worker process died",
    Reason.FAULT: "a library, the disk or ercache itself failed; the file may be good",
}


class Missing(Exception):
    """Raised where an utterance turns out to have no feature; a result, not a failure of the run.

    Args:
        reason: of the fixed vocabulary.
        detail: the tool's own words, for failures.csv.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail
