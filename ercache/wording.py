"""Write counts with their nouns in messages for the user."""


def count_noun(number: int, thing: str, things: str = "") -> str:
    """Write a number with its noun in singular or plural: `1 finding`, `2 findings`.

    Args:
        thing: the noun in singular.
        things: the noun in plural; by default `thing` with an s.
    """
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
