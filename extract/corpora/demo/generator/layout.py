"""The files of the demo corpus: MELD's folders, clip names and csv files, and the description file `demo.json`."""

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from ercache.errors import UsageError
from extract.corpora.demo.generator.cast import CAST
from extract.corpora.demo.generator.channels import EMOTIONS
from extract.corpora.demo.generator.story import Broken, Part, Size, StoryLine

VERSION: Final = 1  # raise it whenever the same seed gives other files
NOTE: Final = "demo.json"
FOLDERS: Final[dict[Part, str]] = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
COLUMNS: Final = (
    "Sr No.",
    "Utterance",
    "Speaker",
    "Emotion",
    "Sentiment",
    "Dialogue_ID",
    "Utterance_ID",
    "Season",
    "Episode",
    "StartTime",
    "EndTime",
)
_SENTIMENT: Final = {"neutral": "neutral", "joy": "positive"}


@dataclass(frozen=True)
class DemoNote:
    """Content of `demo.json`, which describes a demo corpus and says whether it is complete.

    The file is written twice: at the start with `complete` false, and at the end with `complete` true.

    Attributes:
        seed, size, version: what the corpus was generated from: random seed, `tiny` or `full`, generator version.
        utterances: number of utterances.
        seconds: duration of all clips together.
        broken: the deliberately broken clips, each with its id, kind and description.
    """

    seed: int
    size: Size
    version: int
    complete: bool
    utterances: int
    seconds: float
    broken: list[dict[str, str]]


def csv_path(directory: Path, part: Part) -> Path:
    """Return the path of the csv table of a subset (train, dev or test), for example `train_sent_emo.csv`."""
    return directory / f"{part}_sent_emo.csv"


def clip_path(directory: Path, part: Part, dialogue: int, utterance: int) -> Path:
    """Return the path of an utterance's video clip in MELD's folders, for example `train_splits/dia0_utt3.mp4`."""
    return directory / FOLDERS[part] / f"dia{dialogue}_utt{utterance}.mp4"


def broken_notes(broken: Sequence[Broken]) -> list[dict[str, str]]:
    """Return the list `broken` of `demo.json`: a dict with id, kind and description for each broken clip."""
    return [
        {"id": f"{b.part}_dia{b.dialogue}_utt{b.utterance}", "kind": b.kind, "how": b.how} for b in broken
    ]


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it at the end, so that it is never incomplete."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(text.encode())
    os.replace(temporary, path)


def write_note(directory: Path, note: DemoNote) -> None:
    """Write the description of a demo corpus to `demo.json` in its directory."""
    write_text(directory / NOTE, json.dumps(asdict(note), indent=2, sort_keys=True) + "\n")


def read_note(directory: Path, seed: int, size: Size) -> DemoNote | None:
    """Return the content of `demo.json` in the directory; None if the directory is absent or empty.

    Raises:
        UsageError: the path is a file, or the directory holds other files or a demo corpus of another seed, size or
            generator version.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return None
    if not directory.is_dir():
        raise UsageError(f"demo: {directory} is a file", hint="give the path of a new or empty directory")
    try:
        found: dict[str, Any] = json.loads((directory / NOTE).read_bytes())
        note = DemoNote(**found)
    except (OSError, ValueError, TypeError):
        raise UsageError(
            f"demo: {directory} is not empty and not a demo corpus (no readable {NOTE})",
            hint="give an empty or a new directory",
        ) from None
    if (note.seed, note.size, note.version) != (seed, size, VERSION):
        raise UsageError(
            f"demo: {directory} holds a demo corpus of seed {note.seed}, size {note.size}, generator version "
            f"{note.version}; requested: seed {seed}, size {size}, version {VERSION}",
            hint="give another directory, or delete this one to generate the corpus anew",
        )
    return note


def _timestamp(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d},{rest:03d}"


def _sentiment(emotion: str, rng: Random) -> str:
    if emotion == "surprise":  # MELD's raters split surprise about evenly
        return "positive" if rng.random() < 0.5 else "negative"
    return _SENTIMENT.get(emotion, "negative")


def table(
    part: Part, seed: int, lines: Sequence[StoryLine], texts: Sequence[str], durations: Sequence[float]
) -> str:
    """Return the text of the csv table of a subset, in MELD's format.

    Args:
        part: the subset: train, dev or test.
        seed: seed of the corpus.
        lines: all utterances of the subset in order.
        texts: transcripts of these utterances.
        durations: durations of their clips, seconds.
    """
    rng = Random(f"table/{seed}/{part}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    clock = 0
    for number, (line, words, seconds) in enumerate(zip(lines, texts, durations, strict=True), start=1):
        if line.utterance == 0:
            clock = 60_000 + int(rng.random() * 1_200_000)
        emotion = EMOTIONS[line.emotion]
        start, end = clock, clock + round(seconds * 1000)
        clock = end + 80 + int(rng.random() * 600)
        row = [number, words, CAST[line.speaker].name, emotion, _sentiment(emotion, rng)]
        row += [line.dialogue, line.utterance, 1, 1 + line.dialogue % 8, _timestamp(start), _timestamp(end)]
        writer.writerow(row)
    return text.getvalue()


def readme(seed: int, size: Size, broken: Sequence[Broken]) -> str:
    """Return the text of the demo corpus' `README.txt`: how it was made, and which clips are broken deliberately."""
    spoiled = "; ".join(f"{FOLDERS[b.part]}/dia{b.dialogue}_utt{b.utterance}.mp4 ({b.how})" for b in broken)
    return (
        f"This conversation corpus was made by `ercache demo` (seed {seed}, size {size}, generator version "
        f"{VERSION}) in the layout of MELD: drawn people, synthetic speech, and sentences from a grammar. "
        "Nobody in it exists. "
        f"These clips are broken on purpose: {spoiled}.\n"
    )
