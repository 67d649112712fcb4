"""CREMA-D (Cao et al., 2014): 91 actors, 12 sentences, 6 emotions; every clip is a conversation of one turn."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Problem, Utterance
from ercache.params import Strict
from ercache.reasons import Reason
from extract.corpora.entry import CorpusEntry, Progress
from extract.corpora.folder import Folder, list_folder, some
from extract.corpora.survey import Seen, problems_of, survey

EMOTIONS: Final = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}
SENTENCES: Final = {
    "IEO": "It's eleven o'clock",
    "TIE": "That is exactly what happened",
    "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about",
    "TAI": "The airplane is almost full",
    "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock",
    "ITH": "I think I have a doctor's appointment",
    "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before",
    "TSI": "The surface is slick",
    "WSI": "We'll stop in a couple of minutes",
}
LABEL_SETS: Final = {"emotion6": tuple(EMOTIONS.values())}
COUNTS: Final = {"anger": 1271, "disgust": 1271, "fear": 1271, "happy": 1271, "neutral": 1087, "sad": 1271}
# One old copy has a name with a single X.
_NAME: Final = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(?:LO|MD|HI|XX|X)", re.ASCII)
# Clips whose files decode but do not show what their names say (issue #8 of the repository, and file sizes).
WRONG_VIDEO: Final = {
    "1076_MTI_SAD_XX": "shows an error picture",
    "1076_MTI_NEU_XX": "35 kB, no usable picture",
    "1064_IEO_DIS_MD": "a minute with all emotions",
}
WRONG_SOUND: Final = {"1076_MTI_SAD_XX": "silent"}
SAME_SOUND: Final = (
    ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
    ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
    ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
)


class Switches(Strict):
    """CREMA-D has no choices: labels are the intended emotions."""


@dataclass(frozen=True)
class Clips:
    """Stem -> path of the videos and of the sounds; AudioMP3 is never used (identical silent placeholders)."""

    video: Mapping[str, str]
    audio: Mapping[str, str]

    @property
    def stems(self) -> list[str]:
        """All clips, sorted."""
        return sorted(set(self.video) | set(self.audio))


def scan(root: Path, switches: Switches, progress: Progress | None = None) -> Manifest:
    """Read CREMA-D, whole or in part: `VideoFlash/*.flv` and `AudioWAV/*.wav`, or the files in the root itself.

    Raises:
        CorpusError: there is no clip, or every one is a Git LFS pointer.
    """
    clips, strangers = _clips(list_folder(root))
    if not clips.stems:
        raise CorpusError(
            f"cremad: no clip like 1001_DFA_ANG_XX.flv in {root} or in its VideoFlash or AudioWAV folder",
            details=[f"found: {some(strangers)}"] if strangers else [],
            hint="clone github.com/CheyneyComputerScience/CREMA-D with Git LFS",
        )
    seen = survey(root, [*clips.video.values(), *clips.audio.values()], progress)
    if all(look.fault and look.fault[0] is Reason.GIT_LFS_POINTER for look in seen.values()):
        raise CorpusError(
            f"cremad: all {len(seen)} media files in {root} are Git LFS pointers, not media",
            hint="run `git lfs pull` there; an archive download never holds the media",
        )
    problems: list[Problem] = []
    utterances = [_utterance(stem, clips, seen, problems) for stem in clips.stems]
    return Manifest(
        corpus="cremad",
        version="files as found",
        sources={},
        label_sets=LABEL_SETS,
        utterances=tuple(utterances),
        problems=(*_notes(utterances, clips, strangers), *problems),
        splits=_splits(utterances),
    )


def _clips(folder: Folder) -> tuple[Clips, list[str]]:
    found: dict[str, dict[str, str]] = {".flv": {}, ".wav": {}}
    strangers: list[str] = []
    places = {".flv": ("", "VideoFlash"), ".wav": ("", "AudioWAV")}
    for path in folder.files:
        place, _, name = path.rpartition("/")
        stem, suffix = name[:-4], name[-4:]
        if suffix not in found or place.rpartition("/")[2] not in places[suffix]:
            continue
        match = _NAME.fullmatch(stem)
        if match and match[2] in SENTENCES and match[3] in EMOTIONS:
            found[suffix].setdefault(stem, path)
        else:
            strangers.append(path)
    return Clips(found[".flv"], found[".wav"]), strangers


def _utterance(stem: str, clips: Clips, seen: Mapping[str, Seen], problems: list[Problem]) -> Utterance:
    actor, sentence, emotion, _ = stem.split("_")
    video = _ref(clips.video, stem, "VideoFlash", ".flv", seen)
    audio = _ref(clips.audio, stem, "AudioWAV", ".wav", seen)
    if stem in WRONG_VIDEO:
        problems.append(Problem(stem, "missing", "known_defect", f"video: {WRONG_VIDEO[stem]}"))
        video = None
    if stem in WRONG_SOUND:
        problems.append(Problem(stem, "missing", "known_defect", f"sound: {WRONG_SOUND[stem]}"))
        audio = None
    elif (audio is None or stem not in clips.audio) and video is not None and stem in clips.video:
        problems.append(Problem(stem, "note", "sound_from_flv", "AudioWAV has no such file"))
        audio = video
    for ref, medium in ((video, "video"), (audio, "audio")):
        if ref is not None and ref.path not in seen:
            problems.append(Problem(stem, "missing", "absent", ref.path))
        elif ref is not None and not (medium == "audio" and ref == video and seen[ref.path].fault):
            problems += problems_of(stem, ref, seen[ref.path], medium)
    return Utterance(
        id=stem,
        dialogue=stem,
        index=0,
        speaker=actor,
        text=SENTENCES[sentence],
        video=video,
        audio=audio,
        labels={"emotion6": EMOTIONS[emotion]},
        part="all",
    )


def _ref(
    found: Mapping[str, str], stem: str, folder: str, suffix: str, seen: Mapping[str, Seen]
) -> MediaRef | None:
    """A reference; where others of its kind are there and this one is not, one without a digest."""
    if not found:
        return None
    path = found.get(stem)
    if path is None:
        place = next(iter(found.values())).rpartition("/")[0] or folder
        return MediaRef(f"{place}/{stem}{suffix}")
    return replace(MediaRef(path), sha256=seen[path].sha256)


def _notes(utterances: Sequence[Utterance], clips: Clips, strangers: Sequence[str]) -> list[Problem]:
    found: list[Problem] = []
    if not clips.video:
        found.append(Problem(None, "missing", "not_in_corpus", "no VideoFlash/*.flv: there are no pictures"))
    count = Counter(u.labels["emotion6"] for u in utterances)
    for emotion, number in COUNTS.items():
        if count[emotion] != number:
            detail = f"{count[emotion]} clips of {emotion}, the release has {number}"
            found.append(Problem(None, "note", "count_differs", detail))
    if strangers:
        found.append(Problem(None, "note", "not_a_clip_name", some(strangers)))
    for pair in SAME_SOUND:
        for stem, other in (pair, pair[::-1]):
            if stem in clips.audio:
                found.append(
                    Problem(stem, "note", "doubtful_label", f"its wav has the same bytes as {other}")
                )
    return found


def _splits(utterances: Sequence[Utterance]) -> dict[str, dict[str, tuple[str, ...]]]:
    """`actors`: no actor in two subsets, about 70/15/15 by sorted number; the release has no split of its own."""
    actors = sorted({u.speaker for u in utterances})
    if len(actors) < 3:
        return {}
    held = max(1, round(0.15 * len(actors)))
    first, second = len(actors) - 2 * held, len(actors) - held
    groups = {"train": actors[:first], "dev": actors[first:second], "test": actors[second:]}
    split = {name: tuple(u.id for u in utterances if u.speaker in of) for name, of in groups.items()}
    return {"actors": split}


ENTRY: Final = CorpusEntry(
    key="cremad",
    name="CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset",
    modalities=("text", "audio", "visual"),
    parts=("all",),
    label_sets=LABEL_SETS,
    licence="Open Database License 1.0, contents DbCL",
    how_to_get="github.com/CheyneyComputerScience/CREMA-D, cloned with Git LFS: VideoFlash and AudioWAV",
    Switches=Switches,
    scan=scan,
)
