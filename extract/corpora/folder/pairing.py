"""Which recording a transcript belongs to, by names: `talk.mp4` has `talk.srt`, `talk.mp4.srt`, `talk.en.forced.vtt`.

A name is read as it stands first, then without its last parts, as long as these are languages (`en`, `pt-BR`,
`en-zh-Hans`), words that programs and players write there (`forced`, `transcript`), or the suffix of a medium.
Exact names come before those in another case or Unicode form.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from extract.corpora.common.alike import folded
from extract.corpora.common.listing import some
from extract.corpora.common.suffixes import AUDIO, VIDEO, is_medium, stem_of, suffix_of

WORDS: Final = frozenset(
    (
        *(
            "asr",
            "auto",
            "caption",
            "captions",
            "cc",
            "closedcaptions",
            "default",
            "diarized",
            "foreign",
            "forced",
        ),
        *("full", "hi", "orig", "original", "sdh", "sub", "subs", "subtitle", "subtitles", "transcript"),
        *("transcription", "whisper", "whisperx"),
        *("arabic", "chinese", "dutch", "english", "french", "german", "italian", "japanese", "korean"),
        *("portuguese", "russian", "spanish"),
    )
)
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:[-_][a-z0-9]+)*", re.I | re.ASCII)


@dataclass(frozen=True)
class Pair:
    """A transcript and its recording.

    Attributes:
        stem: the recording's path without suffix (files of one stem are one recording), or the transcript's own.
        video, audio: where its pictures and its sound are, or None.
        distance: how much was taken off the transcript's name, and whether its case was changed.
        notes: what is to be told (reason, detail).
    """

    transcript: str
    stem: str
    video: str | None = None
    audio: str | None = None
    distance: tuple[int, bool] = (0, False)
    notes: tuple[tuple[str, str], ...] = ()


class Pairing:
    """The recordings of a folder, for transcripts to be paired with."""

    def __init__(self, media: Iterable[str]) -> None:
        self._files: dict[str, list[str]] = defaultdict(list)
        for path in media:
            self._files[stem_of(path)].append(path)
        self._folded: dict[str, list[str]] = defaultdict(list)
        for stem in self._files:
            self._folded[folded(stem)].append(stem)

    def of(self, transcript: str) -> Pair | None:
        """The recording of a transcript, or None.

        Raises:
            ValueError: names of several recordings differ from its own in case or Unicode form alone; in words.
        """
        readings = list(_readings(stem_of(transcript)))
        for removed, name in enumerate(readings):
            exact = name in self._files
            stems = [name] if exact else self._folded.get(folded(name), [])
            if len(stems) > 1:
                raise ValueError(
                    f"{transcript}: is it of {' or '.join(stems)}? name it exactly like one of them"
                )
            if stems:
                return self._pair(transcript, stems[0], readings[:removed], (removed, not exact))
        return None

    def beside(self, transcript: str) -> bool:
        """Whether a transcript has a recording, or several."""
        try:
            return self.of(transcript) is not None
        except ValueError:  # told when it is read
            return True

    def chosen(self, transcripts: Iterable[str]) -> tuple[list[Pair], list[str]]:
        """For each recording the transcript of the nearest name, with notes on the others, and what is undecided.

        A transcript without a recording is a pair by itself.
        """
        faults: list[str] = []
        groups: dict[str, list[Pair]] = defaultdict(list)
        for path in transcripts:
            try:
                pair = self.of(path) or Pair(path, stem_of(path))
            except ValueError as error:  # told with the other faults of the folder
                faults.append(str(error))
            else:
                groups[pair.stem].append(pair)
        pairs = []
        for group in groups.values():
            first, *others = sorted(group, key=lambda pair: pair.distance)  # stable
            alike = [pair.transcript for pair in group if pair.distance == first.distance]
            if len(alike) > 1:
                told = (
                    f"keep one, or name it {first.stem} with its suffix" if first.distance[0] else "keep one"
                )
                faults.append(f"{some(alike)}: several transcripts of one recording; {told}")
                continue
            idle = [
                (
                    "transcript_not_used",
                    f"{first.transcript} is nearer in name: {some(p.transcript for p in others)}",
                )
            ]
            pairs.append(replace(first, notes=(*first.notes, *(idle if others else ()))))
        return pairs, faults

    def _pair(self, transcript: str, stem: str, longer: Iterable[str], distance: tuple[int, bool]) -> Pair:
        """Its files; one that the transcript names with its suffix comes first, and a film has its own sound."""
        files = self._files[stem]
        readings = {folded(name) for name in longer}
        named = [path for path in files if folded(path) in readings]
        ordered = [*named, *(path for path in files if path not in named)]
        video = next((path for path in ordered if suffix_of(path) in VIDEO), None)
        audio = next((path for path in ordered if suffix_of(path) in AUDIO), video)
        audio = video if video in named else audio
        used = dict.fromkeys(path for path in (video, audio) if path is not None)
        idle = [path for path in files if path not in used]
        notes = []
        if idle or (named and len(used) > 1):
            told = f"{transcript}: read with {' and '.join(used)}"
            notes.append(("recording_chosen", f"{told}, not with {some(idle)}" if idle else told))
        if distance[1]:
            notes.append(("other_case", f"{transcript}: its recording was found as {some(used)}"))
        return Pair(transcript, stem, video, audio, distance, tuple(notes))


def _readings(stem: str) -> Iterator[str]:
    """What a transcript's path without suffix may mean, nearest first."""
    yield stem
    while True:
        rest, dot, last = stem.rpartition(".")
        named = bool(dot) and bool(rest.rpartition("/")[2])
        known = last.lower() in WORDS or is_medium(stem) or _LANGUAGE.fullmatch(last) is not None
        if not (named and known):
            return
        yield (stem := rest)
