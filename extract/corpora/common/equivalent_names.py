"""Compare file names that look equal to people: they differ only in case, or in how accented letters are encoded.

macOS encodes accented letters as two characters, other systems as one.
"""

import unicodedata


def to_nfc(name: str) -> str:
    """Return a name in Unicode form NFC; macOS decomposes `ë` into `e` and a combining mark."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def name_key(name: str) -> str:
    """Return a key that is equal for names that differ only in case or Unicode form."""
    # Normalise before and after case folding: each step can change the result of the other.
    return to_nfc(unicodedata.normalize("NFD", name).casefold())
