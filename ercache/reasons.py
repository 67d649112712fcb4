"""The fixed list of reasons why an utterance has no feature. Caches, tables and the report use these words."""

from enum import StrEnum

from ercache.cache import Status


class Reason(StrEnum):
    """Why an utterance has no feature.

    Most reasons lie in the data and are final, such as `no_face` (status `missing`). The others may pass, such as
    `timeout`, so the next run tries again (status `unavailable`).
    """

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
        """`missing` if the reason is final, `unavailable` if the next run tries again."""
        again = (Reason.TIMEOUT, Reason.OUT_OF_MEMORY, Reason.CRASH, Reason.CHANGED, Reason.FAULT)
        return Status.UNAVAILABLE if self in again else Status.MISSING

    @property
    def meaning(self) -> str:
        """One phrase for users that explains why the utterance has no feature."""
        return _MEANING[self]


_MEANING = {
    Reason.NOT_IN_CORPUS: "the corpus has no text, audio or video of this kind for this utterance",
    Reason.ABSENT: "the file that the annotation names does not exist",
    Reason.EMPTY_FILE: "the file is empty",
    Reason.GIT_LFS_POINTER: "the file is a Git LFS pointer: fetch it with `git lfs pull`",
    Reason.OUTSIDE_ROOT: "the path leads out of the corpus root",
    Reason.NOT_A_FILE: "the path is a folder, a pipe or another special file",
    Reason.CHANGED: "the file changed since the scan: scan the corpus again",
    Reason.UNREADABLE: "the decoder cannot read the file",
    Reason.NO_VIDEO: "the file has no video in this time range",
    Reason.NO_AUDIO: "the file has no audio in this time range",
    Reason.NO_FACE: "no face was found in any sampled frame",
    Reason.SILENT: "the audio is digital silence",
    Reason.TOO_SHORT: "the clip is shorter than the encoder's minimum",
    Reason.TOO_LONG: "the clip is longer than the limit on duration",
    Reason.TOO_LARGE: "the picture has more pixels than the limit",
    Reason.NO_TEXT: "the transcript is empty",
    Reason.TIMEOUT: "decoding or encoding exceeded its time limit",
    Reason.OUT_OF_MEMORY: "the machine ran out of memory",
    Reason.CRASH: "the worker process died",
    Reason.FAULT: "a library, the disk or ercache itself failed; the file may be good",
}


class Missing(Exception):
    """Raised when an utterance has no feature. The cache records the reason, and the run continues.

    Args:
        reason: one of the fixed list of reasons.
        detail: message of the library that failed, for failures.csv.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail
