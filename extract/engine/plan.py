"""The plan: which units there are, under which keys, in which shards; a pure function of manifest and params.

A *source* is what an utterance gives: its text, or its stretches of media by content digest. Equal sources are one.
Sources are cut into shards in manifest order; a shard is read, encoded and resumed as a whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ercache.cache import ArraySpec
from ercache.digests import digest_of
from ercache.manifest import Manifest, MediaRef, Utterance, input_record
from ercache.params.schema import EngineParams, FacePolicy
from ercache.reasons import Reason
from ercache.weights import Weights
from extract.encoders.base import Encoder, EncoderKind, EncoderSpec, Input
from extract.faces.mtcnn import FACES_KEY, FACES_VERSION, faces_weights
from extract.media import VERSION

# Of what a scan finds in the place of a file, the rest is as good as absent.
_UNOPENED = (Reason.OUTSIDE_ROOT, Reason.NOT_A_FILE, Reason.UNREADABLE, Reason.FAULT)


@dataclass(frozen=True)
class Feature:
    """A feature of params.yaml with everything that decides its values.

    Attributes:
        weights: what a cache says about the checkpoint; random ones have a `seed`.
        seen: corpus -> ids that an extractor of ours was trained and chosen on.
        data: folder that holds the trained extractors; it does not enter the recipe.
        recipe: encoder, version, params, weights and upstream policy; part of every unit key and the provenance.
    """

    name: str
    kind: EncoderKind
    params: BaseModel
    weights: dict[str, Any] | None
    faces: FacePolicy | None
    seen: Mapping[str, Sequence[str]] | None = None
    data: Path = Path("data")

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
    def context(self) -> dict[str, Any]:
        """What the feature sees besides the utterance: neighbours, and who speaks."""
        return {name: getattr(self.input, name) for name in ("past", "future", "speaker")}

    def build(self, device: str) -> Encoder:
        """The encoder at work on a device.

        Raises:
            WeightsError: its checkpoint is absent, damaged or another network's.
        """
        made = self.weights
        handle = None if made is None else Weights(str(made["id"]), made.get("seed"), self.data)
        return self.kind(self.params, device, handle)

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
    """What one or more utterances give.

    Attributes:
        records: modality -> the resolved input record: content digests, time range, crop or text; media that are
            not there have none.
        utterance: the first that gives it.
        before, after: neighbours in the dialogue, in its order, where a group of features asks for them.
        next_speaker: who says the next utterance, likewise; None at the end of the dialogue.
    """

    records: dict[str, dict[str, Any]]
    utterance: str
    text: str | None = None
    video: MediaRef | None = None
    audio: MediaRef | None = None
    speaker: str | None = None
    before: "tuple[Source, ...]" = ()
    after: "tuple[Source, ...]" = ()
    next_speaker: str | None = None


Shard = tuple[Source, ...]


@dataclass(frozen=True)
class Plan:
    """Shards of a group of features, and for each feature the unit key of every utterance (or why it has none).

    Attributes:
        rows: per shard, feature -> rows whose unit is computed there (the shard in which it comes first).
        unit: (feature, first utterance of a source) -> unit key.
    """

    shards: tuple[Shard, ...]
    rows: tuple[dict[str, tuple[int, ...]], ...]
    keys: dict[str, dict[str, str | Reason]]
    unit: dict[tuple[str, str], str]


def groups(features: Sequence[Feature]) -> list[list[Feature]]:
    """Features that share their sources: media are decoded together, unless they ask for other neighbours.

    Texts come last: encoders are built while the first files are read, and small work evens out the end.
    """
    found: dict[tuple[bool, str, int, int], list[Feature]] = {}
    for f in features:
        wants = f.input
        found.setdefault((wants.text, str(wants.speaker), wants.past, wants.future), []).append(f)
    return [found[key] for key in sorted(found)]


def make_plan(
    manifest: Manifest, utterances: Sequence[Utterance], features: Sequence[Feature], engine: EngineParams
) -> Plan:
    """Plan features that share their sources.

    Args:
        utterances: those to extract, in manifest order.
        features: one of `groups`.
    """
    wants = features[0].input
    sources: dict[str, Source] = {}
    of_utterance: dict[str, str] = {}
    parts: dict[str, list[Source]] = {part: [] for part in manifest.parts}
    dialogues = _dialogues(manifest) if wants.in_dialogue else {}
    for u in utterances:
        source = _source(u, wants, engine, dialogues.get(u.dialogue, ()))
        name = of_utterance[u.id] = digest_of(source.records)
        if name not in sources:
            sources[name] = source
            if source.records:
                parts[u.part].append(source)
    size = engine.text_shard if wants.text else engine.shard
    shards = tuple(
        tuple(part[start : start + size]) for part in parts.values() for start in range(0, len(part), size)
    )
    unit = {
        (f.name, source.utterance): _unit(f, source.records[f.spec.modality], engine)
        for f in features
        for source in sources.values()
        if f.spec.modality in source.records
    }
    unopened = {
        (p.utterance, p.detail.split(": ")[0]): Reason(p.reason)
        for p in manifest.problems
        if p.reason in _UNOPENED
    }
    keys = {
        f.name: {
            u.id: unit.get((f.name, sources[of_utterance[u.id]].utterance)) or _why_not(u, f, unopened)
            for u in utterances
        }
        for f in features
    }
    return Plan(shards, _rows(shards, features, unit), keys, unit)


def _unit(feature: Feature, record: dict[str, Any], engine: EngineParams) -> str:
    asked = asdict(feature.input)
    return digest_of({"source": record, "input": asked, "precision": engine.precision, **feature.recipe})


def _rows(
    shards: Sequence[Shard], features: Sequence[Feature], unit: Mapping[tuple[str, str], str]
) -> tuple[dict[str, tuple[int, ...]], ...]:
    claimed: set[str] = set()
    found: list[dict[str, tuple[int, ...]]] = []
    for shard in shards:
        rows: dict[str, list[int]] = {f.name: [] for f in features}
        for n, source in enumerate(shard):
            for feature in features:
                key = unit.get((feature.name, source.utterance))
                if key is not None and key not in claimed:
                    claimed.add(key)
                    rows[feature.name].append(n)
        found.append({name: tuple(numbers) for name, numbers in rows.items()})
    return tuple(found)


def _dialogues(manifest: Manifest) -> dict[str, list[Utterance]]:
    found: dict[str, list[Utterance]] = {}
    for u in manifest.utterances:
        found.setdefault(u.dialogue, []).append(u)
    return found


def _source(u: Utterance, wants: Input, engine: EngineParams, dialogue: Sequence[Utterance]) -> Source:
    """What an utterance gives, with its neighbours if they are asked for."""
    alone = _alone(u, wants, engine)
    if not wants.in_dialogue:
        return alone
    here = next(rank for rank, other in enumerate(dialogue) if other.id == u.id)
    before = [_alone(n, wants, engine) for n in dialogue[max(0, here - wants.past) : here]]
    after = [_alone(n, wants, engine) for n in dialogue[here + 1 : here + 1 + wants.future]]
    records = {
        modality: {
            "own": record,
            "speaker": alone.speaker,
            "before": [[n.speaker, n.records.get(modality)] for n in before],
            "after": [[n.speaker, n.records.get(modality)] for n in after],
        }
        for modality, record in alone.records.items()
    }
    found = replace(alone, records=records, before=tuple(before), after=tuple(after))
    if wants.speaker != "next":
        return found
    follows = dialogue[here + 1].speaker if here + 1 < len(dialogue) else None
    told = {modality: {**record, "next_speaker": follows} for modality, record in records.items()}
    return replace(found, records=told, next_speaker=follows)


def _alone(u: Utterance, wants: Input, engine: EngineParams) -> Source:
    source = _text(u) if wants.text else _media(u, engine)
    return replace(source, speaker=u.speaker) if wants.speaker else source


def _text(u: Utterance) -> Source:
    return Source({"text": input_record(u, "text") or {}}, u.id, text=u.text or "")


def _media(u: Utterance, engine: EngineParams) -> Source:
    limits = engine.limits
    bounds = {
        "audio": {"duration": limits.duration, "reader": VERSION},
        "visual": {
            "duration": limits.duration,
            "pixels": limits.pixels,
            "megabytes": limits.megabytes,
            "reader": VERSION,
        },
    }
    records = {
        modality: {**record, "limits": bounds[modality]}
        for modality in bounds
        if (record := input_record(u, modality)) is not None
    }
    video, audio = u.video if "visual" in records else None, u.audio if "audio" in records else None
    return Source(records, u.id, video=video, audio=audio)


def _why_not(u: Utterance, feature: Feature, unopened: Mapping[tuple[str | None, str], Reason]) -> Reason:
    """Why there is no file: what the scan found in its place, or nothing."""
    ref = u.audio if feature.spec.modality == "audio" else u.video
    return Reason.NOT_IN_CORPUS if ref is None else unopened.get((u.id, ref.path), Reason.ABSENT)
