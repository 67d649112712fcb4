"""The manifest of a corpus: all utterances in order, each with its text, media references, labels and corpus part.

It is a JSON Lines file: first a header (corpus, version, sources, label sets, problems), then one utterance per line.
The parts (train, dev, test, ...) are the division that the corpus comes with. Other splits, and the folds of a
cross-validation, are lists of utterance ids in the file `<name>.splits.json` beside the manifest. A changed split
therefore leaves caches valid. A split may promise that its subsets share no speaker or no dialogue.
"""

import gc
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Final, Literal, get_args

from pydantic import ConfigDict, TypeAdapter

from ercache.digests import canonical_json, digest_of
from ercache.errors import CorpusError
from ercache.files import atomic_file

_NAME = re.compile(r"[A-Za-z0-9_-]+")  # names of corpora and parts, which are used in paths
FORMAT = "ercache-manifest"
VERSION = 1
MODALITIES: Final = ("text", "audio", "visual")
Promise = Literal["speaker", "dialogue"]
PROMISES: Final[tuple[Promise, ...]] = get_args(Promise)
PRESENCE: Final = (
    "absent",
    "present",
)  # values of a label set that stands for one emotion of a multi-label task
_STRICT: Final = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True)
class MediaRef:
    """A media file, or a time range of a media file.

    Attributes:
        path: path relative to the corpus root, with forward slashes.
        start, end: limits of the time range, in seconds; None means the whole file.
        crop: x0, y0, x1, y1 of a rectangle, as fractions of the picture; None means the whole picture.
        sha256: digest of the file's content; None if the file was absent when the corpus was scanned.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    path: str
    start: float | None = None
    end: float | None = None
    crop: tuple[float, float, float, float] | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Utterance:
    """One utterance: its text, speaker, media and labels.

    Attributes:
        id: name of the utterance, unique in the corpus. Code must not parse it.
        index: position in the dialogue, counted from 0.
        labels: dictionary from label set to label; None where the corpus gives no label.
        part: part of the corpus, as the corpus itself divides it (`train`, `dev`, `test`); `all` if it is not divided.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    id: str
    dialogue: str
    index: int
    speaker: str
    text: str | None
    video: MediaRef | None
    audio: MediaRef | None
    labels: Mapping[str, str | None]
    part: str


@dataclass(frozen=True)
class Problem:
    """A problem that the scan of a corpus found.

    Attributes:
        utterance: id of the utterance; None if the problem concerns the whole corpus.
        count: number of affected utterances, for a problem of the whole corpus; None if the problem concerns a single
            utterance, or none.
    """

    utterance: str | None
    status: str
    reason: str
    detail: str = ""
    count: int | None = None

    def record(self) -> dict[str, Any]:
        """The problem as a dictionary of JSON values, for the manifest file. If `count` is None, it is left out."""
        fields = asdict(self)
        return fields if self.count is not None else {k: v for k, v in fields.items() if k != "count"}


@dataclass(frozen=True)
class Manifest:
    """Everything that extraction and training know about a corpus.

    Attributes:
        sources: digest of each annotation file, by file name.
        label_sets: dictionary from label set to the names of its classes, in the order of the class indices.
        splits: dictionary from split to a dictionary from subset (train, dev, test) to utterance ids.
        promises: dictionary from split to what its subsets never share: speakers, dialogues, or both.
    """

    corpus: str
    version: str
    sources: Mapping[str, str]
    label_sets: Mapping[str, tuple[str, ...]]
    utterances: tuple[Utterance, ...]
    problems: tuple[Problem, ...] = ()
    splits: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    promises: Mapping[str, tuple[Promise, ...]] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts that the corpus is divided into (train, dev, test), in order of appearance."""
        return tuple(dict.fromkeys(u.part for u in self.utterances))

    def of_part(self, part: str) -> tuple[Utterance, ...]:
        """Select the utterances of one part of the corpus (for example, train), in manifest order."""
        return tuple(u for u in self.utterances if u.part == part)

    def summary(self) -> dict[str, dict[str, Any]]:
        """Three counts for each part of the corpus: dialogues, utterances, and utterances per label."""
        return {part: _summary(self.of_part(part), self.label_sets) for part in self.parts}

    def records_digest(
        self, modality: str, part: str, context: Mapping[str, int | bool | str] | None = None
    ) -> str:
        """sha256 of all input that an encoder reads for one part (such as train) of the corpus.

        A cache stores this digest. If the manifest later gives another digest, the cache is out of date.

        Args:
            modality: text, audio or visual: which input of the utterances the encoder reads.
            part: name of the part.
            context: number of neighbouring utterances that the encoder also reads (`past`, `future`), and whether it
                reads the speaker. If it reads any of these, dialogues and speakers are part of the digest, too.
        """
        rows = [[u.id, input_record(u, modality)] for u in self.of_part(part)]
        if any((context or {}).values()):
            rows = [[*row, u.dialogue, u.speaker] for row, u in zip(rows, self.of_part(part), strict=True)]
        return digest_of(rows)

    def sets_of(self, name: str) -> tuple[str, ...]:
        """Find the label sets that a name stands for.

        The name of a label set stands for this one set. In a multi-label corpus, a name may also stand for several
        sets `<name>_<emotion>`, one per emotion, each with the classes absent and present.

        Returns:
            Names of label sets; empty if the name is unknown.
        """
        if name in self.label_sets:
            return (name,)
        starts = (s for s in self.label_sets if s.startswith(f"{name}_"))
        return tuple(sorted(s for s in starts if self.label_sets[s] == PRESENCE))

    def folds_of(self, name: str) -> tuple[str, ...]:
        """Names of the splits that form the cross-validation `name`, one split `<name>/<held-out group>` per fold."""
        return tuple(split for split in self.splits if split.rpartition("/")[0] == name)

    def labels_digest(self, label_set: str, split: str) -> str:
        """sha256 of all labels of the corpus, and of the ids in the subsets of a split or a cross-validation.

        A training run stores this digest, so that ercache notices when labels or splits change later. Caches do not
        depend on labels.

        Args:
            label_set: name of a label set, or common beginning of several names (see `sets_of`).
            split: name of a split, or name of a cross-validation (see `folds_of`).
        """
        sets = self.sets_of(label_set)
        if len(sets) == 1:
            labels: list[Any] = [[u.id, u.labels.get(label_set)] for u in self.utterances]
        else:
            labels = [[u.id, *(u.labels.get(name) for name in sets)] for u in self.utterances]
        folds = {fold: self.splits[fold] for fold in self.folds_of(split)}
        return digest_of({"labels": labels, "split": self.splits.get(split, folds)})


def modalities_of(utterances: Iterable[Utterance]) -> frozenset[str]:
    """Find the modalities (text, audio, visual) that at least one of the given utterances has."""
    found = ((("text", u.text), ("audio", u.audio), ("visual", u.video)) for u in utterances)
    return frozenset(modality for of_one in found for modality, given in of_one if given)


def input_record(u: Utterance, modality: str) -> dict[str, Any] | None:
    """Describe what an encoder of one modality reads of an utterance: its text, or a time range of a media file.

    Returns:
        A dictionary of JSON values, with the digest of the media file; None if the utterance has no such media.
    """
    if modality == "text":
        return {"text": u.text or ""}
    ref = u.audio if modality == "audio" else u.video
    if ref is None or ref.sha256 is None:
        return None
    return {"media": ref.sha256, "stream": modality, "start": ref.start, "end": ref.end, "crop": ref.crop}


def _summary(utterances: Iterable[Utterance], label_sets: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    rows = list(utterances)
    labels = {
        name: {value: count[value] for value in values}
        for name, values in label_sets.items()
        for count in [Counter(u.labels.get(name) for u in rows)]
    }
    return {"dialogues": len({u.dialogue for u in rows}), "utterances": len(rows), "labels": labels}


def splits_path(path: Path) -> Path:
    """Path of the file that holds the splits of a manifest: `<name>.splits.json` beside `<name>.jsonl`."""
    return path.with_suffix(".splits.json")


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest and its splits. Each of the two files appears complete or not at all.

    Raises:
        CorpusError: the manifest is invalid, see `check`.
    """
    check(manifest)
    header = {
        "format": FORMAT,
        "format_version": VERSION,
        "corpus": manifest.corpus,
        "version": manifest.version,
        "sources": dict(manifest.sources),
        "label_sets": {name: list(values) for name, values in manifest.label_sets.items()},
        "problems": [problem.record() for problem in manifest.problems],
    }
    _replace(path, _lines(header, manifest.utterances))
    splits = {
        name: {
            "promises": list(manifest.promises.get(name, ())),
            "subsets": {subset: list(ids) for subset, ids in split.items()},
        }
        for name, split in manifest.splits.items()
    }
    _replace(splits_path(path), [json.dumps(splits, indent=1, ensure_ascii=False) + "\n"])


def read_manifest(path: Path) -> Manifest:
    """Read a manifest and its splits.

    Raises:
        CorpusError: the file is absent, damaged, of another version, or not a manifest.
    """
    if not path.is_file():
        raise CorpusError(
            f"manifest not found: {path}", hint="create it with `ercache scan CORPUS --root DIR`"
        )
    try:
        header, utterances = _read_lines(path)
        splits, promises = _read_splits(splits_path(path))
        manifest = Manifest(
            corpus=header["corpus"],
            version=header["version"],
            sources=header["sources"],
            label_sets={name: tuple(values) for name, values in header["label_sets"].items()},
            utterances=utterances,
            problems=tuple(Problem(**row) for row in header["problems"]),
            splits=splits,
            promises=promises,
        )
        check(manifest)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorpusError(f"{path}: damaged manifest ({error})", hint="scan the corpus again") from error
    return manifest


def check(manifest: Manifest) -> None:
    """Raise an error if a manifest is invalid.

    A manifest is invalid if an id occurs twice, a media path leads out of the corpus root, a split has an unknown id,
    or a name (of an utterance, label, part or split) is empty or contains forbidden characters.

    Raises:
        CorpusError: the manifest is invalid. The details list the problems.
    """
    count = Counter(u.id for u in manifest.utterances)
    bad = [f"id {i!r} occurs {n} times" for i, n in count.items() if n > 1]
    names = (manifest.corpus, *manifest.parts)
    bad += [f"{n!r} is not a valid name of a corpus or corpus part" for n in names if not _NAME.fullmatch(n)]
    bad += [f"id {i!r} is empty or holds control characters" for i in count if not i or not i.isprintable()]
    # Many utterances may share a file, so each path is checked once.
    paths = {r.path: u.id for u in manifest.utterances for r in (u.video, u.audio) if r is not None}
    bad += [f"{i}: {path!r} leaves the corpus root" for path, i in paths.items() if leaves_root(path)]
    # Labels are exported as numpy texts, which lose a NUL at their end.
    labels = {v for u in manifest.utterances for v in u.labels.values() if v is not None}
    labels.update(*manifest.label_sets.values())
    bad += [
        f"label {v!r} is empty or holds control characters"
        for v in sorted(labels)
        if not v or not v.isprintable()
    ]
    known = set(count)
    # Names of folds are used in paths of runs and features.
    bad += [
        f"split {name!r} is not a valid name"
        for name in manifest.splits
        if leaves_root(name) or PurePosixPath(name).as_posix() != name
    ]
    for name, split in manifest.splits.items():
        for subset, ids in split.items():
            bad += [f"split {name}/{subset}: unknown id {i!r}" for i in ids if i not in known]
    if bad:
        raise CorpusError(
            f"manifest of {manifest.corpus}: {len(bad)} invalid entries in the annotation or the splits; correct them",
            details=bad[:20],
        )


def leaves_root(path: str) -> bool:
    """Whether a relative path might lead out of its root folder: it is empty, absolute, or holds `..` or a NUL."""
    pure = PurePosixPath(path)
    return pure.is_absolute() or ".." in pure.parts or "\0" in path or not pure.parts


_UTTERANCE = TypeAdapter(Utterance)


def _lines(header: Mapping[str, Any], utterances: Iterable[Utterance]) -> Iterator[str]:
    yield canonical_json(header) + "\n"
    for u in utterances:
        # Gives the same as asdict() in a third of the time.
        media = {"video": u.video and vars(u.video), "audio": u.audio and vars(u.audio)}
        yield canonical_json({**vars(u), **media}) + "\n"


def _read_lines(path: Path) -> tuple[dict[str, Any], tuple[Utterance, ...]]:
    with path.open("rb") as stream, _no_collection():
        header = json.loads(stream.readline())
        if header.get("format") != FORMAT or header.get("format_version") != VERSION:
            raise CorpusError(
                f"{path}: not a manifest of format version {VERSION}", hint="scan the corpus again"
            )
        return header, tuple(_UTTERANCE.validate_json(line) for line in stream)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Context manager that switches Python's garbage collector off, to read a manifest faster.

    Reading leaves nothing to collect, but the collector's searches would take longer than the reading itself.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _read_splits(path: Path) -> tuple[dict[str, dict[str, tuple[str, ...]]], dict[str, tuple[Promise, ...]]]:
    """Read the splits of a manifest, and what each split promises (that its subsets share no speaker or no dialogue).

    Files of older versions hold no promises.
    """
    if not path.is_file():
        raise CorpusError(f"splits not found: {path}", hint="scan the corpus again")
    splits: dict[str, dict[str, tuple[str, ...]]] = {}
    promises: dict[str, tuple[Promise, ...]] = {}
    for name, split in json.loads(path.read_text(encoding="utf-8")).items():
        if isinstance(split.get("subsets"), dict):
            if split["promises"]:
                promises[name] = tuple(kind for kind in PROMISES if kind in split["promises"])
            split = split["subsets"]
        splits[name] = {subset: tuple(ids) for subset, ids in split.items()}
    return splits, promises


def _replace(path: Path, lines: Iterable[str]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.writelines(lines)
