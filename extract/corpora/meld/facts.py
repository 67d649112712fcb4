"""Facts about MELD: its counts, its known defects, and functions that find deviations in its tables."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ercache.manifest import Manifest, Problem
from extract.corpora.common.listing import list_some
from extract.corpora.meld.transcript import TableRow

# Counted on the tables of declare-lab/MELD 2d2011b4. README and paper print one train dialogue more: Dialogue_ID
# 60 does not exist.
COUNTS: Final[Mapping[str, Mapping[str, int]]] = {
    part: dict(zip(("dialogues", "utterances", *names), numbers, strict=True))
    for names in [("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")]
    for part, numbers in {
        "train": (1038, 9989, 4710, 1205, 268, 683, 1743, 271, 1109),
        "dev": (114, 1109, 470, 150, 40, 111, 163, 22, 153),
        "test": (280, 2610, 1256, 281, 50, 208, 402, 68, 345),
    }.items()
}
CLIPS: Final = {"train": 9989, "dev": 1112, "test": 2747}  # *.mp4 files of the release
LONG, SHORT = 20.0, 0.3  # seconds; beyond them a cut is likely to be wrong, or an encoder to refuse it
# Reported by users of the corpus (issues #9 and #30 of its repository, UPC-AIDL-MER); not measured here.
# Names of utterances or of dialogues.
REPORTED: Final = {
    "almost_no_sound": (
        *("dev_dia99_utt3", "dev_dia108_utt5", "train_dia71_utt0", "train_dia179_utt8", "train_dia312_utt9"),
        *("train_dia332_utt1", "train_dia406_utt2", "train_dia523_utt10"),
    ),
    "disturbed_sound": ("train_dia793_utt0", "train_dia164_utt5", "train_dia682_utt1"),
    "text_and_clip_differ": ("train_dia241", "train_dia757_utt7", "train_dia485_utt0"),
}
SAME_MOMENT: Final = ("train_dia12_utt7", "test_dia85_utt0")
_GROUP: Final = re.compile(r"\band\b|/|^(All|Both|The Guys|Everyone)$")
_SENTIMENT: Final = {"neutral": "neutral", "joy": "positive", "surprise": ""}  # surprise may be either


def id_of(part: str, row: TableRow) -> str:
    """Return the id of an utterance, for example `train_dia0_utt3`.

    It contains the subset, because the numbers of dialogues restart in train, dev and test.
    """
    return f"{part}_dia{row.dialogue}_utt{row.utterance}"


def notes_of_part(part: str, rows: Sequence[TableRow]) -> list[Problem]:
    """Return notes on oddities in one of MELD's tables, such as unreadable times or gaps in the numbers.

    Args:
        part: the subset of the table: train, dev or test.
        rows: the rows of the table; they are not changed.
    """
    found = [Problem(id_of(part, row), "note", *note) for row in rows for note in _notes(row)]
    found += [Problem(None, "note", *note) for note in _orders(part, rows)]
    before: dict[int, TableRow] = {}
    for row in sorted(rows, key=lambda r: r.key):
        last = before.get(row.dialogue)
        if last and None not in (last.start, row.start) and (row.start or 0) < (last.start or 0):
            found.append(Problem(id_of(part, row), "note", "starts_before_previous", row.times[0]))
        before[row.dialogue] = row
    return found


def _notes(row: TableRow) -> Iterator[tuple[str, str]]:
    if not row.text:
        yield "empty_text", ""
    for time, seconds in zip(row.times, (row.start, row.end), strict=True):
        if time and seconds is None:
            yield "unreadable_time", time
        elif time and len(time.rpartition(",")[2]) != 3:
            yield "odd_time", f"{time} was read as milliseconds"
    if row.start is not None and row.end is not None:
        seconds = row.end - row.start
        if seconds > LONG:
            yield "long_by_table", f"{seconds:.3f} s"
        elif seconds < SHORT:
            yield "short_by_table", f"{seconds:.3f} s"
    if _GROUP.search(row.speaker):
        yield "group_speaker", f"{row.speaker!r} is kept as one speaker"
    follows = _SENTIMENT.get(row.emotion, "negative")
    if follows and row.sentiment != follows:
        yield "sentiment_differs", f"{row.sentiment} with {row.emotion}"


def _orders(part: str, rows: Sequence[TableRow]) -> Iterator[tuple[str, str]]:
    keys = [row.key for row in rows]
    if keys != sorted(keys):
        yield "not_in_order", f"{part}: rows were put in order of Dialogue_ID and Utterance_ID"
    ids: dict[int, list[int]] = defaultdict(list)
    for dialogue, utterance in keys:
        ids[dialogue].append(utterance)
    holes = {d: max(u) + 1 - len(u) for d, u in ids.items() if max(u) + 1 != len(u)}
    if holes:
        names = list_some(f"dia{d}" for d in sorted(holes))
        yield (
            "holes_in_ids",
            f"{part}: {len(holes)} dialogues lack {sum(holes.values())} Utterance_IDs: {names}",
        )
    lacking = sorted(set(range(max(ids) + 1)) - set(ids))
    if lacking:
        yield "holes_in_ids", f"{part}: no dialogue has Dialogue_ID {list_some(map(str, lacking))}"


def notes_of_corpus(manifest: Manifest, clips: Mapping[str, int]) -> list[Problem]:
    """Return notes on differences between a scanned corpus and the MELD release, and on known defects.

    Args:
        manifest: the manifest of the scanned corpus.
        clips: train, dev or test -> number of its *.mp4 files; subsets without clips are left out.
    """
    found = [Problem(None, "note", "count_differs", line) for line in _differences(manifest, clips)]
    trained = {u.text for u in manifest.of_part("train")}
    shared = sum(u.text in trained for u in manifest.of_part("test"))
    if shared:
        found.append(Problem(None, "note", "text_in_train_and_test", f"{shared} rows of test", shared))
    if {u.id for u in manifest.utterances} >= set(SAME_MOMENT):
        found.append(Problem(SAME_MOMENT[1], "note", "same_moment", f"as {SAME_MOMENT[0]}"))
    for reason, names in REPORTED.items():
        named = [u for u in manifest.utterances if u.id in names or u.dialogue in names]
        seen = [u.id for u in named if u.video is not None and u.video.sha256]
        found += [Problem(i, "note", reason, "reported by users of the corpus") for i in seen]
    return found


def _differences(manifest: Manifest, clips: Mapping[str, int]) -> Iterator[str]:
    for part, expected in COUNTS.items():
        rows = manifest.of_part(part)
        count = Counter(u.labels["emotion7"] for u in rows)
        found = {"dialogues": len({u.dialogue for u in rows}), "utterances": len(rows)}
        for what, number in expected.items():
            here = found.get(what, count[what])
            if here != number:
                yield f"{part}: {here} {what}, the release has {number}"
        if part in clips and clips[part] != CLIPS[part]:
            yield f"{part}: {clips[part]} *.mp4 files, the release has {CLIPS[part]}"
