"""Errors for users: each says what is wrong, where, and what to do next."""

from collections.abc import Sequence


class ErcacheError(Exception):
    """An error that the user can act on. The command line prints it without a traceback.

    Args:
        message: one sentence: what is wrong, and where.
        hint: what to do next.
        details: the single findings, if there are several.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message, self.hint, self.details = message, hint, tuple(details)

    def __str__(self) -> str:
        lines = [self.message, *(f"  - {detail}" for detail in self.details)]
        return "\n".join([*lines, f"  -> {self.hint}"] if self.hint else lines)


class UsageError(ErcacheError):
    """Wrong usage or unusable input (exit code 2)."""

    exit_code = 2


class ParamsError(UsageError):
    """params.yaml has wrong entries."""


class CorpusError(UsageError):
    """A corpus folder, its annotation or its manifest cannot be used."""


class CacheError(UsageError):
    """A cache file is damaged, of another version or of another corpus."""


class WeightsError(UsageError):
    """A checkpoint is absent, damaged, or does not fit its network."""


class WorkError(ErcacheError):
    """The work started and failed, or its result is below the required threshold (exit code 1)."""
