"""Scan CMU-MOSEI (Zadeh et al., ACL 2018): web monologues, rated for sentiment and six emotions.

Segments come from the transcripts (`Raw/Transcript/Segmented`). Ratings come from the file `CMU_MOSEI_Labels.csd`,
matched by time, or from the raters' tables, matched by clip number. The media of a segment are read from the complete
recording, or from a cut clip if the recording is absent. A segment that only the csd file contains is named
`video[row]`, as in other projects that use this file.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from ercache.digests import digest_of_file
from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Problem, Utterance
from ercache.params.schema import Strict
from ercache.reasons import Missing
from extract.corpora.common.copies import problems_of_copies
from extract.corpora.common.entry import CorpusEntry, ScanProgress
from extract.corpora.common.inspect_media import inspect_media
from extract.corpora.common.listing import (
    FolderListing,
    describe_unreadable,
    list_folder,
    list_some,
    read_content,
)
from extract.corpora.common.ranges import BEYOND_FILE, BeyondFile, resolve_references
from extract.corpora.common.splits import Split, split_by_groups, usable_splits
from extract.corpora.mosei.facts import SOUNDS, VIDEOS, notes_of, notes_of_folds
from extract.corpora.mosei.labels import (
    CSD,
    LABEL_SETS,
    MoseiRatings,
    Rating,
    labels_of,
    read_csd,
    read_raters,
)
from extract.corpora.mosei.release import (
    FOLDS,
    MoseiFiles,
    TranscriptSegment,
    find_files,
    folds_of,
    read_folds,
    read_segments,
)
from extract.media.files import check_file

MAX_TIME_DIFFERENCE: Final = 0.05  # seconds by which times of the CSD and of a transcript may differ


class Switches(Strict):
    """The user's choices for CMU-MOSEI in params.yaml.

    Attributes:
        video: `full` reads segments from the complete recordings, `segmented` prefers the clips that are already cut.
        beyond_file: what to do with a segment that ends after its file: `trim` its end, `keep` it unchanged, or `drop`
            it.
    """

    video: Literal["full", "segmented"] = "full"
    beyond_file: BeyondFile = "trim"


@dataclass(frozen=True)
class RatedSegment:
    """A segment of a video with the raters' scores, before its media files are inspected.

    Attributes:
        id: id of the utterance that it becomes.
        video: video id.
        segment: clip number, times and text.
        rated: the rating; None if nobody rated the segment.
    """

    id: str
    video: str
    segment: TranscriptSegment
    rated: Rating | None


def scan(root: Path, switches: Switches, progress: ScanProgress | None = None) -> Manifest:
    """Read CMU-MOSEI and return its manifest.

    The folder holds the unpacked raw archive, the file `CMU_MOSEI_Labels.csd`, or both.

    Raises:
        CorpusError: there is neither a transcript nor a label, or the csd file is damaged.
    """
    folder = list_folder(root)
    release = find_files(folder)
    ratings, source = _ratings(folder, release)
    if not release.texts and not ratings.of_video:
        _refuse(folder)
    rated_segments, problems, read = _rated_segments(root, release, ratings)
    problems += [Problem(None, "note", *note) for note in ratings.notes]
    chosen = {
        rated_segment.id: _media(rated_segment, release, switches.video == "segmented")
        for rated_segment in rated_segments
    }
    present = {*release.full.values(), *release.cut.values(), *release.sound.values()}
    wanted = {ref.path for refs in chosen.values() for ref in refs if ref is not None}
    duplicates = release.duplicates
    media_facts = inspect_media(root, {*(wanted & present), *duplicates, *duplicates.values()}, progress)
    problems += [*folder.notes(), *problems_of_copies(duplicates, media_facts)]
    utterances: list[Utterance] = []
    ranks: Counter[str] = Counter()
    for rated_segment in rated_segments:
        video, audio, told = resolve_references(
            rated_segment.id, *chosen[rated_segment.id], media_facts, switches.beyond_file
        )
        if switches.beyond_file == "drop" and any(p.reason == BEYOND_FILE for p in told):
            problems.append(Problem(None, "note", "left_out", f"{rated_segment.id}: {told[-1].detail}"))
            continue
        problems += told
        utterances.append(_utterance(rated_segment, ranks[rated_segment.video], video, audio))
        ranks[rated_segment.video] += 1
    folds, fault = read_folds(folder)
    standard = [path for path in (folds_of(folder),) if path and folds]
    splits = _splits(folds, utterances)
    return Manifest(
        corpus="mosei",
        version="labels of the CSD" if source == CSD else "labels of the raters" if source else "no labels",
        sources={path: digest_of_file(root / path) for path in sorted({*ratings.tables, *read, *standard})},
        label_sets=LABEL_SETS,
        utterances=tuple(utterances),
        problems=(
            *notes_of(folder, release, utterances, source),
            *notes_of_folds(folds, fault, utterances),
            *problems,
        ),
        splits=splits,
        promises=dict.fromkeys(splits, ("dialogue",)),
    )


def _refuse(folder: FolderListing) -> None:
    archives = folder.archives()
    hint = (
        f"unpack {list_some(archives)} there first"
        if archives
        else f"give the folder that holds Raw/, {CSD}, or both"
    )
    raise CorpusError(
        f"mosei: no transcripts (Raw/Transcript/Segmented/Combined/*.txt) and no labels ({CSD} or Raw/Labels/*.csv) "
        f"below {folder.root}",
        details=[f"found: {list_some(folder.files)}"] if folder.files else [],
        hint=hint,
    )


def _ratings(folder: FolderListing, release: MoseiFiles) -> tuple[MoseiRatings, str]:
    csd = folder.files_named(CSD)
    if csd:
        try:
            file = check_file(folder.root, MediaRef(csd[0]))
        except Missing as missing:
            hint = "download the csd file again, or remove it to use the raters' tables Raw/Labels/*.csv"
            raise CorpusError(f"mosei: {describe_unreadable(csd[0], missing)}", hint=hint) from missing
        ratings = read_csd(file)
        ratings.tables.append(csd[0])
        return ratings, CSD
    tables: list[tuple[str, bytes]] = []
    faults: list[tuple[str, str]] = []
    for path in release.raters:
        try:
            tables.append((path, read_content(folder.root, path)))
        except Missing as missing:
            faults.append(("unreadable_table", describe_unreadable(path, missing)))
    ratings = read_raters(tables)
    ratings.notes += faults
    return ratings, "raters" if ratings.of_video else ""


def _rated_segments(
    root: Path, release: MoseiFiles, ratings: MoseiRatings
) -> tuple[list[RatedSegment], list[Problem], list[str]]:
    """Read all transcripts and match their segments with the ratings.

    Returns:
        Three lists: the segments with their ratings, by video and time; problems for the manifest; and the paths of the
        transcripts that were read.
    """
    rated_segments: list[RatedSegment] = []
    problems: list[Problem] = []
    read: list[str] = []
    count: Counter[str] = Counter()
    for video in sorted({*release.texts, *ratings.of_video}):
        path = release.texts.get(video)
        segments: list[TranscriptSegment] = []
        notes: list[tuple[str, str]] = []
        try:
            if path:
                segments, notes = read_segments(video, read_content(root, path), path)
                read.append(path)
        except Missing as missing:
            notes = [("unreadable_transcript", describe_unreadable(path or "", missing))]
        problems += [Problem(None, "note", *note) for note in notes]
        mine = list(_match_ratings(video, segments, ratings.of_video.get(video, [])))
        count["segment_without_label"] += sum(rated_segment.rated is None for rated_segment in mine)
        count["label_without_transcript"] += len(mine) - len(segments)
        rated_segments += sorted(mine, key=lambda p: (max(p.segment.start, 0.0), p.segment.end, p.id))
    for rated_segment in rated_segments:
        if rated_segment.segment.start < 0:
            problems.append(
                Problem(
                    rated_segment.id,
                    "note",
                    "negative_start",
                    f"{rated_segment.segment.start:g} s was taken as 0",
                )
            )
        if rated_segment.segment.end < max(rated_segment.segment.start, 0.0):
            times = f"{rated_segment.segment.start:g} s to {rated_segment.segment.end:g} s run backwards"
            problems.append(Problem(rated_segment.id, "missing", "not_in_corpus", times))
    problems += [Problem(None, "note", reason, f"{n} segments", n) for reason, n in count.items() if n]
    return rated_segments, problems, read


def _match_ratings(
    video: str, segments: Sequence[TranscriptSegment], rated: Sequence[Rating]
) -> Iterator[RatedSegment]:
    """Yield the segments of a video with their ratings.

    Ratings of the raters' tables are matched by clip number, those of the csd file by time. A segment without a rating
    is yielded too. A rating without a segment in the transcript becomes a segment without text.

    Args:
        video: video id.
        segments: segments of the transcript.
        rated: ratings of the video.
    """
    free = list(segments)
    for rating in rated:
        match = next(
            (s for s in sorted(free, key=lambda s: _time_difference(s, rating)) if _is_rating_of(s, rating)),
            None,
        )
        if match is not None:
            free.remove(match)
            yield RatedSegment(f"{video}_{match.clip}", video, match, rating)
        elif rating.start is not None and rating.end is not None:
            yield RatedSegment(
                f"{video}[{rating.row}]", video, TranscriptSegment("", rating.start, rating.end, ""), rating
            )
        else:
            # The rating has no times, so only a clip that is already cut can show this segment.
            yield RatedSegment(
                f"{video}_{rating.clip}",
                video,
                TranscriptSegment(rating.clip or "", 0.0, float("inf"), ""),
                rating,
            )
    yield from (RatedSegment(f"{video}_{segment.clip}", video, segment, None) for segment in free)


def _time_difference(segment: TranscriptSegment, rated: Rating) -> float:
    if rated.start is None or rated.end is None:
        return 0.0
    return max(abs(segment.start - rated.start), abs(segment.end - rated.end))


def _is_rating_of(segment: TranscriptSegment, rated: Rating) -> bool:
    return (
        segment.clip == rated.clip
        if rated.clip is not None
        else _time_difference(segment, rated) <= MAX_TIME_DIFFERENCE
    )


def _media(
    rated_segment: RatedSegment, release: MoseiFiles, cut_first: bool
) -> tuple[MediaRef | None, MediaRef | None]:
    start, end = max(rated_segment.segment.start, 0.0), rated_segment.segment.end
    if end < start:
        return None, None
    cut = (
        release.cut.get(f"{rated_segment.video}_{rated_segment.segment.clip}")
        if rated_segment.segment.clip
        else None
    )
    whole = release.full.get(rated_segment.video)
    if cut and (cut_first or whole is None or end == float("inf")):
        return MediaRef(cut), MediaRef(cut)
    if end == float("inf"):
        return None, None
    sound = release.sound.get(rated_segment.video)
    video = MediaRef(whole, start, end) if whole else None
    if video is None and (release.full or release.cut):
        video = MediaRef(f"{VIDEOS}/{rated_segment.video}.mp4", start, end)
    if video is None and sound is None and release.sound:
        return None, MediaRef(f"{SOUNDS}/{rated_segment.video}.wav", start, end)
    return video, MediaRef(sound, start, end) if sound else video


def _utterance(
    rated_segment: RatedSegment, index: int, video: MediaRef | None, audio: MediaRef | None
) -> Utterance:
    return Utterance(
        id=rated_segment.id,
        dialogue=rated_segment.video,
        index=index,
        speaker=rated_segment.video,
        text=rated_segment.segment.text or None,
        video=video,
        audio=audio,
        labels=labels_of(rated_segment.rated.scores if rated_segment.rated else None),
        part="all",
    )


def _splits(folds: Mapping[str, Sequence[str]], utterances: Sequence[Utterance]) -> dict[str, Split]:
    """Return the split `standard`, made from the folds of the CMU-MultimodalSDK.

    Videos that are in no fold are in no subset. Without folds, or with an empty subset, there is no split.

    Args:
        folds: train, dev or test -> ids of its videos.
        utterances: the utterances of the manifest.
    """
    inside = {video for videos in folds.values() for video in videos}
    groups = {u.id: u.dialogue for u in utterances if u.dialogue in inside}
    return usable_splits({"standard": split_by_groups(groups, folds["dev"], folds["test"])}) if groups else {}


ENTRY: Final = CorpusEntry(
    key="mosei",
    name="CMU-MOSEI: Multimodal Opinion Sentiment and Emotion Intensity",
    modalities=("text", "audio", "visual"),
    parts=("all",),
    label_sets=LABEL_SETS,
    licence="SDK and labels under the CMU-MultimodalSDK's licence; the videos are their makers', for research",
    how_to_get=(
        f"CMU_MOSEI.zip (Raw/) of the CMU MultiComp Lab, and {CSD} and {FOLDS[0]} of github.com/CMU-MultiComp-Lab/"
        "CMU-MultimodalSDK, in one folder"
    ),
    Switches=Switches,
    scan=scan,
)
