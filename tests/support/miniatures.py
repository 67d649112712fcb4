"""Miniatures of the corpora in their published layouts: the demo's clips in the codecs and sizes of each corpus."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import imageio_ffmpeg

from tests.support.iemocap_tree import make_media, write_release

BROKEN_BYTES: Final = 2000  # smaller files of the demo are there to be refused
CREMAD: Final = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
MOSEI_VIDEOS: Final = {"81406": "train", "-3g5yACwYnA": "train", "v2": "train", "_x": "valid", "v4": "test"}
RATED: Final = "Input.VIDEO_ID,Input.CLIP,Answer.sentiment,Answer.happiness,Answer.sadness,Answer.anger"
RATED_MORE: Final = ",Answer.surprise,Answer.disgust,Answer.fear"


def _clips(demo: Path, count: int) -> list[Path]:
    paths = sorted((demo / "train_splits").glob("dia0_*.mp4")) + sorted(
        (demo / "train_splits").glob("dia1_*.mp4")
    )
    return [path for path in paths if path.stat().st_size > BROKEN_BYTES][:count]


def _encode(source: Path, target: Path, *options: str) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-y",
        "-i",
        f"file:{source}",
        *options,
        f"file:{target}",
    ]
    subprocess.run(command, check=True)
    return target


def meld(demo: Path, root: Path) -> Path:
    """The demo itself: its layout, its codecs and its slips are those of MELD."""
    return demo


def ravdess(demo: Path, root: Path) -> Path:
    """Speech of 24 actors in three modalities, one emotion each: H.264 of 1280 x 720 at 29.97 fps, wav of 48 kHz."""
    made = root.with_name("ravdess-media")
    scale = (
        "-vf",
        "scale=1280:720",
        "-r",
        "30000/1001",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-c:a",
        "aac",
    )
    for n, clip in enumerate(_clips(demo, 4)):
        _encode(clip, made / f"{n}.mp4", *scale)
        _encode(clip, made / f"{n}.wav", "-vn", "-ar", "48000", "-ac", "1")
    for actor in range(1, 25):
        take = f"01-{(actor - 1) % 8 + 1:02}-01-01-01-{actor:02}"
        folder = root / f"Actor_{actor:02}"
        folder.mkdir(parents=True)
        shutil.copy(made / f"{actor % 4}.mp4", folder / f"01-{take}.mp4")
        shutil.copy(made / f"{actor % 4}.mp4", folder / f"02-{take}.mp4")
        shutil.copy(made / f"{actor % 4}.wav", folder / f"03-{take}.wav")
    return root


def cremad(demo: Path, root: Path) -> Path:
    """Fifteen actors with two clips each: flv of 480 x 360 at 29.97 fps with mp3, and wav of 16 kHz."""
    made = root.with_name("cremad-media")
    flv = ("-vf", "scale=480:360", "-r", "30000/1001", "-c:v", "flv1", "-c:a", "libmp3lame", "-ar", "44100")
    for n, clip in enumerate(_clips(demo, 4)):
        _encode(clip, made / f"{n}.flv", *flv)
        _encode(clip, made / f"{n}.wav", "-vn", "-ar", "16000", "-ac", "1")
    for folder in ("VideoFlash", "AudioWAV"):
        (root / folder).mkdir(parents=True)
    for actor in range(1001, 1016):
        for n in range(2):
            stem = f"{actor}_DFA_{CREMAD[(actor + n) % len(CREMAD)]}_XX"
            shutil.copy(made / f"{(actor + n) % 4}.flv", root / "VideoFlash" / f"{stem}.flv")
            shutil.copy(made / f"{(actor + n) % 4}.wav", root / "AudioWAV" / f"{stem}.wav")
    return root


def mosei(demo: Path, root: Path) -> Path:
    """Five recordings with three rated segments each, with the folds of the SDK."""
    rows = [RATED + RATED_MORE]
    clip = _clips(demo, 1)[0]
    long = _encode(
        clip, root.with_name("mosei-media") / "long.mp4", "-vf", "loop=loop=200:size=100", "-t", "9"
    )
    for n, video in enumerate(MOSEI_VIDEOS):
        lines = [f"{video}___{i}___{i * 3.0}___{i * 3.0 + 3.0}___this is sentence {i}" for i in range(3)]
        _write(root / "Raw/Transcript/Segmented/Combined" / f"{video}.txt", "\n".join(lines))
        for i in range(3):
            marks = ["2" if (n + i) % 6 == emotion else "0" for emotion in range(6)]
            rows.append(f"{video},{i},{i - 1},{','.join(marks)}")
        target = root / "Raw/Videos/Full/Combined" / f"{video}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(long, target)
    _write(root / "Raw/Labels/rated.csv", "\n".join(rows))
    folds = {
        part: [v for v, place in MOSEI_VIDEOS.items() if place == part] for part in ("train", "valid", "test")
    }
    _write(
        root / "cmu_mosei_std_folds.py", "".join(f"standard_{p}_fold={ids!r}\n" for p, ids in folds.items())
    )
    return root


def iemocap(demo: Path, root: Path) -> Path:
    """Five sessions with two dialogues each, two actors in a picture."""
    root.mkdir(parents=True)
    return write_release(root, make_media(root.with_name("iemocap-media")))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


MINIATURES: Final[dict[str, Callable[[Path, Path], Path]]] = {
    "meld": meld,
    "iemocap": iemocap,
    "mosei": mosei,
    "ravdess": ravdess,
    "cremad": cremad,
}
