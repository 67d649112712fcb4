"""Names that are the same to people: in another case, or with letters composed otherwise, as macOS stores them."""

import unicodedata


def composed(name: str) -> str:
    """A name with its letters in one piece; macOS takes `ë` apart into `e` and a mark."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """What names that differ in case or Unicode form alone have in common."""
    # Some letters are only composed alike after folding, and folding takes some apart again.
    return composed(unicodedata.normalize("NFD", name).casefold())
