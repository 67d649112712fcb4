"""RAVDESS (Livingstone & Russo, 2018): 24 actors speak and sing two sentences in 8 emotions.

The three media of a performance (01 picture and sound, 02 picture, 03 sound) are one take, so the performance is the
utterance: picture from 01 (or 02), sound from 03 (or 01); its id is the file's name without the first field.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Problem, Utterance
from ercache.params.schema import Strict
from ercache.reasons import Reason
from extract.corpora.common.copies import notes_of_copies
from extract.corpora.common.entry import CorpusEntry, Progress
from extract.corpora.common.inspect_media import survey
from extract.corpora.common.listing import Folder, list_folder, some
from extract.corpora.common.ranges import place
from extract.corpora.common.splits import Split, actor_folds, held_out, usable
from extract.corpora.ravdess.names import (
    ACTORS,
    CHANNELS,
    LABEL_SETS,
    PER_ACTOR,
    SHARED,
    SUFFIXES,
    Take,
    takes_of,
)

# Actors of dev and test; the rest train. The release has no split of its own.
SPLITS: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "actors": (ACTORS[20:22], ACTORS[22:]),
    "avtca": (ACTORS[4:8], ACTORS[:4]),
    "katerynach": (("11", "13", "18", "22"), ("05", "10", "16", "19")),
}


class Switches(Strict):
    """Choices of RAVDESS.

    Attributes:
        channel: what is an utterance: `speech`, `song` or `both`; what is left out is told.
    """

    channel: Literal["speech", "song", "both"] = "both"


def scan(root: Path, switches: Switches, progress: Progress | None = None) -> Manifest:
    """Read RAVDESS, whole or in part, from any arrangement of folders: files are known by their names.

    Raises:
        CorpusError: there is no file of it, or every one is a Git LFS pointer.
    """
    folder = list_folder(root)
    takes, problems, again = takes_of(folder)
    if not takes:
        _refuse(folder)
    chosen = [take for take in takes if switches.channel in (take.channel, "both")]
    problems += _of_channels(takes, switches.channel)
    wanted = {path for take in chosen for path in take.files.values()}
    seen = survey(root, {*wanted, *again, *again.values()}, progress)
    problems += notes_of_copies(again, seen)
    if seen and all(look.fault and look.fault[0] is Reason.GIT_LFS_POINTER for look in seen.values()):
        raise CorpusError(
            f"ravdess: all {len(seen)} media files in {root} are Git LFS pointers", hint="git lfs pull"
        )
    media = {medium for take in takes for medium in take.files}
    utterances = []
    for take in chosen:
        video, audio, told = place(take.id, _video(take, media), _audio(take, media), seen, "keep")
        problems += told + list(_twins(take, media))
        utterances.append(_utterance(take, video, audio))
    splits = _splits(utterances)
    return Manifest(
        corpus="ravdess",
        version="files as found",
        sources={},
        label_sets=LABEL_SETS,
        utterances=tuple(utterances),
        problems=(*folder.notes(), *_counts(chosen, switches.channel), *problems),
        splits=splits,
        promises=dict.fromkeys(splits, ("speaker", "dialogue")),
    )


def _refuse(folder: Folder) -> None:
    archives = folder.archives()
    unpack = (
        f"unpack {some(archives)} there first"
        if archives
        else "unpack Video_Speech_Actor_01.zip and the others"
    )
    raise CorpusError(
        f"ravdess: no file like 01-01-03-01-01-01-01.mp4 below {folder.root}",
        details=[f"found: {some(folder.files)}"] if folder.files else [],
        hint=f"{unpack} (Zenodo record 1188976)",
    )


def _video(take: Take, media: Iterable[str]) -> MediaRef | None:
    return _ref(take, ("01", "02"), media)


def _audio(take: Take, media: Iterable[str]) -> MediaRef | None:
    return _ref(take, ("03", "01"), media)


def _ref(take: Take, wanted: Sequence[str], media: Iterable[str]) -> MediaRef | None:
    """The first medium that is there; where others have it and this one has not, a reference to what is absent."""
    for medium in wanted:
        if medium in take.files:
            return MediaRef(take.files[medium])
    lacking = next((medium for medium in wanted if medium in media), None)
    return MediaRef(f"Actor_{take.actor}/{lacking}-{take.id}{SUFFIXES[lacking]}") if lacking else None


def _twins(take: Take, media: Iterable[str]) -> Iterator[Problem]:
    if "01" not in take.files and "02" in take.files:
        yield Problem(take.id, "note", "picture_from_02", "the file with picture and sound (01) is not there")
    if "03" not in take.files and "01" in take.files and "03" in media:
        yield Problem(take.id, "note", "sound_from_01", "the file with sound alone (03) is not there")


def _utterance(take: Take, video: MediaRef | None, audio: MediaRef | None) -> Utterance:
    labels = {
        "emotion8": take.emotion,
        "emotion7": "neutral" if take.emotion == "calm" else take.emotion,
        "emotion6": SHARED.get(take.emotion),
        "intensity": take.intensity,
        "channel": take.channel,
    }
    return Utterance(take.id, take.id, 0, take.actor, take.text, video, audio, labels, "all")


def _of_channels(takes: Sequence[Take], channel: str) -> list[Problem]:
    if channel == "both":
        return []
    out = sum(take.channel != channel for take in takes)
    return [Problem(None, "note", "left_out", f"{out} performances are not {channel}")] if out else []


def _counts(takes: Sequence[Take], channel: str) -> Iterator[Problem]:
    """Differences from the release, of what is wanted and for actors of whom there is something."""
    for wanted in CHANNELS if channel == "both" else (channel,):
        here = [take for take in takes if take.channel == wanted]
        if not here:
            yield Problem(None, "missing", "not_in_corpus", f"there is no {wanted}")
            continue
        count = Counter(take.emotion for take in here)
        actors, all_of_them = {take.actor for take in here}, len(ACTORS) - (wanted == "song")
        if len(actors) != all_of_them:
            told = f"{wanted}: {len(actors)} actors ({some(sorted(actors))}), the release has {all_of_them}"
            yield Problem(None, "note", "count_differs", told)
        for emotion, each in PER_ACTOR[wanted].items():
            if count[emotion] != each * len(actors):
                told = f"{wanted}: {count[emotion]} performances of {emotion}, the release has {each * len(actors)}"
                yield Problem(None, "note", "count_differs", f"{told} of these actors")
    for medium, what in (("01", "picture and sound"), ("03", "sound alone")):
        lacking = sum(medium not in take.files for take in takes)
        if lacking:
            told = f"{lacking} of {len(takes)} performances have no file with {what} ({medium})"
            yield Problem(None, "note", "media_differ", told, lacking)


def _splits(utterances: Sequence[Utterance]) -> dict[str, Split]:
    """Actor-disjoint splits and five folds, and each over speech alone where there is song; only usable ones."""
    everything = {u.id: u.speaker for u in utterances}
    speech = {u.id: u.speaker for u in utterances if u.labels["channel"] == "speech"}
    found: dict[str, Split] = {}
    for suffix, actors in (("", everything), ("_speech", speech if len(speech) < len(everything) else {})):
        found |= {name + suffix: held_out(actors, *held) for name, held in SPLITS.items()}
        found |= actor_folds(actors, name="actors" + suffix)
    return usable(found)


ENTRY: Final = CorpusEntry(
    key="ravdess",
    name="RAVDESS: Ryerson Audio-Visual Database of Emotional Speech and Song",
    modalities=("text", "audio", "visual"),
    parts=("all",),
    label_sets=LABEL_SETS,
    licence="CC BY-NC-SA 4.0",
    how_to_get="Zenodo record 1188976: the archives of Video and Audio, Speech and Song, each unpacked",
    Switches=Switches,
    scan=scan,
)
