"""The plan of an extraction: which features to compute from which inputs, and under which keys to store them.

The plan depends only on the manifest and params.yaml. It uses these words:

- A *source* is the input that an utterance provides: its text, or the time spans of its media. Utterances with equal
  input share one source.
- A *unit* is one feature of one source. Its key, a digest of everything that determines the result, identifies the
  result in the store.
- A *shard* is a list of successive sources, which are read and encoded together. After a stop, a run repeats the shards
  that were not finished.
- A *row* is the index of a source in its shard.
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

# Scan problems that explain why a file has no digest; any other missing file counts as absent.
_UNOPENED_REASONS = (Reason.OUTSIDE_ROOT, Reason.NOT_A_FILE, Reason.UNREADABLE, Reason.FAULT)


@dataclass(frozen=True)
class Feature:
    """A feature of params.yaml with everything that determines its values.

    Attributes:
        name: name of the feature.
        kind: class of the encoder.
        params: parameters of the encoder.
        weights: which checkpoint the encoder uses, as recorded in the provenance; random weights have a `seed`. None if
            the encoder has no weights.
        faces: the face policy; None if the encoder uses no faces.
        seen: corpus -> ids of the utterances used to train the encoder and to select its best epoch; None unless the
            encoder was trained with `ercache pretrain`.
        data: folder that holds the encoders trained with `ercache pretrain`; it is not part of the recipe.
        trained: how `ercache pretrain` trained the encoder; None unless it did.
        recipe: encoder, version, params, weights and face policy. It is part of the key of each result in the store,
            and of the provenance in each cache file.
    """

    name: str
    kind: EncoderKind
    params: BaseModel
    weights: dict[str, Any] | None
    faces: FacePolicy | None
    seen: Mapping[str, Sequence[str]] | None = None
    data: Path = Path("data")
    trained: Mapping[str, Any] | None = None

    @property
    def spec(self) -> EncoderSpec:
        """The encoder's fixed properties, for example key, version, batch rule and licence (see `EncoderSpec`)."""
        return self.kind.spec

    @property
    def input(self) -> Input:
        """What the encoder needs as input: text, sound, pictures, faces, neighbours in the dialogue."""
        return self.kind.input(self.params)

    @property
    def arrays(self) -> tuple[ArraySpec, ...]:
        """Names and shapes of the arrays that the encoder returns."""
        return self.kind.arrays(self.params)

    @property
    def context(self) -> dict[str, Any]:
        """What the feature uses besides the utterance itself: a dict with the keys `past`, `future` and `speaker`.

        `past` and `future` are how many utterances before and after it the encoder gets; `speaker` says whether it gets
        the speaker.
        """
        return {name: getattr(self.input, name) for name in ("past", "future", "speaker")}

    def build(self, device: str) -> Encoder:
        """Build the feature's encoder, with its params and checkpoint, on a torch device.

        Raises:
            WeightsError: the encoder's checkpoint is absent, damaged or belongs to another network.
        """
        made = self.weights
        handle = None if made is None else Weights(str(made["id"]), made.get("seed"), self.data)
        return self.kind(self.params, device, handle)

    @property
    def recipe(self) -> dict[str, Any]:
        """Everything that determines the values of the feature: encoder, version, params, weights and face policy."""
        return {
            "encoder": self.spec.key,
            "version": self.spec.version,
            "params": self.params.model_dump(mode="json"),
            "weights": self.weights,
            "faces": faces_recipe(self.faces) if self.faces else None,
        }


def faces_recipe(policy: FacePolicy) -> dict[str, Any]:
    """Return everything that determines the face detections: detector, its version, face policy and weights.

    This dict is part of the key of each result that uses faces, and of the provenance.
    """
    return {
        "encoder": FACES_KEY,
        "version": FACES_VERSION,
        "params": policy.model_dump(mode="json"),
        "weights": faces_weights(),
    }


@dataclass(frozen=True)
class InputSource:
    """The input that an utterance provides to an encoder; utterances with equal input share it.

    Attributes:
        records: modality -> what identifies the input (content digest, time range and crop of the media, or the text);
            a modality that the utterance lacks is absent.
        utterance: id of the first utterance with this input.
        text: the transcript.
        video, audio: the media files, and the time range of the utterance in them.
        speaker: who speaks, if the encoder needs it.
        before, after: the utterances before and after in the dialogue, in temporal order, if the encoder needs them.
        next_speaker: speaker of the next utterance, if the encoder needs it; None at the end of the dialogue.
    """

    records: dict[str, dict[str, Any]]
    utterance: str
    text: str | None = None
    video: MediaRef | None = None
    audio: MediaRef | None = None
    speaker: str | None = None
    before: "tuple[InputSource, ...]" = ()
    after: "tuple[InputSource, ...]" = ()
    next_speaker: str | None = None


Shard = tuple[InputSource, ...]


@dataclass(frozen=True)
class Plan:
    """What to compute for a group of features: from which inputs, and under which keys in the store.

    Attributes:
        shards: lists of inputs (usually utterances) that are read and encoded together.
        rows: for each shard: feature -> indices of the inputs from which it is computed. If several inputs would give
            the same result, it is computed from the first one.
        keys: feature -> utterance -> key of the result, or the reason why the feature cannot be computed.
        unit: (feature, first utterance with this input) -> key of the result.
    """

    shards: tuple[Shard, ...]
    rows: tuple[dict[str, tuple[int, ...]], ...]
    keys: dict[str, dict[str, str | Reason]]
    unit: dict[tuple[str, str], str]


def group_features(features: Sequence[Feature]) -> list[list[Feature]]:
    """Group the features whose encoders get the same inputs, so that each medium is decoded once per group.

    Features that need different numbers of neighbours in the dialogue form different groups. Groups of text features
    come last, because their small jobs keep all workers busy at the end, and because encoders can be built while the
    first media files are read.
    """
    found: dict[tuple[bool, str, int, int], list[Feature]] = {}
    for f in features:
        encoder_input = f.input
        found.setdefault(
            (encoder_input.text, str(encoder_input.speaker), encoder_input.past, encoder_input.future), []
        ).append(f)
    return [found[key] for key in sorted(found)]


def make_plan(
    manifest: Manifest, utterances: Sequence[Utterance], features: Sequence[Feature], engine: EngineParams
) -> Plan:
    """Plan the computation of some features whose encoders get the same inputs: form shards, and give keys to results.

    Args:
        manifest: manifest of the corpus.
        utterances: utterances to extract, in manifest order.
        features: the features, one of the groups that `group_features` returns.
        engine: engine parameters of params.yaml.
    """
    encoder_input = features[0].input
    sources: dict[str, InputSource] = {}
    of_utterance: dict[str, str] = {}
    parts: dict[str, list[InputSource]] = {part: [] for part in manifest.parts}
    dialogues = _dialogues(manifest) if encoder_input.in_dialogue else {}
    for u in utterances:
        source = _source(u, encoder_input, engine, dialogues.get(u.dialogue, ()))
        name = of_utterance[u.id] = digest_of(source.records)
        if name not in sources:
            sources[name] = source
            if source.records:
                parts[u.part].append(source)
    size = engine.text_shard if encoder_input.text else engine.shard
    shards = tuple(
        tuple(part[start : start + size]) for part in parts.values() for start in range(0, len(part), size)
    )
    unit = {
        (f.name, source.utterance): _unit(f, source.records[f.spec.modality], engine)
        for f in features
        for source in sources.values()
        if f.spec.modality in source.records
    }
    unopened_files = {
        (p.utterance, p.detail.split(": ")[0]): Reason(p.reason)
        for p in manifest.problems
        if p.reason in _UNOPENED_REASONS
    }
    keys = {
        f.name: {
            u.id: unit.get((f.name, sources[of_utterance[u.id]].utterance))
            or _missing_reason(u, f, unopened_files)
            for u in utterances
        }
        for f in features
    }
    return Plan(shards, _rows(shards, features, unit), keys, unit)


def _unit(feature: Feature, record: dict[str, Any], engine: EngineParams) -> str:
    input_fields = asdict(feature.input)
    return digest_of(
        {"source": record, "input": input_fields, "precision": engine.precision, **feature.recipe}
    )


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


def _source(
    u: Utterance, encoder_input: Input, engine: EngineParams, dialogue: Sequence[Utterance]
) -> InputSource:
    """Return the input that an utterance provides: its text or media, and its neighbours if the encoder needs them.

    Args:
        u: the utterance.
        encoder_input: what the encoder needs.
        engine: engine parameters of params.yaml; the limits for clips are part of the result.
        dialogue: all utterances of its dialogue, in order; may be empty if the encoder needs no neighbours.
    """
    alone = _own_source(u, encoder_input, engine)
    if not encoder_input.in_dialogue:
        return alone
    here = next(rank for rank, other in enumerate(dialogue) if other.id == u.id)
    before = [
        _own_source(n, encoder_input, engine) for n in dialogue[max(0, here - encoder_input.past) : here]
    ]
    after = [
        _own_source(n, encoder_input, engine) for n in dialogue[here + 1 : here + 1 + encoder_input.future]
    ]
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
    if encoder_input.speaker != "next":
        return found
    follows = dialogue[here + 1].speaker if here + 1 < len(dialogue) else None
    with_next = {modality: {**record, "next_speaker": follows} for modality, record in records.items()}
    return replace(found, records=with_next, next_speaker=follows)


def _own_source(u: Utterance, encoder_input: Input, engine: EngineParams) -> InputSource:
    source = _text(u) if encoder_input.text else _media(u, engine)
    return replace(source, speaker=u.speaker) if encoder_input.speaker else source


def _text(u: Utterance) -> InputSource:
    return InputSource({"text": input_record(u, "text") or {}}, u.id, text=u.text or "")


def _media(u: Utterance, engine: EngineParams) -> InputSource:
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
    return InputSource(records, u.id, video=video, audio=audio)


def _missing_reason(
    u: Utterance, feature: Feature, unopened_files: Mapping[tuple[str | None, str], Reason]
) -> Reason:
    """Return why a feature of an utterance cannot be computed.

    The reason is that the corpus has no such media for it, or a problem that the scan found, or else an absent file.

    Args:
        u: the utterance.
        feature: the feature.
        unopened_files: (utterance id, path) -> problem with this file that the scan found.
    """
    ref = u.audio if feature.spec.modality == "audio" else u.video
    return Reason.NOT_IN_CORPUS if ref is None else unopened_files.get((u.id, ref.path), Reason.ABSENT)
