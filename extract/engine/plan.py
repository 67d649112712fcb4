"""The plan: which units there are, under which keys, in which batches; a pure function of manifest and params.

A *source* is what an utterance gives to a modality (its text, or a stretch of a media file by content digest). Equal
sources are one unit. Sources are cut into shards in manifest order, shards are sorted by length and cut into batches.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.digests import digest_of
from ercache.manifest import Manifest, MediaRef, Utterance, input_record
from ercache.params import EngineParams, FacePolicy
from ercache.reasons import Reason
from extract.encoders.base import Encoder, EncoderSpec, Input
from extract.faces import FACES_KEY, FACES_VERSION, faces_weights


@dataclass(frozen=True)
class Feature:
    """A feature of params.yaml with everything that decides its values.

    Attributes:
        recipe: encoder, version, params, weights and upstream policy; part of every unit key and the provenance.
    """

    name: str
    kind: type[Encoder]
    params: BaseModel
    weights: dict[str, Any] | None
    faces: FacePolicy | None

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's fixed facts."""
        return self.kind.spec

    @property
    def input(self) -> Input:
        """What the encoder asks for."""
        return self.kind.input(self.params)

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """What the encoder gives."""
        return self.kind.arrays(self.params)

    @property
    def recipe(self) -> dict[str, Any]:
        """Encoder, version, params, weights and upstream policy."""
        return {
            "encoder": self.spec.key,
            "version": self.spec.version,
            "params": self.params.model_dump(mode="json"),
            "weights": self.weights,
            "faces": faces_recipe(self.faces) if self.faces else None,
        }


def faces_recipe(policy: FacePolicy) -> dict[str, Any]:
    """What decides a detection table."""
    return {
        "encoder": FACES_KEY,
        "version": FACES_VERSION,
        "params": policy.model_dump(mode="json"),
        "weights": faces_weights(),
    }


@dataclass(frozen=True)
class Source:
    """What one or more utterances give to a modality.

    Attributes:
        record: the resolved input record: content digests, time range, crop or text.
        length: proxy of the size, to sort by.
    """

    record: dict[str, Any]
    text: str | None
    ref: MediaRef | None
    utterance: str
    length: float


Batch = tuple[Source, ...]


@dataclass(frozen=True)
class Plan:
    """Batches of a modality, and for each feature the unit key of every utterance (or the reason for none)."""

    batches: tuple[Batch, ...]
    keys: dict[str, dict[str, str | Reason]]
    unit: dict[tuple[str, str], str]


def make_plan(
    manifest: Manifest, utterances: Sequence[Utterance], features: Sequence[Feature], engine: EngineParams
) -> Plan:
    """Plan the features of one modality.

    Args:
        utterances: those to extract, in manifest order.
        features: all of one modality.
    """
    sources: dict[str, Source] = {}
    of_utterance: dict[str, str | Reason] = {}
    parts: dict[str, list[str]] = {part: [] for part in manifest.parts}
    for u in utterances:
        found = _source(u, features[0].spec.modality, engine)
        if isinstance(found, Reason):
            of_utterance[u.id] = found
            continue
        name = digest_of(found.record)
        if name not in sources:
            sources[name] = found
            parts[u.part].append(name)
        of_utterance[u.id] = name
    unit = {
        (f.name, source.utterance): digest_of({"source": source.record, "input": asdict(f.input), **f.recipe})
        for f in features
        for source in sources.values()
    }
    keys = {
        f.name: {
            u: name if isinstance(name, Reason) else unit[f.name, sources[name].utterance]
            for u, name in of_utterance.items()
        }
        for f in features
    }
    batches = [batch for names in parts.values() for batch in _batches([sources[n] for n in names], engine)]
    return Plan(tuple(batches), keys, unit)


def _source(u: Utterance, modality: str, engine: EngineParams) -> Source | Reason:
    record = input_record(u, modality)
    if modality == "text":
        text = u.text or ""
        return Source(record or {}, text, None, u.id, len(text))
    ref = u.audio if modality == "audio" else u.video
    if ref is None or record is None:
        return Reason.NOT_IN_CORPUS if ref is None else Reason.ABSENT
    limits = {"duration_limit": engine.limits.duration, "pixel_limit": engine.limits.pixels}
    return Source({**record, **limits}, None, ref, u.id, (ref.end or 0) - (ref.start or 0))


def _batches(sources: Sequence[Source], engine: EngineParams) -> list[Batch]:
    batches: list[Batch] = []
    for start in range(0, len(sources), engine.shard):
        shard = sorted(sources[start : start + engine.shard], key=lambda s: s.length)
        batches += [tuple(shard[i : i + engine.batch]) for i in range(0, len(shard), engine.batch)]
    return batches
