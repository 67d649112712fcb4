"""What subtitles show and nobody says: sounds in brackets and music. A line that is nothing else is no utterance."""

import re
from collections.abc import Sequence
from typing import Final

from extract.corpora.common.cue_text import Words, text_of

_SIGNS: Final = "♩♪♫♬🎵🎶"
_BRACKETED: Final = re.compile(
    rf"(?:[-–—>\s]*(?:\[[^\[\]]*\]|\([^()]*\)|（[^（）]*）|【[^【】]*】|\*[^*\s][^*]*\*|[{_SIGNS}]))+[\s.,;:!?…-]*"
)
_BEFORE: Final = "-–—> "
_AFTER: Final = ".,;:!?…- "
# Words that make a bracket a sound and not a name, whatever its letters: `[APPLAUSE] Thank you`, `[Music] hello`.
_SOUNDS: Final = re.compile(
    r"\b(?:appla?us\w*|aplau\w*|clap\w*|music\w*|m[uú]si[ckq]\w*|musik\w*|song\w*|sing(?:s|ing)|laugh\w*|chuckl\w*|"
    r"giggl\w*|snicker\w*|cheer\w*|crowd\w*|audience|sigh\w*|gasp\w*|groan\w*|moan\w*|grunt\w*|pant(?:s|ing)|sob\w*|"
    r"cr(?:y|ies|ying)|weep\w*|scream\w*|shout\w*|yell\w*|whisper\w*|whistl\w*|hum(?:s|ming)|sniff\w*|cough\w*|"
    r"sneez\w*|clear\w*|throat|breath\w*|exhal\w*|inhal\w*|bark\w*|ring(?:s|ing)|beep\w*|buzz\w*|knock\w*|slam\w*|"
    r"creak\w*|thud\w*|crash\w*|clatter\w*|gunshot\w*|gunfire|explo\w*|thunder\w*|footsteps|siren\w*|honk\w*|"
    r"silence|pause\w*|inaudible|unintelligible|indistinct\w*|crosstalk|foreign|noise\w*|blank_audio|sounds?|"
    r"play(?:s|ing)|open(?:s|ing)|clos(?:es|ing)|speak(?:s|ing)|chatter\w*|rires?|lach(?:en|t)|gelächter|risas)\b|"
    r"^(?:in|on|over|off|to|from|at|by|with|through)\b|音楽|拍手|笑|музыка|аплодисменты|смех",
    re.I,
)


def is_aside(text: str) -> bool:
    """Whether a text is sounds or music alone: `[APPLAUSE]`, `(music)`, `♪ la la ♪`, `# la la #`."""
    within = text.lstrip(_BEFORE).rstrip(_AFTER)
    sung = within[:1] in _SIGNS or within[-1:] in _SIGNS or (within[:2] == "# " and within[-2:] == " #")
    return bool(within) and (sung or _BRACKETED.fullmatch(text) is not None)


def sounds_like(name: str) -> bool:
    """Whether what stands in brackets before a text describes a sound or a manner, and names nobody."""
    return bool(_SOUNDS.search(name))


def parted(lines: Sequence[Words], keep: Sequence[bool]) -> tuple[list[Words], list[str]]:
    """Lines of speech, and the texts of those that are none.

    Args:
        keep: lines that stay although they look like one: a speaker's name in brackets above what is said.
    """
    whole = " ".join(text_of(line) for line in lines)
    signs = sum(whole.count(sign) for sign in _SIGNS)
    around = signs == 2 and whole[0] in _SIGNS and whole[-1] in _SIGNS  # a song of several lines
    if lines and (around or _BRACKETED.fullmatch(whole)) and not any(keep):
        return [], [whole]
    silent = [is_aside(text_of(line)) and not kept for line, kept in zip(lines, keep, strict=True)]
    said = [line for line, no in zip(lines, silent, strict=True) if not no]
    return said, [text_of(line) for line, no in zip(lines, silent, strict=True) if no]
