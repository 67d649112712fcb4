"""CREMA-D (Cao et al., 2014): 91 actors, 12 sentences, 6 emotions; every clip is a conversation of one turn."""

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
from extract.corpora.common.copies import Copies, notes_of_copies
from extract.corpora.common.entry import CorpusEntry, Progress
from extract.corpora.common.inspect_media import Seen, problems_of, survey
from extract.corpora.common.listing import Folder, list_folder, some
from extract.corpora.common.splits import Split, actor_disjoint, actor_folds, held_out, usable
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
from extract.corpora.cremad.ratings import Ratings, ratings_of


class Switches(Strict):
    """Choices of CREMA-D.

    Attributes:
        known_defects: pictures and sound that do not show what the name says: `missing` leaves the utterance without
            them, `keep` takes them as they are, `drop` leaves the utterance out.
        bad_clips: an utterance of which neither pictures nor sound can be read: `keep` its row, or `drop` it.
    """

    known_defects: Literal["missing", "keep", "drop"] = "missing"
    bad_clips: Literal["keep", "drop"] = "keep"


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
    """Read CREMA-D, whole or in part: `VideoFlash/*.flv` and `AudioWAV/*.wav`, or clips in any other folders.

    Raises:
        CorpusError: there is no clip, every one is a Git LFS pointer, or the raters' table cannot be used.
    """
    folder = list_folder(root)
    clips, found, again = _clips(folder)
    if not clips.stems:
        _refuse(folder, found)
    ratings, notes = ratings_of(folder)
    seen = survey(root, {*clips.video.values(), *clips.audio.values(), *again}, progress)
    found += notes_of_copies(again, seen)
    if all(look.fault and look.fault[0] is Reason.GIT_LFS_POINTER for look in seen.values()):
        raise CorpusError(
            f"cremad: all {len(seen)} media files in {root} are Git LFS pointers, not media",
            hint="run `git lfs pull` there; an archive download never holds the media",
        )
    problems: list[Problem] = [*found, *notes]
    utterances: list[Utterance] = []
    for stem in clips.stems:
        utterance, told = _utterance(stem, clips, seen, ratings, switches.known_defects == "missing")
        why = _left_out(utterance, seen, switches)
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


def _refuse(folder: Folder, found: Sequence[Problem]) -> None:
    archives = folder.archives()
    unpack = f"unpack {some(archives)} there first, or " if archives else ""
    listed = some(folder.files)
    raise CorpusError(
        f"cremad: no clip like 1001_DFA_ANG_XX.flv in {folder.root} or in its VideoFlash or AudioWAV folder",
        details=[f"found: {listed}"] if listed else [],
        hint=f"{unpack}clone github.com/CheyneyComputerScience/CREMA-D with Git LFS",
    )


def _clips(folder: Folder) -> tuple[Clips, list[Problem], dict[str, str]]:
    """Clips by name, wherever they lie, what is to be told of the files, and those left out -> those taken.

    Of several files of a name that in the folder of the release is taken.
    """
    copies: dict[str, Copies[str]] = {suffix: Copies() for suffix in FOLDERS}
    strangers: list[str] = []
    for path in folder.files:
        stem, suffix = path.rpartition("/")[2][:-4].upper(), path[-4:].lower()
        if suffix not in copies:
            continue
        if is_clip(stem):
            copies[suffix].add(stem, path, strayed=not _at_home(path))
        else:
            strangers.append(path)
    problems = []
    if strangers:
        told = f"{len(strangers)} files: {some(strangers)}"
        problems.append(Problem(None, "note", "not_a_clip_name", told))
    if folder.archives():
        told = f"is everything in them unpacked? {some(folder.archives())}"
        problems.append(Problem(None, "note", "archives", told))
    again = {path: taken for found in copies.values() for path, taken in found.again.items()}
    return Clips(copies[".flv"].taken, copies[".wav"].taken), problems, again


def _at_home(path: str) -> bool:
    place = path.rpartition("/")[0].rpartition("/")[2].lower()
    return place in ("", FOLDERS.get(path[-4:].lower(), "").lower())


def _utterance(
    stem: str, clips: Clips, seen: Mapping[str, Seen], ratings: Ratings, mend: bool
) -> tuple[Utterance, list[Problem]]:
    actor, sentence, emotion, level = stem.split("_")
    problems: list[Problem] = []
    video = _ref(clips.video, stem, ".flv", seen)
    audio = _ref(clips.audio, stem, ".wav", seen)
    if stem in WRONG_VIDEO and mend:
        problems.append(Problem(stem, "missing", "known_defect", f"video: {WRONG_VIDEO[stem]}"))
        video = None
    if stem in WRONG_SOUND and mend:
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
    labels = {"emotion6": EMOTIONS[emotion], **ratings.labels(stem), "intensity": LEVELS.get(level)}
    return Utterance(stem, stem, 0, actor, SENTENCES[sentence], video, audio, labels, "all"), problems


def _left_out(utterance: Utterance, seen: Mapping[str, Seen], switches: Switches) -> str:
    """Why the policies leave an utterance out; empty where they do not."""
    if switches.known_defects == "drop" and utterance.id in WRONG_VIDEO:
        return f"known_defect, {WRONG_VIDEO[utterance.id]}"
    hopes = _may_give(utterance.video, "video", seen) or _may_give(utterance.audio, "audio", seen)
    return "" if hopes or switches.bad_clips == "keep" else "neither pictures nor sound can be read"


def _may_give(ref: MediaRef | None, medium: Literal["video", "audio"], seen: Mapping[str, Seen]) -> bool:
    """Whether a medium can be read, or could not this time only."""
    look = seen.get(ref.path) if ref is not None else None
    if look is None or look.fault is None:
        return look is not None and bool(getattr(look, medium))
    return look.fault[0].status is Status.UNAVAILABLE


def _ref(found: Mapping[str, str], stem: str, suffix: str, seen: Mapping[str, Seen]) -> MediaRef | None:
    """A reference; where others of its kind are there and this one is not, one without a digest."""
    if not found:
        return None
    path = found.get(stem)
    if path is None:
        place = next(iter(found.values())).rpartition("/")[0] or FOLDERS[suffix]
        return MediaRef(f"{place}/{stem}{suffix}")
    return replace(MediaRef(path), sha256=seen[path].sha256)


def _notes(utterances: Sequence[Utterance], clips: Clips) -> list[Problem]:
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


def _unrated(utterances: Sequence[Utterance], ratings: Ratings) -> list[Problem]:
    lacking = [u.id for u in utterances if ratings.source and not ratings.has(u.id)]
    told = f"{len(lacking)} clips stand in no row of {ratings.source}: {some(lacking)}"
    return [Problem(None, "note", "no_ratings", told, len(lacking))] if lacking else []


def _splits(utterances: Sequence[Utterance]) -> dict[str, Split]:
    """No actor is in two subsets; the release has no split of its own.

    `actors` is about 70/15/15 by sorted number, with five folds; `avtca` goes by the number modulo five.
    """
    actors = {u.id: u.speaker for u in utterances}
    rests = {actor: (int(actor) - ACTORS.start) % 5 for actor in actors.values()}
    test, dev = ([actor for actor, rest in rests.items() if rest == wanted] for wanted in (0, 1))
    named = {"actors": actor_disjoint(actors), "avtca": held_out(actors, dev, test)}
    found = usable({name: split for name, split in named.items() if split})
    folds = actor_folds(actors)
    return (
        {**found, **folds} if usable(folds) == folds else found
    )  # four of five folds would test some actors only


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
