"""Normalise transcripts for tokenizers: repair old encoding errors, Unicode NFC, and optionally remove event tags."""

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
    """Replace the C1 control characters of an old copy by typographic characters."""
    return text.translate(C1)


def tidy(text: str | None, events: bool = True) -> str:
    """Return a transcript as a tokenizer gets it: repaired, NFC, without blanks at its ends.

    Args:
        text: the transcript.
        events: keep tags of one word in square brackets, as in IEMOCAP.

    Returns:
        The text; "" for a text without a visible character.
    """
    tidied = unicodedata.normalize("NFC", repair(text or ""))
    if not events:
        tidied = _EVENT.sub(" ", tidied)
    visible = any(unicodedata.category(character)[0] not in "CZ" for character in tidied)
    return tidied.strip() if visible else ""


def plain(text: str) -> str:
    """Replace curly quotes, dashes and ellipses by their ASCII forms (Cues)."""
    return text.translate(_PLAIN)
