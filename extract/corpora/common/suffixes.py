"""The file suffixes that ercache can read, for each media container that FFmpeg may open.

FORMATS in extract/media/container.py lists the allowed containers, CONTAINERS lists the file suffixes of each.
Playlists, image sequences and single pictures are not supported.
"""

from collections.abc import Mapping
from typing import Final

from extract.media.container import FORMATS

# Demuxer -> suffixes of files with pictures, suffixes of files with only sound. They follow common use: FFmpeg's own
# lists lack half of them (mpegts, asf, wav and others have none).
CONTAINERS: Final[Mapping[str, tuple[str, str]]] = {
    "mov": ("mp4 m4v mov qt 3gp 3g2 f4v mj2 ismv", "m4a m4b m4r 3ga f4a isma"),
    "mp4": ("mp4 m4v", "m4a"),  # another name of the same demuxer, as webm is of matroska
    "matroska": ("mkv mk3d webm", "mka weba"),
    "webm": ("webm", "weba"),
    "avi": ("avi divx", ""),
    "flv": ("flv", ""),
    "asf": ("asf wmv", "wma"),
    "mpeg": ("mpg mpeg mpe vob mod tod", ""),
    "mpegts": ("ts mts m2ts m2t trp tp", ""),
    "mpegvideo": ("m1v m2v mpv", ""),
    "m4v": ("m4v", ""),
    "dv": ("dv dif", ""),
    "nut": ("nut", ""),
    "mxf": ("mxf", ""),
    "rm": ("rm rmvb", "ra"),
    "yuv4mpegpipe": ("y4m", ""),
    "ogg": ("ogv ogm ogx", "ogg oga opus spx"),
    "wav": ("", "wav wave bwf rf64"),
    "w64": ("", "w64"),
    "nistsphere": ("", "sph nist"),
    "mp3": ("", "mp3 mp2 mpa m2a"),
    "flac": ("", "flac"),
    "aac": ("", "aac adts"),
    "ac3": ("", "ac3"),
    "eac3": ("", "eac3 ec3"),
    "dts": ("", "dts"),
    "truehd": ("", "thd"),
    "amr": ("", "amr awb"),
    "aiff": ("", "aif aiff aifc afc"),
    "au": ("", "au snd"),
    "caf": ("", "caf"),
    "wv": ("", "wv"),
    "ape": ("", "ape"),
    "tta": ("", "tta"),
    "voc": ("", "voc"),
}


def _of(kind: int) -> frozenset[str]:
    return frozenset(s for name in FORMATS.split(",") for s in CONTAINERS.get(name, ("", ""))[kind].split())


VIDEO_SUFFIXES: Final = _of(0)
AUDIO_SUFFIXES: Final = _of(1)


def suffix_of(path: str) -> str:
    """Return the suffix of a file name in lower case, such as `mp4`; an empty text if the name has no dot."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return suffix.lower() if dot else ""


def stem_of(path: str) -> str:
    """Return a path without its suffix: `clips/a` for `clips/a.mp4`."""
    return path[: -len(suffix_of(path)) - 1] if suffix_of(path) else path


def is_medium(path: str) -> bool:
    """Return whether a file's suffix is that of a media file that ercache can read."""
    return suffix_of(path) in VIDEO_SUFFIXES or suffix_of(path) in AUDIO_SUFFIXES
