"""A miniature of IEMOCAP in the exact folder layout of the release, with small real media; helpers to check scans."""

import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from skimage import data

from ercache.errors import CorpusError
from ercache.manifest import Manifest, MediaRef, Utterance
from extract.corpora import CORPORA
from extract.corpora.iemocap.facts import COUNTS, FOUR_BY_SPEAKER, HAPPY_IN_PUBLISHED
from extract.corpora.iemocap.turns import CODES

ENTRY = CORPORA["iemocap"]
IMPRO, SCRIPT = "Ses01F_impro01", "Ses01M_script01_1"

SECONDS = 9.0  # of each dialogue
WIDTH, HEIGHT = 720, 480


@dataclass(frozen=True)
class Line:
    """A turn as the annotation of IEMOCAP writes it.

    Attributes:
        name: name of the turn in its dialogue, such as `F000`.
        start, end: seconds.
        label: code of the majority label, such as `neu`.
        text: transcript; None if there is none.
        votes: categories that the raters chose.
        own: categories that the actor chose.
    """

    name: str
    start: float
    end: float
    label: str
    text: str | None = "Excuse me."
    votes: Sequence[str] = ("Neutral",)
    own: Sequence[str] = ("Neutral",)


def dialogue(labels: str, first: str = "F") -> list[Line]:
    """Make a dialogue: turns of one second by alternating actors, with the given labels (codes separated by blanks)."""
    letters = [first, "M" if first == "F" else "F"]
    return [
        Line(f"{letters[n % 2]}{n // 2:03d}", 0.5 + n, 1.5 + n, label, f"Line {n}.")
        for n, label in enumerate(labels.split())
    ]


# Two dialogues a session; every session has every class of the set of six.
DIALOGUES: Mapping[str, Sequence[Line]] = {
    name: lines
    for session in range(1, 6)
    for name, lines in {
        f"Ses0{session}F_impro01": dialogue("hap sad neu ang exc xxx"),
        f"Ses0{session}M_script01_1": dialogue("fru hap sad neu ang exc fru", "M"),
    }.items()
}


PAIR = {IMPRO: DIALOGUES[IMPRO], SCRIPT: DIALOGUES[SCRIPT]}


def evaluation(name: str, lines: Sequence[Line]) -> str:
    """Write the text of an EmoEvaluation file."""
    text = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
    for line in lines:
        text += f"[{line.start:.4f} - {line.end:.4f}]\t{name}_{line.name}\t{line.label}\t[2.5000, 2.5000, 2.5000]\n"
        text += "".join(f"C-E{n}:\t{categories};\t()\n" for n, categories in enumerate(line.votes, 2))
        text += f"C-{line.name[0]}1:\t{'; '.join(line.own)};\t()\n"
        text += "A-E3:\tval 3; act 2; dom  2;\t()\nA-E4:\tval 2; act 3; dom  ;\t()\n\n"
    return text


def transcript(name: str, lines: Sequence[Line]) -> str:
    """Write the text of a transcript, with an aside and a fragment as in the release."""
    spoken = [x for x in lines if x.text is not None]
    text = "".join(f"{name}_{x.name} [{x.start:08.4f}-{x.end:08.4f}]: {x.text}\n" for x in spoken)
    return f"{text}{name}_MXX0 [{SECONDS:08.4f}-{SECONDS + 1:08.4f}]: Hm.\nF: [LAUGHTER]\n"


def write_annotation(root: Path, dialogues: Mapping[str, Sequence[Line]] = DIALOGUES) -> Path:
    """Write the text files of a release (evaluations and transcripts)."""
    for name, lines in dialogues.items():
        dialog = root / f"Session{name[4]}" / "dialog"
        for folder in ("EmoEvaluation/Categorical", "transcriptions"):
            (dialog / folder).mkdir(parents=True, exist_ok=True)
        (dialog / "EmoEvaluation" / f"{name}.txt").write_text(evaluation(name, lines))
        (dialog / "EmoEvaluation" / "Categorical" / f"{name}_e2_cat.txt").write_text(
            f"{name}_F000 :Neutral state; ()\n"
        )
        (dialog / "transcriptions" / f"{name}.txt").write_text(transcript(name, lines))
    return root


def write_release(
    root: Path, media: Path, dialogues: Mapping[str, Sequence[Line]] = DIALOGUES, litter: bool = True
) -> Path:
    """Write a whole release. Its media files are hard links to files that were made once.

    Args:
        media: folder that `make_media` filled.
        litter: whether to put a `._` file of macOS beside every file.
    """
    write_annotation(root, dialogues)
    (root / "README.txt").write_text("IEMOCAP\n")
    (root / "Documentation").mkdir()
    for name, lines in dialogues.items():
        session = root / f"Session{name[4]}"
        for folder in ("dialog/avi/DivX", "dialog/wav", "dialog/lab", f"sentences/wav/{name}"):
            (session / folder).mkdir(parents=True, exist_ok=True)
        os.link(media / "dialogue.avi", session / "dialog" / "avi" / "DivX" / f"{name}.avi")
        os.link(media / "dialogue.wav", session / "dialog" / "wav" / f"{name}.wav")
        for line in lines:
            source = media / f"turn{int(line.name[1:]) * 2 + (line.name[0] == 'M')}.wav"
            os.link(source, session / "sentences" / "wav" / name / f"{name}_{line.name}.wav")
    if litter:
        for path in [p for p in root.rglob("*") if p.is_file()]:
            path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07 Mac OS X")
    return root


def make_media(folder: Path) -> Path:
    """Make the media of the miniature: `dialogue.avi`, `dialogue.wav` (two channels), and `turn0.wav`, `turn1.wav`, ...

    The avi has a face in the left half only. Its format is that of the release: 720 x 480, 30000/1001 pictures a
    second, MPEG-4 with the tag of DivX, PCM.
    """
    folder.mkdir(parents=True, exist_ok=True)
    picture = np.full((HEIGHT, WIDTH, 3), 110, np.uint8)
    picture[112:368, 60:316] = data.astronaut()[:256, 100:356]  # type: ignore[no-untyped-call]
    still = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}", "-r", "30000/1001")
    tone = ("-f", "lavfi", "-i", f"sine=r=16000:d={SECONDS}")
    loop = ("-vf", "loop=loop=-1:size=1", "-t", str(SECONDS))
    divx = ("-c:v", "mpeg4", "-q:v", "3", "-vtag", "DIVX", "-bf", "0", "-c:a", "pcm_s16le")
    _run(*still, "-i", "-", *tone, *loop, *divx, str(folder / "dialogue.avi"), data=picture.tobytes())
    _run(*tone, "-ac", "2", str(folder / "dialogue.wav"))
    for n in range(14):
        sine = ("-f", "lavfi", "-i", f"sine=f={200 + 40 * n}:r=16000:d=1")
        _run(*sine, "-ac", "1", str(folder / f"turn{n}.wav"))
    return folder


def _run(*args: str, data: bytes = b"") -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *args], input=data, check=True)


def official() -> Iterator[tuple[str, list[Line]]]:
    """Make dialogues that have the published counts of IEMOCAP.

    They have the release's names and its numbers of turns and labels per session, and of 4-way labels per speaker.
    """
    for session, counts in COUNTS.items():
        left = Counter({code: counts[code] for code in CODES})
        turns: list[tuple[str, str]] = []
        for letter in "FM":
            ang, merged, neu, sad = FOUR_BY_SPEAKER[session + letter]
            hap = min(merged, left["hap"])
            taken = Counter({"ang": ang, "hap": hap, "exc": merged - hap, "neu": neu, "sad": sad})
            left -= taken
            turns += [(letter, code) for code in taken.elements()]
        turns += [("F", code) for code in left.elements()]
        happy = HAPPY_IN_PUBLISHED[session]
        names = _names(session)
        assert len(names) == counts["dialogues"]
        for d, name in enumerate(names):
            lines = []
            for n, (letter, code) in enumerate(turns[d :: len(names)]):
                own, votes = (("Neutral",), ("Neutral",))
                if code == "xxx" and happy:
                    own, votes, happy = ("Happiness",), ("Happiness",), happy - 1
                lines.append(Line(f"{letter}{n:03d}", n, n + 1, code, "Hm.", votes, own))
            yield name, lines


def _names(session: str) -> list[str]:
    scripts = ["01_1", "01_2", "01_3", "02_1", "02_2", "03_1", "03_2"]
    number = {"Ses01": 7}.get(session, 8)
    names = [f"{session}{a}_script{s}" for a in "FM" for s in scripts]
    names += [f"{session}{a}_impro{n:02d}" for a in "FM" for n in range(1, number + 1)]
    if session == "Ses03":
        names = [n for n in names if n not in ("Ses03M_impro05", "Ses03M_impro08")]
        names += [f"Ses03M_impro{n}{x}" for n in ("05", "08") for x in "ab"]
    return [*names, "Ses05M_script01_1b"] if session == "Ses05" else names


def scan(root: Path, **switches: Any) -> Manifest:
    """Scan a release and return its manifest."""
    return ENTRY.scan(root, ENTRY.Switches(**switches))


def told(manifest: Manifest, reason: str) -> list[str]:
    """Utterances that have a problem with this reason. For a problem of the whole corpus, its details."""
    return [p.utterance or p.detail for p in manifest.problems if p.reason == reason]


def one(manifest: Manifest, name: str) -> Utterance:
    """The utterance with this id."""
    (found,) = [u for u in manifest.utterances if u.id == name]
    return found


def refused(root: Path) -> str:
    """Scan a release that must be refused. Return the message for the user."""
    with pytest.raises(CorpusError) as caught:
        scan(root)
    assert caught.value.exit_code == 2
    return str(caught.value)


def video_of(manifest: Manifest, name: str) -> MediaRef:
    """The video reference of the utterance with this id."""
    video = one(manifest, name).video
    assert video is not None
    return video
