"""Find the recording of each transcript by name: `talk.mp4` has `talk.srt`, `talk.mp4.srt` or `talk.en.forced.vtt`.

First a recording with the transcript's complete name (without `.srt`) is searched for. Then endings are removed from
this name one by one: languages (`en`, `pt-BR`, `en-zh-Hans`), words that programs and players add (`forced`,
`transcript`), and suffixes of media files. An exact match is preferred to one that differs in case or Unicode form.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from extract.corpora.common.equivalent_names import name_key
from extract.corpora.common.listing import list_some
from extract.corpora.common.suffixes import AUDIO_SUFFIXES, VIDEO_SUFFIXES, is_medium, stem_of, suffix_of

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
class TranscriptPair:
    """A transcript and its recording.

    Attributes:
        transcript: path of the transcript.
        stem: path of the recording without suffix. Files with the same stem are one recording. If there is no
            recording, it is the path of the transcript without suffix.
        video, audio: paths of the files with the pictures and the sound of the recording; None if there is none.
        distance: how much the names differ: the number of endings that were removed from the transcript's name, and
            whether case or Unicode form differ.
        notes: notes (reason, detail) for the manifest.
    """

    transcript: str
    stem: str
    video: str | None = None
    audio: str | None = None
    distance: tuple[int, bool] = (0, False)
    notes: tuple[tuple[str, str], ...] = ()


class Pairing:
    """Finds the recording of a transcript among all recordings of a folder, by its name."""

    def __init__(self, media: Iterable[str]) -> None:
        self._files: dict[str, list[str]] = defaultdict(list)
        for path in media:
            self._files[stem_of(path)].append(path)
        self._stems_by_key: dict[str, list[str]] = defaultdict(list)
        for stem in self._files:
            self._stems_by_key[name_key(stem)].append(stem)

    def find(self, transcript: str) -> TranscriptPair | None:
        """Find the recording of a transcript by its name. None if there is no recording with such a name.

        Raises:
            ValueError: several recordings fit, because their names differ only in case or Unicode form.
        """
        readings = list(_readings(stem_of(transcript)))
        for removed, name in enumerate(readings):
            exact = name in self._files
            stems = [name] if exact else self._stems_by_key.get(name_key(name), [])
            if len(stems) > 1:
                raise ValueError(f"{transcript}: fits {' or '.join(stems)}; name it exactly like one of them")
            if stems:
                return self._pair(transcript, stems[0], readings[:removed], (removed, not exact))
        return None

    def recordings(self, media: Iterable[str]) -> list[TranscriptPair]:
        """Return a pair without a transcript for each recording, in the order of the files.

        Files that differ only in their suffix (pictures and sound) are one recording.
        """
        return [self._pair("", stem, (), (0, False)) for stem in dict.fromkeys(map(stem_of, media))]

    def has_recording(self, transcript: str) -> bool:
        """Return whether the folder has at least one recording whose name fits that of a transcript."""
        try:
            return self.find(transcript) is not None
        except ValueError:  # reported when the transcript is read
            return True

    def choose(self, transcripts: Iterable[str]) -> tuple[list[TranscriptPair], list[str]]:
        """Choose for each recording the transcript with the most similar name.

        A transcript without a recording forms a pair by itself.

        Returns:
            Two lists: the pairs, with notes on transcripts that are not used; and messages about transcripts among
            which the user must choose.
        """
        faults: list[str] = []
        groups: dict[str, list[TranscriptPair]] = defaultdict(list)
        for path in transcripts:
            try:
                pair = self.find(path) or TranscriptPair(path, stem_of(path))
            except ValueError as error:  # reported with the other faults of the folder
                faults.append(str(error))
            else:
                groups[pair.stem].append(pair)
        pairs = []
        for group in groups.values():
            first, *others = sorted(group, key=lambda pair: pair.distance)  # stable
            equally_near = [pair.transcript for pair in group if pair.distance == first.distance]
            if len(equally_near) > 1:
                detail = (
                    f"keep one, or name it {first.stem} with its suffix" if first.distance[0] else "keep one"
                )
                faults.append(f"{list_some(equally_near)}: several transcripts of one recording; {detail}")
                continue
            idle = [
                (
                    "transcript_not_used",
                    f"{first.transcript} is nearer in name: {list_some(p.transcript for p in others)}",
                )
            ]
            pairs.append(replace(first, notes=(*first.notes, *(idle if others else ()))))
        return pairs, faults

    def _pair(
        self, transcript: str, stem: str, longer: Iterable[str], distance: tuple[int, bool]
    ) -> TranscriptPair:
        """Return a transcript with the video and audio files of its recording.

        Args:
            transcript: path of the transcript; empty for a recording without one.
            stem: path of the recording without suffix.
            longer: longer names that were tried before. A media file with such a name (`talk.mp4` for `talk.mp4.srt`)
                is preferred to other files of the recording.
            distance: how much the names differ, as in `TranscriptPair`.
        """
        files = self._files[stem]
        readings = {name_key(name) for name in longer}
        named = [path for path in files if name_key(path) in readings]
        ordered = [*named, *(path for path in files if path not in named)]
        video = next((path for path in ordered if suffix_of(path) in VIDEO_SUFFIXES), None)
        audio = next((path for path in ordered if suffix_of(path) in AUDIO_SUFFIXES), video)
        audio = video if video in named else audio
        used = dict.fromkeys(path for path in (video, audio) if path is not None)
        idle = [path for path in files if path not in used]
        notes = []
        if idle or (named and len(used) > 1):
            detail = f"{transcript}: read with {' and '.join(used)}"
            notes.append(("recording_chosen", f"{detail}, not with {list_some(idle)}" if idle else detail))
        if distance[1]:
            notes.append(("other_case", f"{transcript}: its recording was found as {list_some(used)}"))
        return TranscriptPair(transcript, stem, video, audio, distance, tuple(notes))


def _readings(stem: str) -> Iterator[str]:
    """Yield the names (without suffix) that the recording of a transcript may have, the most similar name first.

    For example `talk.en.forced`, `talk.en`, `talk`.
    """
    yield stem
    while True:
        rest, dot, last = stem.rpartition(".")
        named = bool(dot) and bool(rest.rpartition("/")[2])
        known = last.lower() in WORDS or is_medium(stem) or _LANGUAGE.fullmatch(last) is not None
        if not (named and known):
            return
        yield (stem := rest)
