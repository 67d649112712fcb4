"""Clean transcripts before tokenization: wrong encodings, Unicode form, and event tags such as [LAUGHTER]."""

import re
import unicodedata
from typing import Final

# Copies of MELD from before 2020-11-15 contain these characters instead of typographic ones. They are valid UTF-8
# (C2 92 and so on), so decoding them as cp1252 would be wrong.
C1: Final = {0x85: "…", 0x91: "‘", 0x92: "’", 0x93: "“", 0x94: "”", 0x96: "–", 0x97: "—", 0xA0: " "}
_EVENT: Final = re.compile(r"\s*\[[A-Za-z]+\]\s*")  # [LAUGHTER], [BREATHING], [GARBAGE] of IEMOCAP
_PLAIN: Final = {
    **dict.fromkeys(map(ord, "‘’‚‛"), "'"),
    **dict.fromkeys(map(ord, "“”„‟"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–—―"), "-"),
    ord("…"): "...",
}


def repair(text: str) -> str:
    """Put the intended quotes, dashes and blanks in place of control characters that come from a wrong decoding."""
    return text.translate(C1)


def tidy(text: str | None, events: bool = True) -> str:
    """Return a transcript with repaired characters, in Unicode form NFC, without blanks at its ends.

    Args:
        text: the transcript.
        events: True keeps event tags, False removes them; a tag is one word in square brackets, such as [LAUGHTER].

    Returns:
        The cleaned transcript; "" if it has no visible character.
    """
    tidied = unicodedata.normalize("NFC", repair(text or ""))
    if not events:
        tidied = _EVENT.sub(" ", tidied)
    visible = any(unicodedata.category(character)[0] not in "CZ" for character in tidied)
    return tidied.strip() if visible else ""


def plain(text: str) -> str:
    """Replace curly quotes, dashes and ellipses in a text by ASCII characters, as the paper Cues does."""
    return text.translate(_PLAIN)
