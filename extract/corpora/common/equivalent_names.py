"""Compare file names that look equal to people: they differ only in case, or in how accented letters are encoded.

macOS encodes accented letters as two characters, other systems as one.
"""

import unicodedata


def to_nfc(name: str) -> str:
    """Return a name in Unicode form NFC: `ë` is one character there, not `e` and an accent as on macOS."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def name_key(name: str) -> str:
    """Return a text for comparing names. It is the same for names that differ only in case or Unicode form."""
    # Normalise before and after case folding: each step can change the result of the other.
    return to_nfc(unicodedata.normalize("NFD", name).casefold())
