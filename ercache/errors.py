"""Errors for users: each says what is wrong, where, and what to do next."""

from collections.abc import Sequence


class ErcacheError(Exception):
    """An error that the user can fix. The command line prints it without a traceback.

    Args:
        message: one sentence that says what is wrong, and in which file or option.
        hint: what to do next.
        details: one sentence per finding, if the command found several.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message, self.hint, self.details = message, hint, tuple(details)

    def __str__(self) -> str:
        lines = [self.message, *(f"  - {detail}" for detail in self.details)]
        return "\n".join([*lines, f"  -> {self.hint}"] if self.hint else lines)


class UsageError(ErcacheError):
    """The user gave wrong options, or input files that the command cannot use (exit code 2)."""

    exit_code = 2


class ParamsError(UsageError):
    """params.yaml has wrong or missing entries."""


class CorpusError(UsageError):
    """A corpus folder, the annotation of a corpus, or its manifest cannot be used."""


class CacheError(UsageError):
    """A cache file is damaged, has another format version, or belongs to another corpus."""


class WeightsError(UsageError):
    """A checkpoint is absent, damaged, or does not fit its network."""


class WorkError(ErcacheError):
    """The command started its work, but failed, or its result is below the required threshold (exit code 1)."""
