"""Read or inspect files whose names say which call of a media library fails, and print what happens to each file."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Missing
from extract.corpora.common.inspect_media import inspect_media
from extract.media import Span, read_spans
from extract.media.types import PictureRequest

KIND = PictureRequest(3)
RATE = 8_000  # not the files' own


def surveyed(root: Path) -> dict[str, Any]:
    """Inspect every file in a folder. Return the facts found about its media, by file name."""
    return {name: asdict(seen) for name, seen in inspect_media(root, names(root)).items()}


def read(root: Path) -> dict[str, Any]:
    """Read pictures and sound of every file in a folder. Return the result, or the exception as text, by file name."""
    return {name: _read(root / name) for name in names(root)}


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def _read(path: Path) -> Any:
    stretch = Span(MediaRef(path.name), (KIND,), (RATE,))
    try:
        (clip,) = read_spans(path, [stretch], Limits(seconds=20))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    pictures = [float(np.mean(frame.image)) for frame in clip.pictures.get(KIND, ())]
    sound = clip.sounds.get(RATE, np.empty(0, np.float32))
    return {
        "pictures": [round(grey) for grey in pictures],
        "sound": [len(sound), round(float(np.square(sound).mean()), 3) if len(sound) else 0],
        "no_pictures": _told(clip.no_pictures),
        "no_sound": _told(clip.no_sound),
    }


def _told(missing: Missing | None) -> list[str] | None:
    return missing and [missing.reason.value, missing.reason.status.value, missing.detail]


if __name__ == "__main__":
    done = {"survey": surveyed, "read": read}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(done))
