"""Helpers for writing messages."""


def count_noun(number: int, thing: str, things: str = "") -> str:
    """Write a count with its noun: `1 finding`, `2 findings`.

    Args:
        things: plural of `thing`; by default `thing` with an s.
    """
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
