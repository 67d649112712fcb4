"""Facts about CMU-MOSEI: its counts, its known defects, and how a folder differs from the release."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ercache.manifest import Problem, Utterance
from ercache.wording import count_noun
from extract.corpora.common.listing import FolderListing, list_some
from extract.corpora.mosei.labels import CSD
from extract.corpora.mosei.release import FOLDS, MoseiFiles

# Of the standard folds: number of videos, and of labelled segments in them.
COUNTS: Final = {"train": (2249, 16327), "dev": (300, 1871), "test": (678, 4662)}
# Reported by users of the corpus (issues of CMU-MultimodalSDK); not measured here.
REPORTED: Final = {
    "black_picture": ("ZzL2sHtTWRc",),
    "no_face_reported": (
        *("_HanACduNJk", "XPoY4LD-A1I", "dbpGH5iP0GE", "s53UAEi7JEY", "UPghCarcnMc", "FvoZgWvc3gc"),
        *("aI1tdJPHz2I", "Ve-mmCM8TI0", "pzUplbeH_fg", "AB1PbMaW03s", "faUvT7zfsyk", "a4PHWxILDp0"),
    ),
    "transcript_offset": ("ZZzdvUdOTww",),
}
VIDEOS: Final = "Raw/Videos/Full/Combined"
SOUNDS: Final = "Raw/Audio/Full/WAV_16000"


def notes_of(
    folder: FolderListing, release: MoseiFiles, utterances: Sequence[Utterance], source: str
) -> Iterator[Problem]:
    """Yield notes on missing files and known defects of a CMU-MOSEI folder.

    Args:
        folder: all files of the folder.
        release: CMU-MOSEI's files, sorted by kind.
        utterances: the utterances of the manifest.
        source: where the labels come from: the csd file or the raters' tables; empty if there are no labels.
    """
    if not source:
        yield Problem(None, "missing", "not_in_corpus", f"no labels: neither {CSD} nor Raw/Labels/*.csv")
    if not release.full and not release.cut:
        yield Problem(None, "missing", "not_in_corpus", f"no videos: {VIDEOS} is empty or not unpacked")
    if folder.archives():
        yield Problem(
            None, "note", "archives", f"is everything in them unpacked? {list_some(folder.archives())}"
        )
    videos = {u.dialogue for u in utterances}
    gone = sorted(videos - set(release.full)) if release.full else []
    if gone:
        yield Problem(None, "note", "missing_videos", f"{len(gone)} of {len(videos)}: {', '.join(gone)}")
    other = sorted(videos.intersection({*release.full, *_cut(release)}) - set(release.sound))
    for video in other if release.sound else ():
        yield Problem(
            None, "note", "sound_from_video", f"{video}: {SOUNDS} has no such file, others are there"
        )
    idle = sorted(set(release.full) - videos)
    if idle:
        yield Problem(
            None, "note", "video_without_segment", f"{count_noun(len(idle), 'file')}: {list_some(idle)}"
        )
    if source:
        single = sum(u.labels["emotion6"] is None and u.labels["sentiment7"] is not None for u in utterances)
        yield Problem(
            None, "note", "no_single_emotion", f"{single} rated segments have none or a tie (emotion6)"
        )
    for reason, names in REPORTED.items():
        for video in sorted(videos.intersection(names)):
            yield Problem(None, "note", reason, f"{video}: reported by users of the corpus")


def _cut(release: MoseiFiles) -> set[str]:
    return {clip.rpartition("_")[0] for clip in release.cut}


def notes_of_folds(
    folds: Mapping[str, Sequence[str]], fault: str, utterances: Sequence[Utterance]
) -> Iterator[Problem]:
    """Yield notes on differences from CMU-MOSEI's standard folds.

    Args:
        folds: train, dev or test -> ids of its videos.
        fault: why the file of folds could not be read; an empty text if it could.
        utterances: the utterances of the manifest.
    """
    if fault:
        yield Problem(None, "note", "unreadable_folds", fault)
    elif not folds:
        detail = f"no standard folds: put {FOLDS[0]} of the CMU-MultimodalSDK into the root"
        yield Problem(None, "note", "no_folds", detail)
    count: Counter[str] = Counter()
    for u in utterances:
        count[u.dialogue] += u.labels["sentiment7"] is not None
    for subset, videos in folds.items():
        found = len(videos), sum(count[video] for video in videos)
        if found != COUNTS[subset]:
            detail = (
                f"{found[0]} videos and {found[1]} labelled segments, the standard has %d and %d"
                % COUNTS[subset]
            )
            yield Problem(None, "note", "count_differs", f"{subset}: {detail}")
        empty = sorted(set(videos) - set(count))
        if empty:
            yield Problem(
                None, "note", "fold_without_segment", f"{subset}: {len(empty)} videos: {list_some(empty)}"
            )
    outside = set(count) - {video for videos in folds.values() for video in videos}
    if folds and outside:
        yield Problem(None, "note", "outside_folds", f"{len(outside)} videos: {list_some(sorted(outside))}")
