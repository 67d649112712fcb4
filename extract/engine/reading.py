"""The media of a shard: which files, which stretches of them, and what each row gets of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Missing
from extract.engine.plan import Feature, Shard, Source
from extract.media import Clip, Stretch
from extract.media.scanned import Request
from extract.media.types import FloatArray, Frame, Pictures


@dataclass
class Inputs:
    """What was read for one row of a shard; a modality may have a fault instead.

    Attributes:
        faults: modality -> why it cannot be had.
        notes: as in a clip.
        neighbours: place in the dialogue, counted from the row's own -> what was read of that neighbour.
    """

    pictures: dict[Pictures, tuple[Frame, ...]] = field(default_factory=dict)
    sounds: dict[int, FloatArray] = field(default_factory=dict)
    faults: dict[str, Missing] = field(default_factory=dict)
    notes: dict[Pictures | str, str] = field(default_factory=dict)
    neighbours: dict[int, "Inputs"] = field(default_factory=dict)

    def at(self, place: int) -> "Inputs":
        """The row's own at place 0, a neighbour's elsewhere."""
        return self if place == 0 else self.neighbours.setdefault(place, Inputs())

    def note_of(self, feature: Feature) -> str:
        """What is less, or other, than a feature asks for; empty when nothing is."""
        what: list[Pictures | str] = ["audio"]
        if feature.spec.modality != "audio":
            what = ["visual", *dict.fromkeys(pictures_of(feature))]
        return "; ".join(self.notes[which] for which in what if which in self.notes)

    def nbytes(self, feature: Feature) -> int:
        """Memory of what is read of it for a feature, neighbours not counted: the same whatever else is read."""
        rate = feature.input.rate
        sound = self.sounds[rate].nbytes if rate in self.sounds else 0
        frames = [frame for kind in set(pictures_of(feature)) for frame in self.pictures.get(kind, ())]
        return sound + sum(frame.image.nbytes for frame in frames)

    def forget(self, modality: str) -> None:
        """Let go of what was read for a modality."""
        if modality == "visual":
            self.pictures = {}
        if modality == "audio":
            self.sounds = {}
        for neighbour in self.neighbours.values():
            neighbour.forget(modality)

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


Key = tuple[int, int, MediaRef]  # row, place, stretch


@dataclass(frozen=True)
class Use:
    """What a stretch is read for: a row of the shard or one of its neighbours, and which modalities of it."""

    row: int
    place: int
    modalities: frozenset[str]


@dataclass(frozen=True)
class FileJob:
    """A file, its stretches, and what each is for."""

    path: str
    sha256: str | None
    stretches: tuple[Stretch, ...]
    uses: tuple[Use, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the shard that need the file."""
        return tuple(dict.fromkeys(use.row for use in self.uses))

    def request(self, root: Path, limits: Limits) -> Request:
        """What a reader is asked for."""
        return Request(root, self.path, self.sha256, self.stretches, limits)


def file_jobs(
    shard: Shard, rows: Mapping[str, tuple[int, ...]], features: Mapping[str, Feature]
) -> list[FileJob]:
    """The files to read, in order of their first row; pictures and sound of one stretch are read together."""
    wanted: dict[tuple[str, str | None], dict[Key, Stretch]] = {}
    modalities: dict[Key, set[str]] = {}
    for row, place, source, asking in _turns(shard, rows, features):
        pictures = [k for f in asking for k in pictures_of(f)]
        rates = [f.input.rate for f in asking if f.input.rate]
        for modality, ref, stretch in _stretches(source.video, source.audio, pictures, rates):
            of_file = wanted.setdefault((ref.path, ref.sha256), {})
            same = (k for k in of_file if k[:2] == (row, place) and _together(k[2], ref))
            key = next(same, (row, place, ref))
            modalities.setdefault(key, set()).add(modality)
            before = of_file.get(key)
            of_file[key] = _joined(before, stretch) if before else stretch
    return [
        FileJob(path, sha256, tuple(of_file.values()), tuple(_use(k, modalities[k]) for k in of_file))
        for (path, sha256), of_file in wanted.items()
    ]


def _turns(
    shard: Shard, rows: Mapping[str, tuple[int, ...]], features: Mapping[str, Feature]
) -> Iterator[tuple[int, int, Source, list[Feature]]]:
    """Row, place, source and the features that ask: each row that is wanted, then its neighbours."""
    for row, source in enumerate(shard):
        asking = [features[name] for name, numbers in rows.items() if row in numbers]
        if asking:
            yield row, 0, source, asking
            for n, other in enumerate(source.before):
                yield row, n - len(source.before), other, asking
            for n, other in enumerate(source.after):
                yield row, n + 1, other, asking


def _use(key: Key, modalities: set[str]) -> Use:
    return Use(key[0], key[1], frozenset(modalities))


def pictures_of(feature: Feature) -> list[Pictures]:
    """The kinds of pictures that a feature needs, those for the grid of its tracking policy included."""
    kind = feature.input.pictures
    if kind is None:
        return []
    every = feature.faces.every if feature.faces else None
    return [kind] if every is None else [kind, Pictures(every=every, side=kind.side)]


def share(use: Use, clip: Clip, inputs: Mapping[int, Inputs]) -> None:
    """Give what a stretch held to the row or neighbour that it is for."""
    mine = inputs[use.row].at(use.place)
    if "visual" in use.modalities:
        mine.pictures |= clip.pictures
        if clip.no_pictures is not None:
            mine.faults["visual"] = clip.no_pictures
    if "audio" in use.modalities:
        mine.sounds |= clip.sounds
        if clip.no_sound is not None:
            mine.faults["audio"] = clip.no_sound
    mine.notes |= {
        what: note
        for what, note in clip.notes.items()
        if ("audio" if what == "audio" else "visual") in use.modalities
    }


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
