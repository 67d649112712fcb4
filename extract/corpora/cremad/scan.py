"""Scan CREMA-D (Cao et al., 2014): 91 actors, 12 sentences, 6 emotions.

Each clip is a conversation of one utterance.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from ercache.cache import Status
from ercache.digests import digest_of_file
from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Problem, Utterance
from ercache.params.schema import Strict
from ercache.reasons import Reason
from ercache.wording import count_noun
from extract.corpora.common.copies import Copies, problems_of_copies
from extract.corpora.common.entry import CorpusEntry, ScanProgress
from extract.corpora.common.inspect_media import MediaFacts, inspect_media, problems_of_media
from extract.corpora.common.listing import FolderListing, list_folder, list_some
from extract.corpora.common.splits import Split, actor_disjoint, actor_folds, split_by_groups, usable_splits
from extract.corpora.cremad.facts import (
    ACTORS,
    COUNTS,
    EMOTIONS,
    FOLDERS,
    LABEL_SETS,
    LEVELS,
    SAME_SOUND,
    SENTENCES,
    WRONG_SOUND,
    WRONG_VIDEO,
    is_clip,
)
from extract.corpora.cremad.ratings import ClipRatings, ratings_of


class Switches(Strict):
    """The user's choices for CREMA-D in params.yaml.

    Attributes:
        known_defects: what to do with the few clips whose pictures or sound are known to be wrong. `missing` removes
            only the wrong pictures or sound from the utterance, `keep` uses them, `drop` removes the utterance.
        bad_clips: what to do with an utterance that has neither readable pictures nor readable sound: `keep` or `drop`
            it.
    """

    known_defects: Literal["missing", "keep", "drop"] = "missing"
    bad_clips: Literal["keep", "drop"] = "keep"


@dataclass(frozen=True)
class ClipFiles:
    """Paths of the video and audio files of the corpus: two dicts from clip name to path.

    The folder AudioMP3 is never used: its files are identical silent placeholders.
    """

    video: Mapping[str, str]
    audio: Mapping[str, str]

    @property
    def stems(self) -> list[str]:
        """Names of all clips (without suffix), sorted."""
        return sorted(set(self.video) | set(self.audio))


def scan(root: Path, switches: Switches, progress: ScanProgress | None = None) -> Manifest:
    """Read a complete or partial copy of CREMA-D and return its manifest.

    Clips (.flv and .wav) are found in any folder; the release has them in `VideoFlash` and `AudioWAV`.

    Raises:
        CorpusError: there is no clip, all clips are Git LFS pointers, or the raters' table is unusable.
    """
    folder = list_folder(root)
    clips, found, duplicates = _clips(folder)
    if not clips.stems:
        _refuse(folder, found)
    ratings, notes = ratings_of(folder)
    media_facts = inspect_media(root, {*clips.video.values(), *clips.audio.values(), *duplicates}, progress)
    found += problems_of_copies(duplicates, media_facts)
    if all(
        file_facts.fault and file_facts.fault[0] is Reason.GIT_LFS_POINTER
        for file_facts in media_facts.values()
    ):
        raise CorpusError(
            f"cremad: all {len(media_facts)} media files in {root} are Git LFS pointers, not media",
            hint="run `git lfs pull` in a git clone; a downloaded archive never holds the media",
        )
    problems: list[Problem] = [*found, *notes]
    utterances: list[Utterance] = []
    for stem in clips.stems:
        utterance, told = _utterance(stem, clips, media_facts, ratings, switches.known_defects == "missing")
        why = _why_left_out(utterance, media_facts, switches)
        if why:
            problems.append(Problem(None, "note", "left_out", f"{stem}: {why}"))
            continue
        utterances.append(utterance)
        problems += told
    splits = _splits(utterances)
    return Manifest(
        corpus="cremad",
        version="files as found",
        sources={ratings.source: digest_of_file(root / ratings.source)} if ratings.source else {},
        label_sets=LABEL_SETS,
        utterances=tuple(utterances),
        problems=(*folder.notes(), *_notes(utterances, clips), *_unrated(utterances, ratings), *problems),
        splits=splits,
        promises=dict.fromkeys(splits, ("speaker", "dialogue")),
    )


def _refuse(folder: FolderListing, found: Sequence[Problem]) -> None:
    archives = folder.archives()
    unpack = f"unpack {list_some(archives)} there first, or " if archives else ""
    listed = list_some(folder.files)
    raise CorpusError(
        f"cremad: no clip like 1001_DFA_ANG_XX.flv in {folder.root} or in its VideoFlash or AudioWAV folder",
        details=[f"found: {listed}"] if listed else [],
        hint=f"{unpack}clone github.com/CheyneyComputerScience/CREMA-D with Git LFS",
    )


def _clips(folder: FolderListing) -> tuple[ClipFiles, list[Problem], dict[str, str]]:
    """Find the clips by file name in all folders.

    Of several files with the same name, the one in its folder of the release (`VideoFlash`, `AudioWAV`) is used.

    Returns:
        Three values: the clips, problems for the manifest, and a dict from the path of each unused copy to the path of
        the file that is used instead.
    """
    copies: dict[str, Copies[str]] = {suffix: Copies() for suffix in FOLDERS}
    strangers: list[str] = []
    for path in folder.files:
        stem, suffix = path.rpartition("/")[2][:-4].upper(), path[-4:].lower()
        if suffix not in copies:
            continue
        if is_clip(stem):
            copies[suffix].add(stem, path, misplacement=not _is_in_release_folder(path))
        else:
            strangers.append(path)
    problems = []
    if strangers:
        told = f"{count_noun(len(strangers), 'file')}: {list_some(strangers)}"
        problems.append(Problem(None, "note", "not_a_clip_name", told))
    if folder.archives():
        told = f"is everything in them unpacked? {list_some(folder.archives())}"
        problems.append(Problem(None, "note", "archives", told))
    duplicates = {path: chosen for found in copies.values() for path, chosen in found.duplicates.items()}
    return ClipFiles(copies[".flv"].chosen, copies[".wav"].chosen), problems, duplicates


def _is_in_release_folder(path: str) -> bool:
    place = path.rpartition("/")[0].rpartition("/")[2].lower()
    return place in ("", FOLDERS.get(path[-4:].lower(), "").lower())


def _utterance(
    stem: str,
    clips: ClipFiles,
    media_facts: Mapping[str, MediaFacts],
    ratings: ClipRatings,
    drop_defects: bool,
) -> tuple[Utterance, list[Problem]]:
    actor, sentence, emotion, level = stem.split("_")
    problems: list[Problem] = []
    video = _ref(clips.video, stem, ".flv", media_facts)
    audio = _ref(clips.audio, stem, ".wav", media_facts)
    if stem in WRONG_VIDEO and drop_defects:
        problems.append(Problem(stem, "missing", "known_defect", f"video: {WRONG_VIDEO[stem]}"))
        video = None
    if stem in WRONG_SOUND and drop_defects:
        problems.append(Problem(stem, "missing", "known_defect", f"sound: {WRONG_SOUND[stem]}"))
        audio = None
    elif (audio is None or stem not in clips.audio) and video is not None and stem in clips.video:
        problems.append(Problem(stem, "note", "sound_from_flv", "AudioWAV has no such file"))
        audio = video
    for ref, medium in ((video, "video"), (audio, "audio")):
        if ref is not None and ref.path not in media_facts:
            problems.append(Problem(stem, "missing", "absent", ref.path))
        elif ref is not None and not (medium == "audio" and ref == video and media_facts[ref.path].fault):
            problems += problems_of_media(stem, ref, media_facts[ref.path], medium)
    labels = {"emotion6": EMOTIONS[emotion], **ratings.labels(stem), "intensity": LEVELS.get(level)}
    return Utterance(stem, stem, 0, actor, SENTENCES[sentence], video, audio, labels, "all"), problems


def _why_left_out(utterance: Utterance, media_facts: Mapping[str, MediaFacts], switches: Switches) -> str:
    """Return why the user's choices in params.yaml remove an utterance; an empty text if they keep it."""
    if switches.known_defects == "drop" and utterance.id in WRONG_VIDEO:
        return f"known_defect, {WRONG_VIDEO[utterance.id]}"
    hopes = _may_be_readable(utterance.video, "video", media_facts) or _may_be_readable(
        utterance.audio, "audio", media_facts
    )
    return "" if hopes or switches.bad_clips == "keep" else "neither pictures nor sound can be read"


def _may_be_readable(
    ref: MediaRef | None, medium: Literal["video", "audio"], media_facts: Mapping[str, MediaFacts]
) -> bool:
    """Return whether a medium (`video` or `audio`) of a file is readable, or could become readable in a later scan."""
    file_facts = media_facts.get(ref.path) if ref is not None else None
    if file_facts is None or file_facts.fault is None:
        return file_facts is not None and bool(getattr(file_facts, medium))
    return file_facts.fault[0].status is Status.UNAVAILABLE


def _ref(
    found: Mapping[str, str], stem: str, suffix: str, media_facts: Mapping[str, MediaFacts]
) -> MediaRef | None:
    """Return a reference to a clip's video or audio file; None if the user's copy has no file of this kind at all.

    If only other clips have a file of this kind, the reference gives the path where the file should be, without a
    digest. So the file is reported as absent.

    Args:
        found: clip -> path, for all files of this kind.
        stem: name of the clip.
        suffix: `.flv` for video, `.wav` for audio.
        media_facts: path -> media facts.
    """
    if not found:
        return None
    path = found.get(stem)
    if path is None:
        place = next(iter(found.values())).rpartition("/")[0] or FOLDERS[suffix]
        return MediaRef(f"{place}/{stem}{suffix}")
    return replace(MediaRef(path), sha256=media_facts[path].sha256)


def _notes(utterances: Sequence[Utterance], clips: ClipFiles) -> list[Problem]:
    found: list[Problem] = []
    if not clips.video:
        found.append(Problem(None, "missing", "not_in_corpus", "no VideoFlash/*.flv: there are no pictures"))
    for label_set, expected in COUNTS.items():
        count = Counter(u.labels[label_set] for u in utterances)
        for value, number in expected.items():
            if count[value] != number:
                detail = f"{count[value]} clips of {value}, the release has {number}"
                found.append(Problem(None, "note", "count_differs", detail))
    for pair in SAME_SOUND:
        for stem, other in (pair, pair[::-1]):
            if stem in clips.audio:
                found.append(
                    Problem(stem, "note", "doubtful_label", f"its wav has the same bytes as {other}")
                )
    return found


def _unrated(utterances: Sequence[Utterance], ratings: ClipRatings) -> list[Problem]:
    lacking = [u.id for u in utterances if ratings.source and not ratings.has(u.id)]
    told = f"{count_noun(len(lacking), 'clip')} without a row in {ratings.source}: {list_some(lacking)}"
    return [Problem(None, "note", "no_ratings", told, len(lacking))] if lacking else []


def _splits(utterances: Sequence[Utterance]) -> dict[str, Split]:
    """Return named splits in which no actor is in two subsets. CREMA-D itself defines no split.

    `actors` sorts the actors by number and puts about 70 % of them into train, 15 % into dev and 15 % into test. Its
    five folds are `actors/1` to `actors/5`. `avtca` puts actors 1001, 1006, 1011 ... into test, actors 1002, 1007,
    1012 ... into dev, and all other actors into train.
    """
    actors = {u.id: u.speaker for u in utterances}
    rests = {actor: (int(actor) - ACTORS.start) % 5 for actor in actors.values()}
    test, dev = ([actor for actor, rest in rests.items() if rest == wanted] for wanted in (0, 1))
    named = {"actors": actor_disjoint(actors), "avtca": split_by_groups(actors, dev, test)}
    found = usable_splits({name: split for name, split in named.items() if split})
    folds = actor_folds(actors)
    # With fewer folds, only some actors would be tested.
    return {**found, **folds} if usable_splits(folds) == folds else found


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
