"""Scan IEMOCAP (Busso et al., 2008): ten actors in five sessions, improvised and scripted dialogues.

The sound of a turn comes from its own wav file. The pictures come from a time span of the dialogue's avi file. Both
actors sit side by side in this video, so it is cropped to the speaker's half. Turns without a majority label stay in
their dialogue with the label None, and so do turns whose class is not in a label set.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from ercache.manifest import Manifest, MediaRef, Problem, Promise, Utterance
from ercache.params.schema import Strict
from extract.corpora.common.copies import problems_of_copies
from extract.corpora.common.entry import CorpusEntry, ScanProgress
from extract.corpora.common.inspect_media import inspect_media
from extract.corpora.common.listing import list_some
from extract.corpora.common.ranges import resolve_references
from extract.corpora.common.splits import (
    Split,
    leave_session_out,
    leave_speaker_out,
    session_held_out,
    usable_splits,
)
from extract.corpora.iemocap.facts import (
    FRAMES_PER_SECOND,
    LABEL_SETS,
    SESSIONS,
    TEST_SESSION,
    VALIDATION,
    labels_of,
    notes_of_counts,
)
from extract.corpora.iemocap.release import AnnotatedDialogue, IemocapFiles, read_release, sessions_of
from extract.corpora.iemocap.turns import IemocapTurn

LEFT: Final = (0.0, 0.0, 0.5, 1.0)
RIGHT: Final = (0.5, 0.0, 1.0, 1.0)
TIME_TOLERANCE: Final = 0.01  # seconds by which the two annotated times of a turn may differ


class Switches(Strict):
    """The user's choices for IEMOCAP in params.yaml.

    Attributes:
        order: order of the turns in a dialogue: by `time`, or as in the transcript (`file`). The transcript is not in
            order of time, but published features use its order.
        markers: half of the picture (`left` or `right`) in which the actor with the motion capture markers sits. The
            letter in the dialogue's name (`F` in `Ses01F_impro01`) says who this is. Four public projects use the left
            half; check a clip of every session before a long run.
        video_offset_frames: offset added to the times of the pictures, in frames of 1001/30000 s. One public project
            uses -5.
        beyond_file: a turn that ends after the last picture is cut there (`trim`) or left as annotated (`keep`).
        validation_seed: seed of splits and folds whose validation dialogues are chosen at random.
    """

    order: Literal["time", "file"] = "time"
    markers: Literal["left", "right"] = "left"
    video_offset_frames: int = 0
    beyond_file: Literal["trim", "keep"] = "trim"
    validation_seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class TurnMedia:
    """Finds for a turn its wav file, and its time span and picture half in the video of the dialogue.

    Attributes:
        files: the files of the release.
        switches: the user's choices for IEMOCAP.
        sessions_with_sound: sessions with at least one wav file.
        sessions_with_pictures: sessions with at least one avi file.
    """

    files: IemocapFiles
    switches: Switches
    sessions_with_sound: Set[str]
    sessions_with_pictures: Set[str]

    def sound(self, turn: IemocapTurn, folder: str) -> MediaRef | None:
        """Return a reference to the turn's wav file; None if the whole session has no sound.

        Args:
            turn: the turn.
            folder: folder of the session, to name the path where an absent file should be.
        """
        if turn.session not in self.sessions_with_sound:
            return None
        path = self.files.sounds.get(turn.id)
        return MediaRef(path or f"{folder}sentences/wav/{turn.id[:-5]}/{turn.id}.wav")

    def pictures(self, turn: IemocapTurn, folder: str) -> MediaRef | None:
        """Return a reference to the turn's time span in the dialogue's avi file, cropped to the speaker's half.

        None if the whole session has no pictures.

        Args:
            turn: the turn.
            folder: folder of the session, to name the path where an absent file should be.
        """
        if turn.session not in self.sessions_with_pictures:
            return None
        path = self.files.videos.get(turn.id[:-5]) or f"{folder}dialog/avi/DivX/{turn.id[:-5]}.avi"
        shift = self.switches.video_offset_frames / FRAMES_PER_SECOND
        start, end = (round(max(0.0, time + shift), 4) for time in (turn.start, turn.end))
        wears_markers = turn.speaker[-1] == turn.id[5]
        left = wears_markers == (self.switches.markers == "left")
        return MediaRef(path, start, end, LEFT if left else RIGHT)


def scan(root: Path, switches: Switches, progress: ScanProgress | None = None) -> Manifest:
    """Read a complete or partial copy of IEMOCAP and return its manifest. Each annotated turn becomes an utterance.

    Raises:
        CorpusError: there is no annotation, or it has faults; the error lists them.
    """
    files, dialogues, problems = read_release(root)
    wanted = [files.videos[d.id] for d in dialogues if d.id in files.videos]
    wanted += [files.sounds[t.id] for d in dialogues for t in d.turns if t.id in files.sounds]
    media_facts = inspect_media(root, [*wanted, *files.duplicates, *files.duplicates.values()], progress)
    problems += [*files.notes, *problems_of_copies(files.duplicates, media_facts)]
    media = TurnMedia(files, switches, sessions_of(files.sounds), sessions_of(files.videos))
    problems += notes_of_counts({d.id: d.turns for d in dialogues})
    problems += _notes_of_order(dialogues)
    utterances: list[Utterance] = []
    for dialogue in dialogues:
        problems += _notes_of_transcript(dialogue)
        for index, turn in enumerate(_ordered(dialogue, switches.order)):
            utterance = _utterance(turn, index, dialogue, media)
            video, audio, faults = resolve_references(
                turn.id, utterance.video, utterance.audio, media_facts, switches.beyond_file
            )
            utterances.append(replace(utterance, video=video, audio=audio))
            problems += [*_notes_of_turn(utterance, turn), *faults]
    splits, promises, left_out = _splits(utterances, switches.validation_seed)
    if left_out:
        detail = f"a subset would be empty: {list_some(left_out)}"
        problems.append(Problem(None, "note", "split_not_made", detail))
    return Manifest(
        corpus="iemocap",
        version=f"full release, turns in order of {switches.order}",
        sources={path: digest for d in dialogues for path, digest in d.sources.items()},
        label_sets=LABEL_SETS,
        utterances=tuple(utterances),
        problems=tuple(problems),
        splits=splits,
        promises=promises,
    )


def _ordered(dialogue: AnnotatedDialogue, order: str) -> list[IemocapTurn]:
    by_time = sorted(dialogue.turns, key=lambda turn: (turn.start, turn.end, turn.id))
    if order == "time" or dialogue.transcript is None:
        return by_time
    rank = {name: n for n, name in enumerate(dialogue.transcript.texts)}
    return sorted(by_time, key=lambda turn: rank.get(turn.id, len(rank)))


def _utterance(turn: IemocapTurn, index: int, dialogue: AnnotatedDialogue, media: TurnMedia) -> Utterance:
    spoken = dialogue.transcript.texts.get(turn.id) if dialogue.transcript else None
    return Utterance(
        id=turn.id,
        dialogue=dialogue.id,
        index=index,
        speaker=turn.speaker,
        text=spoken.text or None if spoken else None,
        video=media.pictures(turn, dialogue.place),
        audio=media.sound(turn, dialogue.place),
        labels=labels_of(turn),
        part=turn.session,
    )


def _notes_of_turn(utterance: Utterance, turn: IemocapTurn) -> Iterator[Problem]:
    if utterance.text is None:
        yield Problem(turn.id, "missing", "no_text", "the transcript has no words for this turn")
    if turn.start < 0:
        yield Problem(turn.id, "note", "negative_start", f"{turn.start} s was taken as 0")
    if turn.end <= turn.start:
        yield Problem(turn.id, "note", "ends_before_start", f"{turn.start} s to {turn.end} s")


def _notes_of_transcript(dialogue: AnnotatedDialogue) -> Iterator[Problem]:
    transcript, name = dialogue.transcript, dialogue.id
    if transcript is None:
        return
    if transcript.bad_byte is not None:
        detail = f"{name}: its transcript is not UTF-8 (byte {transcript.bad_byte}) and was read as cp1252"
        yield Problem(None, "note", "not_utf8", detail)
    if transcript.repeated:
        detail = f"{name}: {list_some(transcript.repeated)}; the first line of its transcript counts"
        yield Problem(None, "note", "repeated_line", detail)
    known = {turn.id: turn for turn in dialogue.turns}
    unlabelled = [turn for turn in transcript.texts if turn not in known]
    if unlabelled:
        detail = f"{name}: in the transcript only, left out: {list_some(unlabelled)}"
        yield Problem(None, "note", "turn_without_label", detail)
    for turn, spoken in transcript.texts.items():
        of = known.get(turn)
        if of and max(abs(of.start - spoken.start), abs(of.end - spoken.end)) > TIME_TOLERANCE:
            detail = (
                f"transcript {spoken.start} s to {spoken.end} s, EmoEvaluation {of.start} s to {of.end} s"
            )
            yield Problem(turn, "note", "times_differ", detail)


def _notes_of_order(dialogues: Sequence[AnnotatedDialogue]) -> Iterator[Problem]:
    pairs = [pair for d in dialogues for pair in pairwise(_ordered(d, "file"))]
    earlier = sum(b.start < a.start for a, b in pairs)
    overlap = sum(b.start < a.end for a, b in pairs)
    if overlap:
        detail = f"of {len(pairs)} neighbours in the transcripts {overlap} overlap, {earlier} start before the other"
        yield Problem(None, "note", "turns_overlap", detail)
    fragments = sum(d.fragments for d in dialogues)
    asides = sum(d.transcript.asides for d in dialogues if d.transcript)
    if fragments:
        yield Problem(None, "note", "fragments", f"{fragments} lines with an XX id are no turns")
    if asides:
        yield Problem(None, "note", "asides", f"{asides} lines of the transcripts name no turn")


def _splits(
    utterances: Sequence[Utterance], seed: int
) -> tuple[dict[str, Split], dict[str, tuple[Promise, ...]], list[str]]:
    """Make the splits and folds by session and by speaker.

    A fold by speaker tests on one speaker and validates on the partner, who speaks in the same dialogues. So its
    subsets share no speaker, but they share dialogues.

    Returns:
        Three values: the splits; for each split what its subsets never share; and the names of splits that are left out
        because a subset would be empty.
    """
    dialogues = {u.id: u.dialogue for u in utterances}
    sessions = {u.dialogue: u.part for u in utterances}
    partners = {f"{s}{a}": f"{s}{b}" for s in SESSIONS for a, b in ("FM", "MF")}
    by_dialogue: dict[str, Split] = {
        **session_held_out(dialogues, sessions, TEST_SESSION, "session5", VALIDATION, seed),
        **leave_session_out(dialogues, sessions, seed),
    }
    every = by_dialogue | leave_speaker_out({u.id: u.speaker for u in utterances}, partners)
    made = usable_splits(every)
    promises: dict[str, tuple[Promise, ...]] = {
        name: ("dialogue",) if name in by_dialogue else ("speaker",) for name in made
    }
    return made, promises, [name for name in every if name not in made]


ENTRY: Final = CorpusEntry(
    key="iemocap",
    name="IEMOCAP: Interactive Emotional Dyadic Motion Capture",
    modalities=("text", "audio", "visual"),
    parts=SESSIONS,
    label_sets=LABEL_SETS,
    licence="by signed release form, for research; not to be passed on",
    how_to_get=(
        "sail.usc.edu/iemocap: sign the release form, then unpack IEMOCAP_full_release.tar.gz; "
        "the variant without videos gives text and sound"
    ),
    Switches=Switches,
    scan=scan,
)
