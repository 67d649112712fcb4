"""Find subtitle captions that nobody speaks: sounds in brackets (`[APPLAUSE]`) and music (`♪`).

Such captions are called asides. A line that holds only asides does not become an utterance.
"""

import re
from collections.abc import Sequence
from typing import Final

from extract.corpora.common.cue_text import CueLine, join_words

_SIGNS: Final = "♩♪♫♬🎵🎶"
_BRACKETED: Final = re.compile(
    rf"(?:[-–—>\s]*(?:\[[^\[\]]*\]|\([^()]*\)|（[^（）]*）|【[^【】]*】|\*[^*\s][^*]*\*|[{_SIGNS}]))+[\s.,;:!?…-]*"
)
_BEFORE: Final = "-–—> "
_AFTER: Final = ".,;:!?…- "
# Words that show that a bracket describes a sound rather than a name: `[APPLAUSE] Thank you`, `[Music] hello`.
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
    """Return whether a text describes only sounds or music: `[APPLAUSE]`, `(music)`, `♪ la la ♪`, `# la la #`."""
    within = text.lstrip(_BEFORE).rstrip(_AFTER)
    sung = within[:1] in _SIGNS or within[-1:] in _SIGNS or (within[:2] == "# " and within[-2:] == " #")
    return bool(within) and (sung or _BRACKETED.fullmatch(text) is not None)


def describes_sound(name: str) -> bool:
    """Return whether words in brackets describe a sound or a manner of speaking, and so are not a speaker's name."""
    return bool(_SOUNDS.search(name))


def split_asides(lines: Sequence[CueLine], keep: Sequence[bool]) -> tuple[list[CueLine], list[str]]:
    """Split the lines of a subtitle cue into speech and asides (captions that nobody speaks).

    Args:
        lines: the lines of the cue.
        keep: for each line, whether it counts as speech although it looks like an aside; true for a line that is only
            a speaker's name in brackets.

    Returns:
        Two lists: the lines of speech, and the texts of the asides.
    """
    whole = " ".join(join_words(line) for line in lines)
    signs = sum(whole.count(sign) for sign in _SIGNS)
    around = signs == 2 and whole[0] in _SIGNS and whole[-1] in _SIGNS  # a song of several lines
    if lines and (around or _BRACKETED.fullmatch(whole)) and not any(keep):
        return [], [whole]
    silent = [is_aside(join_words(line)) and not kept for line, kept in zip(lines, keep, strict=True)]
    said = [line for line, no in zip(lines, silent, strict=True) if not no]
    return said, [join_words(line) for line, no in zip(lines, silent, strict=True) if no]
