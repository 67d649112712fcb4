"""Scan RAVDESS (Livingstone & Russo, 2018): 24 actors speak and sing two sentences in 8 emotions.

A performance has three media files: 01 (pictures and sound), 02 (pictures) and 03 (sound). All show the same recording,
so the performance is one utterance. Pictures come from 01 (or else 02), sound from 03 (or else 01). The id of the
utterance is the file name without the first field.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Problem, Utterance
from ercache.params.schema import Strict
from ercache.reasons import Reason
from extract.corpora.common.copies import problems_of_copies
from extract.corpora.common.entry import CorpusEntry, ScanProgress
from extract.corpora.common.inspect_media import inspect_media
from extract.corpora.common.listing import FolderListing, list_folder, list_some
from extract.corpora.common.ranges import resolve_references
from extract.corpora.common.splits import Split, actor_folds, split_by_groups, usable_splits
from extract.corpora.ravdess.names import (
    ACTORS,
    CHANNELS,
    LABEL_SETS,
    PER_ACTOR,
    SHARED,
    SUFFIXES,
    Performance,
    find_performances,
)

# Actors of dev and of test; the others train. The release defines no split.
SPLITS: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "actors": (ACTORS[20:22], ACTORS[22:]),
    "avtca": (ACTORS[4:8], ACTORS[:4]),
    "katerynach": (("11", "13", "18", "22"), ("05", "10", "16", "19")),
}


class Switches(Strict):
    """The user's choices for RAVDESS in params.yaml.

    Attributes:
        channel: which performances become utterances: `speech`, `song` or `both`. A note counts the performances that
            are left out.
    """

    channel: Literal["speech", "song", "both"] = "both"


def scan(root: Path, switches: Switches, progress: ScanProgress | None = None) -> Manifest:
    """Read a complete or partial copy of RAVDESS and return its manifest. Files are found by name in any folder.

    Raises:
        CorpusError: the folder holds no RAVDESS file, or all files are Git LFS pointers.
    """
    folder = list_folder(root)
    performances, problems, duplicates = find_performances(folder)
    if not performances:
        _refuse(folder)
    chosen = [
        performance for performance in performances if switches.channel in (performance.channel, "both")
    ]
    problems += _of_channels(performances, switches.channel)
    wanted = {path for performance in chosen for path in performance.files.values()}
    media_facts = inspect_media(root, {*wanted, *duplicates, *duplicates.values()}, progress)
    problems += problems_of_copies(duplicates, media_facts)
    if media_facts and all(
        file_facts.fault and file_facts.fault[0] is Reason.GIT_LFS_POINTER
        for file_facts in media_facts.values()
    ):
        raise CorpusError(
            f"ravdess: all {len(media_facts)} media files in {root} are Git LFS pointers, not media",
            hint="run `git lfs pull` in this folder",
        )
    media = {medium for performance in performances for medium in performance.files}
    utterances = []
    for performance in chosen:
        video, audio, detail = resolve_references(
            performance.id, _video(performance, media), _audio(performance, media), media_facts, "keep"
        )
        problems += detail + list(_substitutions(performance, media))
        utterances.append(_utterance(performance, video, audio))
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


def _refuse(folder: FolderListing) -> None:
    archives = folder.archives()
    unpack = (
        f"unpack {list_some(archives)} there first"
        if archives
        else "unpack Video_Speech_Actor_01.zip and the others"
    )
    raise CorpusError(
        f"ravdess: no file like 01-01-03-01-01-01-01.mp4 below {folder.root}",
        details=[f"found: {list_some(folder.files)}"] if folder.files else [],
        hint=f"{unpack} (Zenodo record 1188976)",
    )


def _video(performance: Performance, media: Iterable[str]) -> MediaRef | None:
    return _ref(performance, ("01", "02"), media)


def _audio(performance: Performance, media: Iterable[str]) -> MediaRef | None:
    return _ref(performance, ("03", "01"), media)


def _ref(performance: Performance, wanted: Sequence[str], media: Iterable[str]) -> MediaRef | None:
    """Return a reference to the video or audio file of a performance.

    If the performance has no wanted file but others have one, the reference gives the path where the file should be.
    So the file is reported as absent. If no performance has such a file, the result is None.

    Args:
        performance: the performance.
        wanted: the media that fit (01, 02 or 03), the best one first.
        media: all media that occur in the corpus.
    """
    for medium in wanted:
        if medium in performance.files:
            return MediaRef(performance.files[medium])
    lacking = next((medium for medium in wanted if medium in media), None)
    return (
        MediaRef(f"Actor_{performance.actor}/{lacking}-{performance.id}{SUFFIXES[lacking]}")
        if lacking
        else None
    )


def _substitutions(performance: Performance, media: Iterable[str]) -> Iterator[Problem]:
    if "01" not in performance.files and "02" in performance.files:
        yield Problem(
            performance.id, "note", "picture_from_02", "the file with picture and sound (01) is not there"
        )
    if "03" not in performance.files and "01" in performance.files and "03" in media:
        yield Problem(performance.id, "note", "sound_from_01", "the file with sound alone (03) is not there")


def _utterance(performance: Performance, video: MediaRef | None, audio: MediaRef | None) -> Utterance:
    labels = {
        "emotion8": performance.emotion,
        "emotion7": "neutral" if performance.emotion == "calm" else performance.emotion,
        "emotion6": SHARED.get(performance.emotion),
        "intensity": performance.intensity,
        "channel": performance.channel,
    }
    return Utterance(
        performance.id, performance.id, 0, performance.actor, performance.text, video, audio, labels, "all"
    )


def _of_channels(performances: Sequence[Performance], channel: str) -> list[Problem]:
    if channel == "both":
        return []
    out = sum(performance.channel != channel for performance in performances)
    return [Problem(None, "note", "left_out", f"{out} performances are not {channel}")] if out else []


def _counts(performances: Sequence[Performance], channel: str) -> Iterator[Problem]:
    """Yield notes on numbers of actors, performances and media files that differ from the release.

    Args:
        performances: the performances that become utterances.
        channel: which of them the user wants: `speech`, `song` or `both`.
    """
    for wanted in CHANNELS if channel == "both" else (channel,):
        here = [performance for performance in performances if performance.channel == wanted]
        if not here:
            yield Problem(None, "missing", "not_in_corpus", f"there is no {wanted}")
            continue
        count = Counter(performance.emotion for performance in here)
        actors, all_of_them = {performance.actor for performance in here}, len(ACTORS) - (wanted == "song")
        if len(actors) != all_of_them:
            detail = (
                f"{wanted}: {len(actors)} actors ({list_some(sorted(actors))}), the release has {all_of_them}"
            )
            yield Problem(None, "note", "count_differs", detail)
        for emotion, each in PER_ACTOR[wanted].items():
            if count[emotion] != each * len(actors):
                detail = f"{wanted}: {count[emotion]} performances of {emotion}, the release has {each * len(actors)}"
                yield Problem(None, "note", "count_differs", f"{detail} of these actors")
    for medium, what in (("01", "picture and sound"), ("03", "sound alone")):
        lacking = sum(medium not in performance.files for performance in performances)
        if lacking:
            detail = f"{lacking} of {len(performances)} performances have no file with {what} ({medium})"
            yield Problem(None, "note", "media_differ", detail, lacking)


def _splits(utterances: Sequence[Utterance]) -> dict[str, Split]:
    """Return named splits and five folds. In each of them, no actor is in two subsets (train, dev, test).

    Every split has a second version with `_speech` in its name, which contains only spoken performances. Splits with an
    empty subset are left out.
    """
    everything = {u.id: u.speaker for u in utterances}
    speech = {u.id: u.speaker for u in utterances if u.labels["channel"] == "speech"}
    found: dict[str, Split] = {}
    for suffix, actors in (("", everything), ("_speech", speech)):
        found |= {name + suffix: split_by_groups(actors, *held) for name, held in SPLITS.items()}
        found |= actor_folds(actors, name="actors" + suffix)
    return usable_splits(found)


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
