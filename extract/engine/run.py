"""Running a plan: decode, find faces, encode, store. Whole batches only, in the order of the plan."""

import contextlib
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ercache.digests import digest_of
from ercache.params import EngineParams
from ercache.reasons import Missing, Reason
from extract.encoders.base import Encoded, Encoder, Faces, Frame, Sample
from extract.engine.loader import Loaded, Loader, Request
from extract.engine.plan import Batch, Feature, Plan, Source, faces_recipe
from extract.engine.records import Record, pack_record, unpack_record
from extract.engine.store import Store
from extract.engine.trace import Trace
from extract.faces import FaceFinder

LIBRARIES = (
    "torch",
    "numpy",
    "librosa",
    "scikit-image",
    "transformers",
    "facenet-pytorch",
    "imageio-ffmpeg",
    "av",
)
Progress = Callable[[int, int], None]


def made_by(device: str, threads: int) -> dict[str, Any]:
    """What made a record: libraries, device class, precision, threads."""
    return {
        "versions": {name: version(name) for name in LIBRARIES},
        "python": ".".join(platform.python_version_tuple()[:2]),
        "device": device,
        "precision": "float32",
        "threads": threads,
    }


class Runner:
    """Runs the batches of one modality whose units are not all done.

    Args:
        root: of the corpus' media; None when the modality is text.
        done: whether a unit key has its result already.

    Attributes:
        split: features whose batches were run one by one after the memory ran out, the one exception to equal bytes.
    """

    def __init__(
        self,
        features: Sequence[Feature],
        store: Store,
        done: Callable[[str], bool],
        root: Path | None,
        engine: EngineParams,
        device: str,
        trace: Trace,
    ) -> None:
        import torch

        self._out_of_memory = (MemoryError, torch.OutOfMemoryError)
        self.features, self.store, self.done = features, store, done
        self.root, self.engine, self.device, self.trace = root, engine, device, trace
        self.made = made_by(device, engine.threads)
        self.failed: dict[str, Record] = {}
        self.computed: set[str] = set()
        self.media_seconds = 0.0
        self.split: list[str] = []
        self._encoders: dict[str, Encoder] = {}
        self._finder: FaceFinder | None = None

    def run(self, plan: Plan, progress: Progress) -> None:
        """Compute what is not done; results go to the store, `unavailable` ones to `failed`."""
        work = [(b, w) for b in plan.batches if (w := self._wanted(plan, b))]
        total = sum(len(batch) for batch, _ in work)
        finished = 0
        progress(0, total)
        with contextlib.ExitStack() as stack:
            if self.root is None:
                loaded = ([Loaded()] * len(batch) for batch, _ in work)
            else:
                loader = stack.enter_context(
                    Loader(self.engine.workers, lambda begins: self.trace.mark("decode", begins))
                )
                requests = [[self._request(s, wanted) for s in batch] for batch, wanted in work]
                loaded = loader.stream(requests)  # type: ignore[assignment]
            for (batch, wanted), inputs in zip(work, loaded, strict=True):
                self.media_seconds += sum(i.seconds for i in inputs)
                self._run_batch(plan, batch, wanted, inputs)
                finished += len(batch)
                progress(finished, total)
        self.store.commit()

    def _wanted(self, plan: Plan, batch: Batch) -> list[Feature]:
        units = {f.name: [plan.unit[f.name, s.utterance] for s in batch] for f in self.features}
        return [f for f in self.features if not all(self.done(unit) for unit in units[f.name])]

    def _request(self, source: Source, wanted: Sequence[Feature]) -> Request:
        assert self.root is not None and source.ref is not None
        rates = sorted({f.input.rate for f in wanted if f.input.rate})
        frames = sorted({f.input.frames for f in wanted if f.input.frames})
        return Request(self.root, source.ref, tuple(rates), tuple(frames), self.engine.limits)

    def _run_batch(
        self, plan: Plan, batch: Batch, wanted: Sequence[Feature], inputs: Sequence[Loaded]
    ) -> None:
        with_faces = [self._faces_or_fault(wanted, s, i) for s, i in zip(batch, inputs, strict=True)]
        for feature in wanted:
            good = [n for n, i in enumerate(with_faces) if i.fault is None]
            with self.trace.span("encode", feature.name):
                results = self._encode(feature, [_sample(feature, batch[n], with_faces[n]) for n in good])
            outcome = dict(zip(good, results, strict=True))
            for n, source in enumerate(batch):
                fault = with_faces[n].fault
                record = self._record(Missing(*fault) if fault else outcome[n])
                self._keep(plan.unit[feature.name, source.utterance], record)

    def _encode(self, feature: Feature, samples: Sequence[Sample]) -> list[Encoded | Missing]:
        if feature.name not in self._encoders:
            self._encoders[feature.name] = feature.kind(feature.params, self.device)
        encoder = self._encoders[feature.name]
        if feature.spec.batch != "one" and samples:
            try:
                return encoder.encode(samples)
            except self._out_of_memory:
                self.split.append(feature.name)
        return [self._encode_alone(encoder, sample) for sample in samples]

    def _encode_alone(self, encoder: Encoder, sample: Sample) -> Encoded | Missing:
        try:
            return encoder.encode([sample])[0]  # type: ignore[no-any-return]
        except self._out_of_memory as error:
            return Missing(Reason.OUT_OF_MEMORY, str(error))

    def _record(self, result: Encoded | Missing) -> Record:
        if isinstance(result, Missing):
            return Record({}, reason=result.reason, detail=result.detail, made=self.made)
        record = Record(result.arrays, result.frames, made=self.made)
        if not finite(record):
            return Record({}, reason=Reason.UNREADABLE, detail="values that are not finite", made=self.made)
        return record

    def _keep(self, unit: str, record: Record) -> None:
        self.computed.add(unit)
        if record.reason is not None and record.reason.status == "unavailable":
            self.failed[unit] = record
        else:
            self.store.put(unit, pack_record(record))

    def _faces_or_fault(self, wanted: Sequence[Feature], source: Source, loaded: Loaded) -> Loaded:
        try:
            return self._with_faces(wanted, source, loaded)
        except self._out_of_memory as error:
            return Loaded(fault=(Reason.OUT_OF_MEMORY, str(error)))

    def _with_faces(self, wanted: Sequence[Feature], source: Source, loaded: Loaded) -> Loaded:
        """Add the detection table to the frames of a clip, from the store or by finding faces now."""
        policies = {f.input.frames: f for f in wanted if f.input.faces}
        if loaded.fault is not None or not policies:
            return loaded
        frames = {
            count: self._detect(policies[count], source, pictures) if count in policies else pictures
            for count, pictures in loaded.frames.items()
        }
        return Loaded(loaded.sounds, frames)

    def _detect(self, feature: Feature, source: Source, frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
        assert feature.faces is not None
        recipe = faces_recipe(feature.faces)
        clip = {k: source.record[k] for k in ("media", "crop")}
        units = [digest_of({"clip": clip, "time": float(f.time), **recipe}) for f in frames]
        known = [self.store.get(unit) for unit in units]
        if any(payload is None for payload in known):
            if self._finder is None:
                self._finder = FaceFinder(feature.faces, self.device)
            with self.trace.span("faces", source.utterance):
                found = self._finder.find([f.image for f in frames])
            for unit, faces in zip(units, found, strict=True):
                arrays = {"boxes": faces.boxes, "probabilities": faces.probabilities, "points": faces.points}
                self.store.put(unit, pack_record(Record(arrays, len(faces.boxes), made=self.made)))
        else:
            found = [Faces(**unpack_record(p).arrays) for p in known if p is not None]
        return tuple(Frame(f.time, f.image, faces) for f, faces in zip(frames, found, strict=True))


def _sample(feature: Feature, source: Source, loaded: Loaded) -> Sample:
    wants = feature.input
    return Sample(
        text=source.text if wants.text else None,
        sound=loaded.sounds[wants.rate] if wants.rate else None,
        frames=loaded.frames[wants.frames] if wants.frames else (),
    )


def no_arrays(reason: Reason) -> Record:
    """A record for an utterance that gives the modality nothing to read."""
    return Record({}, reason=reason, made={})


def finite(record: Record) -> bool:
    """Whether all values of a record are finite."""
    return all(np.isfinite(a).all() for a in record.arrays.values() if a.dtype.kind == "f")
