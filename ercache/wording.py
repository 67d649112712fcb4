"""Numbers of things, as people read them."""


def count_noun(number: int, thing: str, things: str = "") -> str:
    """`1 finding`, `2 findings`; the plural is given where it is not the word and an s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
