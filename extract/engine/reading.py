"""Reading the media of a shard: which files, which stretches of them, and whether they are what was scanned."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ercache.digests import digest_of_file
from ercache.manifest import MediaRef
from ercache.params import Limits
from ercache.reasons import Missing, Reason
from extract.encoders.base import FloatArray, Frame, Pictures
from extract.engine.plan import Feature, Shard
from extract.media import Clip, Stretch, nothing, read_stretches
from extract.probe import check_file


@dataclass
class Inputs:
    """What was read for one row of a shard; a modality may have a fault instead.

    Attributes:
        faults: modality -> why it cannot be had.
    """

    pictures: dict[Pictures, tuple[Frame, ...]] = field(default_factory=dict)
    sounds: dict[int, FloatArray] = field(default_factory=dict)
    faults: dict[str, Missing] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length of what was read. n pictures lie at the centres of n equal stretches."""
        sounds = [len(sound) / rate for rate, sound in self.sounds.items()]
        pictures = [
            (frames[-1].time - frames[0].time) * len(frames) / (len(frames) - 1)
            for frames in self.pictures.values()
            if len(frames) > 1
        ]
        return max([0.0, *sounds, *pictures])


@dataclass(frozen=True)
class FileJob:
    """A file, its stretches, and the rows and modalities that each is for."""

    path: str
    sha256: str | None
    stretches: tuple[Stretch, ...]
    uses: tuple[tuple[int, frozenset[str]], ...]


def file_jobs(
    shard: Shard, rows: Mapping[str, tuple[int, ...]], features: Mapping[str, Feature]
) -> list[FileJob]:
    """The files to read, in order of their first row; pictures and sound of one stretch are read together."""
    wanted: dict[tuple[str, str | None], dict[tuple[int, MediaRef], Stretch]] = {}
    modalities: dict[tuple[int, MediaRef], set[str]] = {}
    for n, source in enumerate(shard):
        asking = [features[name] for name, numbers in rows.items() if n in numbers]
        pictures = [k for f in asking for k in pictures_of(f)]
        rates = [f.input.rate for f in asking if f.input.rate]
        for modality, ref, stretch in _stretches(source.video, source.audio, pictures, rates):
            of_file = wanted.setdefault((ref.path, ref.sha256), {})
            key = next((k for k in of_file if k[0] == n and _together(k[1], ref)), (n, ref))
            modalities.setdefault(key, set()).add(modality)
            before = of_file.get(key)
            of_file[key] = _joined(before, stretch) if before else stretch
    return [
        FileJob(
            path, sha256, tuple(of_file.values()), tuple((k[0], frozenset(modalities[k])) for k in of_file)
        )
        for (path, sha256), of_file in wanted.items()
    ]


def pictures_of(feature: Feature) -> list[Pictures]:
    """The kinds of pictures that a feature needs, those for the grid of its tracking policy included."""
    kind = feature.input.pictures
    if kind is None:
        return []
    every = feature.faces.every if feature.faces else None
    return [kind] if every is None else [kind, Pictures(every=every, side=kind.side)]


def read_file(root: Path, job: FileJob, limits: Limits) -> list[Clip]:
    """Read a file as asked; every fault of the data is a result."""
    try:
        path = scanned_file(root, MediaRef(job.path, sha256=job.sha256))
        return read_stretches(path, job.stretches, limits)
    except Missing as missing:
        return [nothing(s, missing) for s in job.stretches]
    except MemoryError as error:
        return [nothing(s, Missing(Reason.OUT_OF_MEMORY, str(error))) for s in job.stretches]
    except OSError as error:
        return [nothing(s, Missing(Reason.CHANGED, _words(error))) for s in job.stretches]


def share(job: FileJob, clips: list[Clip], inputs: Mapping[int, Inputs]) -> None:
    """Give what a file held to the rows that it is for."""
    for (row, modalities), clip in zip(job.uses, clips, strict=True):
        mine = inputs[row]
        if "visual" in modalities:
            mine.pictures |= clip.pictures
            if clip.no_pictures is not None:
                mine.faults["visual"] = clip.no_pictures
        if "audio" in modalities:
            mine.sounds |= clip.sounds
            if clip.no_sound is not None:
                mine.faults["audio"] = clip.no_sound


def scanned_file(root: Path, ref: MediaRef) -> Path:
    """The file that the scan saw; if it is not there any more, that is a fault of this run, not of the data.

    Raises:
        Missing: with `CHANGED`, which is tried again.
    """
    try:
        path = check_file(root, ref)
        facts = path.stat()
        same = _digest(path, facts.st_size, facts.st_mtime_ns, facts.st_ino) == ref.sha256
    except Missing as missing:
        if missing.reason in (Reason.EMPTY_FILE, Reason.GIT_LFS_POINTER):
            same = digest_of_file(root / ref.path) == ref.sha256
            if same:
                raise
        raise Missing(Reason.CHANGED, f"{missing.reason.value}: {missing.detail}") from missing
    if not same:
        raise Missing(Reason.CHANGED, "its sha256 is not the one in the manifest")
    return path


@functools.lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> str:
    """Digest of a file, taken once for the shards that read it one after the other."""
    return digest_of_file(path)


def _stretches(
    video: MediaRef | None, audio: MediaRef | None, pictures: list[Pictures], rates: list[int]
) -> list[tuple[str, MediaRef, Stretch]]:
    found = []
    if video is not None and pictures:
        found.append(("visual", video, Stretch(video, pictures=tuple(dict.fromkeys(pictures)))))
    if audio is not None and rates:
        found.append(("audio", audio, Stretch(audio, rates=tuple(sorted(set(rates))))))
    return found


def _together(a: MediaRef, b: MediaRef) -> bool:
    """Whether two references name one stretch; the crop concerns pictures alone."""
    return (a.start, a.end) == (b.start, b.end)


def _joined(pictures: Stretch, sound: Stretch) -> Stretch:
    return Stretch(pictures.ref, pictures.pictures, sound.rates)


def _words(error: OSError) -> str:
    """What the system says, without the machine's paths."""
    return error.strerror or type(error).__name__
