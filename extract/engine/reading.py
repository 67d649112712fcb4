"""Find out which media files and time spans the inputs of a shard need, and hand the clips that were read to them.

A shard is a list of inputs (usually utterances) that are processed together; a row is the index of an input in it.
"""

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
    """The media that were read for one input (utterance), or the reasons why they could not be read.

    Attributes:
        pictures: request for pictures (how many, chosen how, size) -> frames.
        sounds: sampling rate in Hz -> n mono samples, [n].
        faults: modality (`audio`, `visual`) or request for pictures -> why it could not be read.
        notes: modality or request for pictures -> what was lost in reading, for example some frames.
        neighbours: position in the dialogue relative to this utterance (-1 is the previous one) -> media of the
            utterance there.
    """

    pictures: dict[PictureRequest, tuple[Frame, ...]] = field(default_factory=dict)
    sounds: dict[int, FloatArray] = field(default_factory=dict)
    faults: dict[PictureRequest | str, Missing] = field(default_factory=dict)
    notes: dict[PictureRequest | str, str] = field(default_factory=dict)
    neighbours: dict[int, "RowInputs"] = field(default_factory=dict)

    def of_place(self, place: int) -> "RowInputs":
        """Return the media of the utterance at a relative position in the dialogue (0: this one, -1: previous one)."""
        return self if place == 0 else self.neighbours.setdefault(place, RowInputs())

    def fault_of(self, feature: Feature) -> Missing | None:
        """Return why the media that a feature uses could not be read; None if they were read."""
        what = [feature.spec.modality, *pictures_needed(feature)]
        return next((self.faults[which] for which in what if which in self.faults), None)

    def note_of(self, feature: Feature) -> str:
        """Return in one line what was lost when the media of a feature were read; empty if nothing was."""
        what: list[PictureRequest | str] = ["audio"]
        if feature.spec.modality != "audio":
            what = ["visual", *dict.fromkeys(pictures_needed(feature))]
        return "; ".join(self.notes[which] for which in what if which in self.notes)

    def nbytes(self, feature: Feature) -> int:
        """Return the size of the media that a feature uses, in bytes, without the neighbours in the dialogue.

        The size does not depend on which media other features use.
        """
        rate = feature.input.rate
        sound = self.sounds[rate].nbytes if rate in self.sounds else 0
        frames = [frame for kind in set(pictures_needed(feature)) for frame in self.pictures.get(kind, ())]
        return sound + sum(frame.image.nbytes for frame in frames)

    def release(self, modality: str) -> None:
        """Remove the pictures (`visual`) or the sounds (`audio`) of this utterance and its neighbours from memory."""
        if modality == "visual":
            self.pictures = {}
        if modality == "audio":
            self.sounds = {}
        for neighbour in self.neighbours.values():
            neighbour.release(modality)

    @property
    def seconds(self) -> float:
        """Duration of the longest sound or sequence of pictures that was read, seconds.

        A sequence of n pictures lasts n times the mean time from one picture to the next.
        """
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
    """For which input of a shard a time span of a file is read.

    Attributes:
        row: index of the input in the shard.
        place: whose media the span contains, as position in the dialogue relative to this input: 0 is the input itself,
            -1 the previous utterance.
        modalities: `audio`, `visual` or both.
    """

    row: int
    place: int
    modalities: frozenset[str]


@dataclass(frozen=True)
class FileRequest:
    """A media file, and what to read from it for a shard.

    Attributes:
        path: path of the file, relative to the folder of the corpus.
        sha256: digest of the file when the corpus was scanned; None skips the comparison.
        spans: the time spans to read.
        uses: for each span, the input for which it is read.
    """

    path: str
    sha256: str | None
    spans: tuple[Span, ...]
    uses: tuple[SpanUse, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """Indices of the shard's inputs that need this file."""
        return tuple(dict.fromkeys(use.row for use in self.uses))

    def request(self, root: Path, limits: Limits) -> ReadRequest:
        """Return the message that tells a reader process which time spans of this file to read.

        Args:
            root: folder of the corpus.
            limits: limits for reading one clip.
        """
        return ReadRequest(root, self.path, self.sha256, self.spans, limits)


def file_requests(
    shard: Shard, rows: Mapping[str, tuple[int, ...]], features: Mapping[str, Feature]
) -> list[FileRequest]:
    """Return the files to read for a shard, in the order in which its inputs need them.

    If an input needs pictures and sound of the same time span of a file, they are read together.

    Args:
        shard: the inputs.
        rows: feature -> indices of the inputs from which it is computed.
        features: feature name -> feature.
    """
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
    """Yield each input of a shard that some feature needs, followed by its neighbours in the dialogue.

    Args:
        shard: the inputs.
        rows: feature -> indices of the inputs from which it is computed.
        features: feature name -> feature.

    Yields:
        Four things: index of the input in the shard; position in the dialogue relative to this input (0 is the input
        itself, -1 the utterance before it); the input or neighbour at this position; and the features that need it.
    """
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
    """Return the requests for the pictures that a feature needs: for its encoder, and for detecting faces.

    The second request is there only if faces are detected at regular times and tracked in between.
    """
    kind = feature.input.pictures
    if kind is None:
        return []
    every = feature.faces.every if feature.faces else None
    return [kind] if every is None else [kind, PictureRequest(every=every, side=kind.side)]


def assign_clip(use: SpanUse, clip: Clip, inputs: Mapping[int, RowInputs]) -> None:
    """Add a clip's pictures, sounds, faults and notes to the media of the input for which it was read.

    Args:
        use: for which input, or for which of its neighbours in the dialogue, the clip was read.
        clip: the clip.
        inputs: index of an input in the shard -> its media; changed in place.
    """
    row_inputs = inputs[use.row].of_place(use.place)
    if "visual" in use.modalities:
        row_inputs.pictures |= clip.pictures
        for kind, fault in clip.undecoded.items():
            row_inputs.faults[kind] = fault
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
    """Return whether two media references have the same start and end; crops of the picture are not compared."""
    return (a.start, a.end) == (b.start, b.end)


def _merged(pictures: Span, sound: Span) -> Span:
    return Span(pictures.ref, pictures.pictures, sound.rates)
