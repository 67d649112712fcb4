"""The media of a shard: which files to read, which spans of them, and which row each span belongs to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ercache.manifest import MediaRef
from ercache.params.schema import Limits
from ercache.reasons import Missing
from extract.engine.plan import Feature, InputSource, Shard
from extract.media import Clip, Span
from extract.media.scanned import ReadRequest
from extract.media.types import FloatArray, Frame, PictureRequest


@dataclass
class RowInputs:
    """What was read for one row of a shard; a modality may have a fault instead.

    Attributes:
        pictures: kind of pictures -> frames.
        sounds: rate in Hz -> mono samples, [n].
        faults: modality -> why it could not be read.
        notes: as in a clip.
        neighbours: position in the dialogue relative to the row (-1 is the previous one) -> inputs of that neighbour.
    """

    pictures: dict[PictureRequest, tuple[Frame, ...]] = field(default_factory=dict)
    sounds: dict[int, FloatArray] = field(default_factory=dict)
    faults: dict[str, Missing] = field(default_factory=dict)
    notes: dict[PictureRequest | str, str] = field(default_factory=dict)
    neighbours: dict[int, "RowInputs"] = field(default_factory=dict)

    def of_place(self, place: int) -> "RowInputs":
        """Return the row's own inputs for place 0, a neighbour's for other places."""
        return self if place == 0 else self.neighbours.setdefault(place, RowInputs())

    def note_of(self, feature: Feature) -> str:
        """Return the notes that concern a feature in one line; empty if there are none."""
        what: list[PictureRequest | str] = ["audio"]
        if feature.spec.modality != "audio":
            what = ["visual", *dict.fromkeys(pictures_needed(feature))]
        return "; ".join(self.notes[which] for which in what if which in self.notes)

    def nbytes(self, feature: Feature) -> int:
        """Memory of a feature's inputs in bytes, without neighbours. It does not depend on what else is read."""
        rate = feature.input.rate
        sound = self.sounds[rate].nbytes if rate in self.sounds else 0
        frames = [frame for kind in set(pictures_needed(feature)) for frame in self.pictures.get(kind, ())]
        return sound + sum(frame.image.nbytes for frame in frames)

    def release(self, modality: str) -> None:
        """Release what was read for a modality."""
        if modality == "visual":
            self.pictures = {}
        if modality == "audio":
            self.sounds = {}
        for neighbour in self.neighbours.values():
            neighbour.release(modality)

    @property
    def seconds(self) -> float:
        """Length of what was read, seconds. n pictures lie at the centres of n equal intervals."""
        sounds = [len(sound) / rate for rate, sound in self.sounds.items()]
        pictures = [
            (frames[-1].time - frames[0].time) * len(frames) / (len(frames) - 1)
            for frames in self.pictures.values()
            if len(frames) > 1
        ]
        return max([0.0, *sounds, *pictures])


SpanKey = tuple[int, int, MediaRef]  # row, place in the dialogue relative to the row, reference


@dataclass(frozen=True)
class SpanUse:
    """What a span is read for: a row of the shard or one of its neighbours, and the modalities it provides."""

    row: int
    place: int
    modalities: frozenset[str]


@dataclass(frozen=True)
class FileRequest:
    """A file, its spans, and what each span is read for."""

    path: str
    sha256: str | None
    spans: tuple[Span, ...]
    uses: tuple[SpanUse, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the shard that need this file."""
        return tuple(dict.fromkeys(use.row for use in self.uses))

    def request(self, root: Path, limits: Limits) -> ReadRequest:
        """Return the request for a reader process."""
        return ReadRequest(root, self.path, self.sha256, self.spans, limits)


def file_requests(
    shard: Shard, rows: Mapping[str, tuple[int, ...]], features: Mapping[str, Feature]
) -> list[FileRequest]:
    """Return the files to read, in order of their first row; pictures and sound of one span are read together."""
    wanted: dict[tuple[str, str | None], dict[SpanKey, Span]] = {}
    modalities: dict[SpanKey, set[str]] = {}
    for row, place, source, requesting in _rows_and_neighbours(shard, rows, features):
        pictures = [k for f in requesting for k in pictures_needed(f)]
        rates = [f.input.rate for f in requesting if f.input.rate]
        for modality, ref, span in _spans(source.video, source.audio, pictures, rates):
            of_file = wanted.setdefault((ref.path, ref.sha256), {})
            same = (k for k in of_file if k[:2] == (row, place) and _is_same_interval(k[2], ref))
            key = next(same, (row, place, ref))
            modalities.setdefault(key, set()).add(modality)
            before = of_file.get(key)
            of_file[key] = _merged(before, span) if before else span
    return [
        FileRequest(path, sha256, tuple(of_file.values()), tuple(_use(k, modalities[k]) for k in of_file))
        for (path, sha256), of_file in wanted.items()
    ]


def _rows_and_neighbours(
    shard: Shard, rows: Mapping[str, tuple[int, ...]], features: Mapping[str, Feature]
) -> Iterator[tuple[int, int, InputSource, list[Feature]]]:
    """Yield (row, place, source, requesting features) for each needed row and then for its neighbours."""
    for row, source in enumerate(shard):
        requesting = [features[name] for name, numbers in rows.items() if row in numbers]
        if requesting:
            yield row, 0, source, requesting
            for n, other in enumerate(source.before):
                yield row, n - len(source.before), other, requesting
            for n, other in enumerate(source.after):
                yield row, n + 1, other, requesting


def _use(key: SpanKey, modalities: set[str]) -> SpanUse:
    return SpanUse(key[0], key[1], frozenset(modalities))


def pictures_needed(feature: Feature) -> list[PictureRequest]:
    """Return the kinds of pictures that a feature needs, including those for its face tracking grid."""
    kind = feature.input.pictures
    if kind is None:
        return []
    every = feature.faces.every if feature.faces else None
    return [kind] if every is None else [kind, PictureRequest(every=every, side=kind.side)]


def assign_clip(use: SpanUse, clip: Clip, inputs: Mapping[int, RowInputs]) -> None:
    """Give the content of a span to the row or neighbour it belongs to."""
    row_inputs = inputs[use.row].of_place(use.place)
    if "visual" in use.modalities:
        row_inputs.pictures |= clip.pictures
        if clip.no_pictures is not None:
            row_inputs.faults["visual"] = clip.no_pictures
    if "audio" in use.modalities:
        row_inputs.sounds |= clip.sounds
        if clip.no_sound is not None:
            row_inputs.faults["audio"] = clip.no_sound
    row_inputs.notes |= {
        what: note
        for what, note in clip.notes.items()
        if ("audio" if what == "audio" else "visual") in use.modalities
    }


def _spans(
    video: MediaRef | None, audio: MediaRef | None, pictures: list[PictureRequest], rates: list[int]
) -> list[tuple[str, MediaRef, Span]]:
    found = []
    if video is not None and pictures:
        found.append(("visual", video, Span(video, pictures=tuple(dict.fromkeys(pictures)))))
    if audio is not None and rates:
        found.append(("audio", audio, Span(audio, rates=tuple(sorted(set(rates))))))
    return found


def _is_same_interval(a: MediaRef, b: MediaRef) -> bool:
    """Whether two references name the same time interval; a crop concerns only pictures."""
    return (a.start, a.end) == (b.start, b.end)


def _merged(pictures: Span, sound: Span) -> Span:
    return Span(pictures.ref, pictures.pictures, sound.rates)
