"""Helpers for messages."""


def count_noun(number: int, thing: str, things: str = "") -> str:
    """A number with its noun: `1 finding`, `2 findings`.

    Args:
        things: plural, if it is not `thing` with an s.
    """
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
