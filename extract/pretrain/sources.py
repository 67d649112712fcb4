"""Load labelled sounds or pictures for training an image extractor, from a corpus or from a folder of files."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ercache.cache import CacheFile, Status
from ercache.digests import digest_of, digest_of_file
from ercache.errors import UsageError
from ercache.manifest import Manifest, MediaRef
from ercache.params.schema import EngineParams, FacePolicy, Limits
from ercache.wording import count_noun
from extract.corpora.common.suffixes import AUDIO_SUFFIXES
from extract.engine.extraction import extract_corpus, raise_if_withheld
from extract.engine.plan import Feature
from extract.engine.run import StageProgress
from extract.media import Span
from extract.media.mel_image import RATE, resized
from extract.media.reader import MediaReader
from extract.media.scanned import ReadRequest
from extract.pretrain.config import AudioConfig, ExtractorConfig, VisualConfig
from extract.pretrain.entry import classes_of
from extract.pretrain.examples import Examples, examples_of_sounds
from extract.pretrain.inputs import PictureInput, PictureParams, SoundInput, SoundParams

SOUNDS: Final = tuple(f".{suffix}" for suffix in sorted(AUDIO_SUFFIXES))
IMAGES: Final = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
DEV_SHARE: Final = 0.1  # share of each class of a folder
DEV_IDENTITIES: Final = 0.05  # held out, docs/papers/m2fnet.md, section 5.2
FAIL_OVER: Final = 5.0  # percent of utterances whose media may be unavailable


@dataclass(frozen=True)
class ImageSource:
    """The training and validation data of an image extractor.

    Attributes:
        train, dev: examples for training and validation.
        classes: names of the labels; a class index points into this tuple.
        seen: dict from the name of the corpus (or folder) to the ids of all examples in `train` and `dev`.
        digest: hash of the inputs and labels of all examples.
        identities: whether a label says who is shown instead of which emotion; then `dev` and `train` share no person.
    """

    train: Examples
    dev: Examples
    classes: tuple[str, ...]
    seen: dict[str, list[str]]
    digest: str
    identities: bool = False


@dataclass(frozen=True)
class MediaSettings:
    """The settings with which the extraction engine reads the media that an extractor is trained on.

    Attributes:
        engine: parameters of the engine.
        faces: parameters of face detection.
        store: folder of the store, which keeps what was read for the next run.
        root: folder of the media.
        device: name of the torch device.
    """

    engine: EngineParams
    faces: FacePolicy
    store: Path
    root: Path
    device: str = "cpu"


def source_of_corpus(
    manifest: Manifest,
    label_set: str,
    split: str,
    config: ExtractorConfig,
    settings: MediaSettings,
    progress: StageProgress = lambda *_: None,
) -> ImageSource:
    """Load the labelled utterances in the train and dev subsets of a split as examples; no other media are opened.

    Args:
        manifest: manifest of the corpus.
        label_set: name of the label set whose labels are learned.
        split: name of the split.
        config: parameters of the extractor.
        settings: how the engine reads media.
        progress: called with the label of a step, the number of finished items, and the total number.

    Raises:
        UsageError: the corpus has no such label set or split, or the train or dev subset has no usable example.
        WorkError: too many media files could not be read.
    """
    classes = classes_of(manifest, label_set, split)
    parts = {name: frozenset(manifest.splits[split].get(name, ())) for name in ("train", "dev")}
    wanted = frozenset().union(*parts.values())
    utterances = tuple(u for u in manifest.utterances if u.id in wanted and u.labels.get(label_set))
    seen = replace(manifest, utterances=utterances, splits={}, problems=())
    feature = _feature(config, settings)
    labels = {u.id: classes.index(str(u.labels[label_set])) for u in utterances}
    settings.store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".packed-", dir=settings.store) as packed:
        result = extract_corpus(
            seen, [feature], settings.engine, store=settings.store, out=Path(packed), root=settings.root,
            device=settings.device, fail_over=FAIL_OVER, progress=progress,
        )  # fmt: skip
        raise_if_withheld(result, FAIL_OVER)
        train, dev = (
            _examples_of_caches(result.files, ids, labels, config, f"{split}/{n}") for n, ids in parts.items()
        )
    records = [[u.id, u.labels[label_set], u.id in parts["train"]] for u in utterances]
    inputs = [seen.records_digest(feature.spec.modality, part) for part in seen.parts]
    ids = [u.id for u in utterances]
    return ImageSource(
        train, dev, classes, {manifest.corpus: ids}, digest_of([records, inputs, feature.recipe])
    )


def _feature(config: ExtractorConfig, settings: MediaSettings) -> Feature:
    if isinstance(config, VisualConfig):
        params = PictureParams(frames=config.frames, side=config.side)
        return Feature("pictures", PictureInput, params, None, settings.faces)
    return Feature("sound", SoundInput, SoundParams(), None, None)


def _examples_of_caches(
    files: Sequence[Path], ids: frozenset[str], labels: Mapping[str, int], config: ExtractorConfig, what: str
) -> Examples:
    names: list[str] = []
    arrays: list[Any] = []
    for path in files:
        with CacheFile(path) as cache:
            for entry in cache.entries:
                if entry.status == Status.OK and entry.id in ids:
                    (array,) = cache[entry.id].values()
                    names.append(entry.id)
                    arrays.append(np.asarray(array))
    if not names:
        raise UsageError(
            f"split/subset {what}: no labelled utterance has usable pictures or sound",
            hint="choose another label set or split, or check the media with `ercache scan`",
        )
    if not isinstance(config, VisualConfig):
        return examples_of_sounds(names, [labels[n] for n in names], arrays, config.side)
    owners = [name for name, array in zip(names, arrays, strict=True) for _ in range(len(array))]
    images = torch.from_numpy(np.concatenate(arrays))
    return Examples(tuple(owners), torch.tensor([labels[name] for name in owners]), images)


def source_of_folder(
    folder: Path,
    config: ExtractorConfig,
    identities: bool,
    seed: int,
    progress: StageProgress = lambda *_: None,
) -> ImageSource:
    """Load the files in `<folder>/<label>/` as examples, and choose some of them at random for validation (dev).

    For validation, about 10 % of the files of each label are chosen; if labels are people, all files of 5 % of them.

    Args:
        folder: folder with one subfolder per label.
        config: parameters of the extractor.
        identities: whether a label says who is shown instead of which emotion.
        seed: seed of the random choice.
        progress: called with the label of a step, the number of finished items, and the total number.

    Raises:
        UsageError: fewer than two labels (or four people) have files, or a file cannot be read.
    """
    audio = isinstance(config, AudioConfig)
    endings = SOUNDS if audio else IMAGES
    found = sorted(p for p in folder.glob("*/*") if p.suffix.lower() in endings and p.is_file())
    classes = tuple(dict.fromkeys(path.parent.name for path in found))
    if len(classes) < (4 if identities else 2):
        expected_layout = "a folder with one subfolder per label"
        raise UsageError(
            f"the folder {folder} has files for {count_noun(len(classes), 'label')}; a training run needs at least"
            f" {count_noun(4 if identities else 2, 'label')}",
            hint=f"give {expected_layout}, containing {'sound' if audio else ', '.join(IMAGES)} files",
        )
    names = [f"{path.parent.name}/{path.name}" for path in found]
    labels = [classes.index(path.parent.name) for path in found]
    dev = _dev_rows(labels, identities, seed)
    examples = _read_files(found, names, labels, config, progress)
    train = examples.rows([n for n in range(len(found)) if n not in dev])
    contents = [digest_of_file(path) for path in found]
    return ImageSource(
        _renumbered(train) if identities else train,
        examples.rows(sorted(dev)),
        classes,
        {f"folder:{folder.name}": names},
        digest_of([names, labels, sorted(dev), contents]),
        identities,
    )


def _dev_rows(labels: Sequence[int], identities: bool, seed: int) -> set[int]:
    random = np.random.default_rng(seed)
    classes = sorted(set(labels))
    if identities:
        count = max(2, round(DEV_IDENTITIES * len(classes)))
        held = set(random.permutation(classes)[:count].tolist())
        return {n for n, label in enumerate(labels) if label in held}
    chosen: set[int] = set()
    for c in classes:
        rows = random.permutation([n for n, label in enumerate(labels) if label == c])
        chosen |= set(rows[: max(1, round(DEV_SHARE * len(rows)))].tolist()) if len(rows) > 1 else set()
    return chosen


def _renumbered(examples: Examples) -> Examples:
    """Return the same examples with class indices 0, 1, 2 ..., in the old order but without gaps.

    Gaps arise when all examples of some people have been taken for validation.
    """
    return replace(examples, labels=torch.unique(examples.labels, return_inverse=True)[1])


def _read_files(
    paths: Sequence[Path],
    names: Sequence[str],
    labels: Sequence[int],
    config: ExtractorConfig,
    progress: StageProgress,
) -> Examples:
    arrays, bad = [], []
    with MediaReader() as reader:
        for n, path in enumerate(paths):
            progress("files", n, len(paths))
            try:
                sound = isinstance(config, AudioConfig)
                arrays.append(_sound(reader, path) if sound else _picture(path, config.side))
            except (OSError, ValueError) as error:
                bad.append(f"{names[n]}: {error}")
    if bad:
        raise UsageError(
            f"{count_noun(len(bad), 'file')} cannot be read",
            details=bad[:20],
            hint="repair these files, or remove them from the folder",
        )
    if isinstance(config, AudioConfig):
        return examples_of_sounds(names, labels, arrays, config.side)
    return Examples(tuple(names), torch.tensor(labels), torch.from_numpy(np.stack(arrays)))


def _sound(reader: MediaReader, path: Path) -> Any:
    span = Span(MediaRef(path.name), rates=(RATE,))
    ((_, clip),) = reader.read(ReadRequest(path.parent, path.name, None, (span,), Limits()))
    if clip.no_sound is not None:
        raise ValueError(f"{clip.no_sound.reason.value} {clip.no_sound.detail}".strip())
    return clip.sounds[RATE]


def _picture(path: Path, side: int) -> Any:
    from PIL import Image

    with Image.open(path) as picture:
        return resized(np.asarray(picture.convert("RGB"), np.uint8), side)
