"""CMU-MOSEI (Zadeh et al., ACL 2018): monologues of the web, rated for sentiment and six emotions, cut by time.

Segments are those of the transcripts (`Raw/Transcript/Segmented`), joined with the ratings of the label CSD by their
times or of the raters' tables by their clip numbers. They are read out of the whole recordings; a cut clip serves
where its recording is not there. A segment that only the CSD has is `video[row]`, as CSD-derived files write it.
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
from extract.corpora.common.copies import notes_of_copies
from extract.corpora.common.entry import CorpusEntry, Progress
from extract.corpora.common.inspect_media import survey
from extract.corpora.common.listing import Folder, content_of, list_folder, some, why_not
from extract.corpora.common.ranges import BEYOND, Beyond, place
from extract.corpora.common.splits import Split, held_out, usable
from extract.corpora.mosei.facts import SOUNDS, VIDEOS, notes_of, notes_of_folds
from extract.corpora.mosei.labels import CSD, LABEL_SETS, Rated, Ratings, labels_of, read_csd, read_raters
from extract.corpora.mosei.release import (
    FOLDS,
    Release,
    Segment,
    folds_of,
    read_folds,
    read_segments,
    release_of,
)
from extract.media.files import check_file

NEAR: Final = 0.05  # seconds by which times of the CSD and of a transcript may differ


class Switches(Strict):
    """Choices of MOSEI.

    Attributes:
        video: `full` reads segments out of the recordings, `segmented` prefers the clips that come cut.
        beyond_file: what to do with a segment that ends after its file: `trim`, `keep`, or `drop` the utterance.
    """

    video: Literal["full", "segmented"] = "full"
    beyond_file: Beyond = "trim"


@dataclass(frozen=True)
class Piece:
    """A segment with its ratings, before a look at its media."""

    id: str
    video: str
    segment: Segment
    rated: Rated | None


def scan(root: Path, switches: Switches, progress: Progress | None = None) -> Manifest:
    """Read CMU-MOSEI: the unpacked raw archive, label CSDs, or both.

    Raises:
        CorpusError: there is neither transcript nor label, or the label CSD is damaged.
    """
    folder = list_folder(root)
    release = release_of(folder)
    ratings, source = _ratings(folder, release)
    if not release.texts and not ratings.of_video:
        _refuse(folder)
    pieces, problems, read = _pieces(root, release, ratings)
    problems += [Problem(None, "note", *note) for note in ratings.notes]
    chosen = {piece.id: _media(piece, release, switches.video == "segmented") for piece in pieces}
    present = {*release.full.values(), *release.cut.values(), *release.sound.values()}
    wanted = {ref.path for refs in chosen.values() for ref in refs if ref is not None}
    again = release.again
    seen = survey(root, {*(wanted & present), *again, *again.values()}, progress)
    problems += [*folder.notes(), *notes_of_copies(again, seen)]
    utterances: list[Utterance] = []
    ranks: Counter[str] = Counter()
    for piece in pieces:
        video, audio, told = place(piece.id, *chosen[piece.id], seen, switches.beyond_file)
        if switches.beyond_file == "drop" and any(p.reason == BEYOND for p in told):
            problems.append(Problem(None, "note", "left_out", f"{piece.id}: {told[-1].detail}"))
            continue
        problems += told
        utterances.append(_utterance(piece, ranks[piece.video], video, audio))
        ranks[piece.video] += 1
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


def _refuse(folder: Folder) -> None:
    archives = folder.archives()
    hint = (
        f"unpack {some(archives)} there first"
        if archives
        else f"give the folder that holds Raw/, {CSD}, or both"
    )
    raise CorpusError(
        f"mosei: neither Raw/Transcript/Segmented/Combined/*.txt nor {CSD} nor Raw/Labels/*.csv below {folder.root}",
        details=[f"found: {some(folder.files)}"] if folder.files else [],
        hint=hint,
    )


def _ratings(folder: Folder, release: Release) -> tuple[Ratings, str]:
    csd = folder.named(CSD)
    if csd:
        try:
            file = check_file(folder.root, MediaRef(csd[0]))
        except Missing as missing:
            hint = "mend it, or take it away to use Raw/Labels/*.csv"
            raise CorpusError(f"mosei: {why_not(csd[0], missing)}", hint=hint) from missing
        ratings = read_csd(file)
        ratings.tables.append(csd[0])
        return ratings, CSD
    tables: list[tuple[str, bytes]] = []
    faults: list[tuple[str, str]] = []
    for path in release.raters:
        try:
            tables.append((path, content_of(folder.root, path)))
        except Missing as missing:
            faults.append(("unreadable_table", why_not(path, missing)))
    ratings = read_raters(tables)
    ratings.notes += faults
    return ratings, "raters" if ratings.of_video else ""


def _pieces(root: Path, release: Release, ratings: Ratings) -> tuple[list[Piece], list[Problem], list[str]]:
    """Segments in order, what is to be told of them, and the transcripts that were read."""
    pieces: list[Piece] = []
    problems: list[Problem] = []
    read: list[str] = []
    count: Counter[str] = Counter()
    for video in sorted({*release.texts, *ratings.of_video}):
        path = release.texts.get(video)
        segments: list[Segment] = []
        notes: list[tuple[str, str]] = []
        try:
            if path:
                segments, notes = read_segments(video, content_of(root, path), path)
                read.append(path)
        except Missing as missing:
            notes = [("unreadable_transcript", why_not(path or "", missing))]
        problems += [Problem(None, "note", *note) for note in notes]
        mine = list(_joined(video, segments, ratings.of_video.get(video, [])))
        count["segment_without_label"] += sum(piece.rated is None for piece in mine)
        count["label_without_transcript"] += len(mine) - len(segments)
        pieces += sorted(mine, key=lambda p: (max(p.segment.start, 0.0), p.segment.end, p.id))
    for piece in pieces:
        if piece.segment.start < 0:
            problems.append(
                Problem(piece.id, "note", "negative_start", f"{piece.segment.start:g} s was taken as 0")
            )
        if piece.segment.end < max(piece.segment.start, 0.0):
            times = f"{piece.segment.start:g} s to {piece.segment.end:g} s run backwards"
            problems.append(Problem(piece.id, "missing", "not_in_corpus", times))
    problems += [Problem(None, "note", reason, f"{n} segments", n) for reason, n in count.items() if n]
    return pieces, problems, read


def _joined(video: str, segments: Sequence[Segment], rated: Sequence[Rated]) -> Iterator[Piece]:
    """Transcript and ratings side by side: by clip number, or by times; what is left over of either, too."""
    free = list(segments)
    for rating in rated:
        match = next((s for s in sorted(free, key=lambda s: _apart(s, rating)) if _same(s, rating)), None)
        if match is not None:
            free.remove(match)
            yield Piece(f"{video}_{match.clip}", video, match, rating)
        elif rating.start is not None and rating.end is not None:
            yield Piece(f"{video}[{rating.row}]", video, Segment("", rating.start, rating.end, ""), rating)
        else:
            # No times: only a clip that comes cut can show it.
            yield Piece(
                f"{video}_{rating.clip}", video, Segment(rating.clip or "", 0.0, float("inf"), ""), rating
            )
    yield from (Piece(f"{video}_{segment.clip}", video, segment, None) for segment in free)


def _apart(segment: Segment, rated: Rated) -> float:
    if rated.start is None or rated.end is None:
        return 0.0
    return max(abs(segment.start - rated.start), abs(segment.end - rated.end))


def _same(segment: Segment, rated: Rated) -> bool:
    return segment.clip == rated.clip if rated.clip is not None else _apart(segment, rated) <= NEAR


def _media(piece: Piece, release: Release, cut_first: bool) -> tuple[MediaRef | None, MediaRef | None]:
    start, end = max(piece.segment.start, 0.0), piece.segment.end
    if end < start:
        return None, None
    cut = release.cut.get(f"{piece.video}_{piece.segment.clip}") if piece.segment.clip else None
    whole = release.full.get(piece.video)
    if cut and (cut_first or whole is None or end == float("inf")):
        return MediaRef(cut), MediaRef(cut)
    if end == float("inf"):
        return None, None
    sound = release.sound.get(piece.video)
    video = MediaRef(whole, start, end) if whole else None
    if video is None and (release.full or release.cut):
        video = MediaRef(f"{VIDEOS}/{piece.video}.mp4", start, end)
    if video is None and sound is None and release.sound:
        return None, MediaRef(f"{SOUNDS}/{piece.video}.wav", start, end)
    return video, MediaRef(sound, start, end) if sound else video


def _utterance(piece: Piece, index: int, video: MediaRef | None, audio: MediaRef | None) -> Utterance:
    return Utterance(
        id=piece.id,
        dialogue=piece.video,
        index=index,
        speaker=piece.video,
        text=piece.segment.text or None,
        video=video,
        audio=audio,
        labels=labels_of(piece.rated.scores if piece.rated else None),
        part="all",
    )


def _splits(folds: Mapping[str, Sequence[str]], utterances: Sequence[Utterance]) -> dict[str, Split]:
    """`standard`: the folds of the SDK; videos outside them are in no subset."""
    inside = {video for videos in folds.values() for video in videos}
    groups = {u.id: u.dialogue for u in utterances if u.dialogue in inside}
    return usable({"standard": held_out(groups, folds["dev"], folds["test"])}) if groups else {}


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
