"""Transcripts made fit for tokenizers: old accidents of typography repaired, Unicode NFC, event tags a switch."""

import re
import unicodedata
from typing import Final

# Copies of MELD from before 2020-11-15 hold these instead of typographic characters. They are valid UTF-8 (C2 92
# and so on), so that decoding them as cp1252 would be wrong.
C1: Final = {0x85: "…", 0x91: "‘", 0x92: "’", 0x93: "“", 0x94: "”", 0x96: "–", 0x97: "—", 0xA0: " "}
_EVENT: Final = re.compile(r"\s*\[[A-Za-z]+\]\s*")  # [LAUGHTER], [BREATHING], [GARBAGE] of IEMOCAP
_PLAIN: Final = {
    **dict.fromkeys(map(ord, "‘’‚‛"), "'"),
    **dict.fromkeys(map(ord, "“”„‟"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–—―"), "-"),
    ord("…"): "...",
}


def repair(text: str) -> str:
    """Put typographic characters where an old copy has C1 control characters."""
    return text.translate(C1)


def tidy(text: str | None, events: bool = True) -> str:
    """A transcript as a tokenizer gets it: repaired, NFC, without blanks at its ends.

    Args:
        events: keep tags of one word in square brackets, as IEMOCAP writes them.

    Returns:
        "" for a text without a visible character.
    """
    tidied = unicodedata.normalize("NFC", repair(text or ""))
    if not events:
        tidied = _EVENT.sub(" ", tidied)
    visible = any(unicodedata.category(character)[0] not in "CZ" for character in tidied)
    return tidied.strip() if visible else ""


def plain(text: str) -> str:
    """Curly quotes, dashes and ellipses as their ASCII forms (Cues)."""
    return text.translate(_PLAIN)
