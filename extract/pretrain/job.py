"""Prepare the training of an extractor: collect labelled examples, parameters and initial weights."""

import os
from pathlib import Path

from ercache.errors import UsageError
from ercache.manifest import Manifest
from ercache.params.schema import EngineParams, FacePolicy, PretrainParams
from ercache.weights import checked_files, read_tensors
from extract.engine.run import StageProgress
from extract.pretrain.config import CONFIGS, ExtractorConfig, ExtractorTraining, TextConfig, TextTraining
from extract.pretrain.run import ImageJob, PretrainJob, TextJob
from extract.pretrain.sources import ImageSource, MediaSettings, source_of_corpus, source_of_folder
from extract.pretrain.texts import source_of_transcripts


def training_job(
    entry: PretrainParams,
    manifest: Manifest | None = None,
    media_root: Path | None = None,
    *,
    engine: EngineParams,
    faces: FacePolicy,
    store: Path,
    device: str = "cpu",
    progress: StageProgress = lambda *_: None,
) -> PretrainJob:
    """Prepare a training run of an extractor: collect its examples, its parameters and its initial weights.

    Args:
        entry: parameters of the run from params.yaml, see `training_entry`.
        manifest: manifest of the corpus; None if the run uses a folder of labelled files.
        media_root: folder of the corpus' media; None if the run reads only transcripts, or a folder of labelled files.
        engine: parameters of the extraction engine: how media are read.
        faces: parameters of face detection.
        store: folder in which the engine keeps finished results.
        device: torch device of the engine, for example for face detection.
        progress: called with the label of a step, the number of finished items, and the total number.

    Raises:
        UsageError: the folder does not exist, the label set or split is unknown, or there are no usable examples.
        WeightsError: the initial weights are absent or damaged.
    """
    config_type, training_type = CONFIGS[entry.extractor]
    config, training = config_type(**entry.config), training_type(**entry.training)
    if isinstance(config, TextConfig):
        assert isinstance(training, TextTraining) and manifest is not None
        return TextJob(
            source_of_transcripts(manifest, entry.label_set, entry.split, config), config, training
        )
    assert isinstance(config, ExtractorConfig) and isinstance(training, ExtractorTraining)
    if manifest is None:
        source = _folder_source(entry, config, training.seed, progress)
    else:
        assert media_root is not None
        reading = MediaSettings(engine, faces, store, media_root, device)
        source = source_of_corpus(manifest, entry.label_set, entry.split, config, reading, progress)
    imagenet = None
    if config.checkpoint is not None:
        (path,) = checked_files(config.checkpoint).values()
        imagenet = read_tensors(path)
    return ImageJob(source, config, training, imagenet)


def _folder_source(
    entry: PretrainParams, config: ExtractorConfig, seed: int, progress: StageProgress
) -> ImageSource:
    folder = Path(os.path.expanduser(str(entry.folder)))
    if not folder.is_dir():
        raise UsageError(
            f"the folder of labelled files {folder} does not exist",
            hint="correct the path after --folder, or `folder` of the run under `pretrain:` in params.yaml",
        )
    return source_of_folder(folder, config, entry.labels == "identity", seed, progress)
