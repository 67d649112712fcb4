"""The errors that users see: what is wrong, where, and what to do next."""

from collections.abc import Sequence


class ErcacheError(Exception):
    """Anything the user can act upon; the command line prints it without a traceback.

    Args:
        message: one sentence that says what is wrong and where.
        hint: what to do next.
        details: single findings, when several were made at once.
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
    """params.yaml does not say what it should."""


class CorpusError(UsageError):
    """A corpus folder, its annotation or its manifest cannot be used."""


class CacheError(UsageError):
    """A cache file is damaged, of another version or of another corpus."""


class WeightsError(UsageError):
    """A checkpoint is absent, damaged or does not fit its network."""


class WorkError(ErcacheError):
    """The work was started and failed, or fell under its threshold (exit code 1)."""
