"""The entries of params.yaml, where all choices of a project stand. `ercache.params.load` reads the file."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SPLIT_MARK = "@"  # `feature@split` is the feature with the extractor trained on that split
IMPORTED = "imported"


class Strict(BaseModel):
    """Base class of all params (pydantic): immutable; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FacePolicy(Strict):
    """How faces are detected (MTCNN). The provenance of every face feature holds these values.

    Attributes:
        min_face_size: smallest face to search for, pixels.
        min_face_share: smallest face as a share of the picture's shorter side. The larger of the two limits applies.
        factor: ratio of neighbouring scales of the image pyramid; facenet-pytorch uses 0.709.
        resize: `area` averages pixels as facenet-pytorch does; `bilinear` (antialiased, on bytes) is much faster.
        thresholds: thresholds of the three cascade stages.
        overlap: after the first two stages, boxes with a larger overlap (IoU) with a better box are dropped;
            facenet-pytorch uses 0.7.
        min_probability: detections with a lower probability are dropped.
        every: seconds between detections; between them, faces are tracked by the overlap of their boxes. Without it,
            faces are detected on every frame that is used.
    """

    min_face_size: int = Field(40, ge=12)
    min_face_share: float = Field(0, ge=0, le=1)
    factor: float = Field(0.709, ge=0.3, le=0.9)
    resize: Literal["area", "bilinear"] = "area"
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    overlap: float = Field(0.7, gt=0, le=1)
    min_probability: float = Field(0.9, ge=0, le=1)
    every: float | None = Field(None, gt=0)


class Limits(Strict):
    """Limits per clip. A clip that exceeds one has no feature, and the reason is recorded.

    Attributes:
        seconds: wall clock time of decoding.
        duration: duration of the clip, seconds.
        pixels: size of a picture, width x height.
        megabytes: size of all decoded pictures.
    """

    seconds: float = Field(120, gt=0)
    duration: float = Field(60, gt=0)
    pixels: int = Field(4096 * 2304, gt=0)
    megabytes: float = Field(2000, gt=0)


class EngineParams(Strict):
    """How extraction runs. No value adapts by itself; `ercache bench batch` prints a good batch size.

    Attributes:
        shard: number of utterances whose media are read, encoded and resumed together.
        text_shard: the same for texts.
        batch: largest number of utterances in one forward pass.
        precision: floating-point type of the networks; TF32 is always off.
        threads: CPU threads of one forward pass.
        lanes: number of worker processes that encode, each with its own copy of the networks. On GPUs there is one
            per device.
        workers: number of files that a worker process reads ahead.
        memory: megabytes of decoded media that a worker process encodes together, and as much again to read ahead.
    """

    shard: int = Field(16, ge=1)
    text_shard: int = Field(256, ge=1)
    batch: int = Field(16, ge=1)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: int = Field(1, ge=1)
    lanes: int = Field(2, ge=1)
    workers: int = Field(1, ge=1)
    memory: float = Field(128, gt=0)
    limits: Limits = Limits()


class FeatureParams(BaseModel):
    """A feature: an encoder and its params.

    Attributes:
        encoder: key of the encoder, or `imported` if `ercache cache import` wrote the caches.
        faces: entries of the face policy that differ for this feature.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    encoder: str
    faces: dict[str, Any] = {}

    @property
    def imported(self) -> bool:
        """Whether its caches come from another project. No encoder here can compute it then."""
        return self.encoder == IMPORTED

    @property
    def params(self) -> dict[str, Any]:
        """The params of the encoder, as written in params.yaml."""
        return dict(self.model_extra or {})


def _nothing(value: float | tuple[int, ...]) -> bool:
    return not value


class TrainingParams(Strict):
    """How every model is trained. The epoch is always chosen on validation.

    Attributes:
        seeds: number of trainings, with seeds 0, 1, ...
        epochs: largest number of epochs.
        patience: training stops after so many epochs without a better validation score.
        batch: dialogues per step.
        optimizer, lr, weight_decay: `adam` and `sgd` add the decay to the gradient (L2); `adamw` decouples it.
        momentum, dampening: options of `sgd`; dampening is the share of a gradient that does not enter the momentum.
        l2: how weight_decay acts. `decay` acts through the optimizer. `squared` and `norm` instead add weight_decay
            times the squared norm, or the norm, of all parameters to the loss.
        clip: largest gradient norm; null does not clip.
        schedule: learning rate over epochs. `plateau` lowers it when the validation score stalls (plateau_patience,
            plateau_factor). `steps` divides it by 10 after each epoch in `milestones`. `cosine` lowers it to 0 over
            `epochs`, after a linear increase over the share `warmup` of them.
        gamma: exponent of the focal loss; 0 gives cross-entropy.
        class_weights: `balanced` weighs a class by N / (C n_c), from the train labels. In a multi-label task it weighs
            the presence of an emotion by (times absent) / (times present).
        modality_dropout: chance, in training, to hide a modality of an utterance. At least one modality always stays.
        standardize: standardise every feature with mean and standard deviation of the train part.
    """

    seeds: int = Field(5, ge=1)
    epochs: int = Field(60, ge=1)
    patience: int = Field(12, ge=1)
    batch: int = Field(8, ge=1)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    l2: Literal["decay", "squared", "norm"] = "decay"
    clip: float | None = Field(1.0, gt=0)
    schedule: Literal["plateau", "constant", "steps", "cosine"] = "plateau"
    plateau_patience: int = Field(5, ge=0)
    plateau_factor: float = Field(0.5, gt=0, lt=1)
    gamma: float = Field(0.0, ge=0)
    class_weights: Literal["none", "balanced"] = "none"
    # Left out of digests when zero or empty, so that digests of older trainings stay the same.
    modality_dropout: float = Field(0.0, ge=0, lt=1, exclude_if=_nothing)
    momentum: float = Field(0.0, ge=0, lt=1, exclude_if=_nothing)
    dampening: float = Field(0.0, ge=0, le=1, exclude_if=_nothing)
    milestones: tuple[int, ...] = Field((), exclude_if=_nothing)
    warmup: float = Field(0.0, ge=0, lt=1, exclude_if=_nothing)
    standardize: bool = True


Task = Literal["erc", "epc"]
EpcTarget = Literal["next_utterance", "next_same_speaker"]


def task_label(task: str, target: str) -> str:
    """Label of a task that also names an unusual target, because scores of different targets cannot be compared."""
    return task if target == "next_utterance" else f"{task} of the same speaker"


class ExperimentParams(Strict):
    """An experiment: a model on features of a corpus.

    Attributes:
        model: key of the model.
        corpus: key of the corpus.
        task: `erc` recognises the emotion of each utterance. `epc` predicts the emotion of the next utterance from the
            utterances before it.
        label_set: a label set of the manifest. Or the common beginning of sets `<name>_<emotion>` with the values
            absent and present; then several emotions may be present at once.
        split: a split of the manifest.
        folds: instead of `split`, a group of splits `<folds>/<held-out group>`. Each of them is trained and tested.
        history: largest number of utterances that the model reads, counted back from the current one. Without it, the
            model reads whole dialogues (`erc`) or the whole past (`epc`).
        epc_target: which emotion `epc` predicts: that of the next utterance by any speaker, or that of the next
            utterance by the current speaker. In the second case, utterances of others in between are hidden.
        features: modality -> names of features, concatenated in this order; `name:array` uses one of several arrays.
        unlabelled: utterances without a label in `label_set`. `keep` leaves them in their dialogues as context, masked
            in loss and metrics. `drop` removes them before the model reads the dialogue.
        preset: named size of the model.
        config: switches of the model that differ from the preset.
        training: training params that differ from the common ones.
        pipeline: whether dvc.yaml gets a stage for it, if its corpus is in the pipeline. It does not enter digests.
    """

    model: str
    corpus: str
    task: Task = "erc"
    history: int | None = Field(None, ge=1)
    # Left out of digests when it is the default, so that digests of older experiments stay the same.
    epc_target: EpcTarget = Field("next_utterance", exclude_if=lambda target: target == "next_utterance")
    label_set: str = "emotion7"
    split: str = "official"
    # Left out of digests when there are none, so that digests of older experiments stay the same.
    folds: str | None = Field(None, exclude_if=lambda name: name is None)
    unlabelled: Literal["keep", "drop"] = "keep"
    features: dict[Literal["text", "audio", "visual"], list[str]] = Field(min_length=1)
    preset: str = "small"
    config: dict[str, Any] = {}
    training: dict[str, Any] = {}
    pipeline: bool = Field(True, exclude=True)

    @model_validator(mode="after")
    def _one_of_split_and_folds(self) -> Self:
        if self.folds is not None and self.split != "official":
            raise ValueError("give either a split or folds")
        return self

    @model_validator(mode="after")
    def _predicts_what_it_aims_at(self) -> Self:
        if self.epc_target != "next_utterance" and self.task != "epc":
            raise ValueError("epc_target needs task: epc")
        return self

    @property
    def feature_names(self) -> list[str]:
        """Names of all features, in order, without `:array`."""
        return list(
            dict.fromkeys(split_array_name(name)[0] for names in self.features.values() for name in names)
        )


def split_array_name(name: str) -> tuple[str, str]:
    """Split `name:array` into feature and array. The array is "" if none is named."""
    feature, _, array = name.partition(":")
    return feature, array


class PretrainParams(Strict):
    """The training of an extractor, on a corpus or on a folder of labelled files.

    Attributes:
        extractor: key of the encoder that uses the weights.
        corpus, label_set, split: train on the train and dev utterances of a corpus, with these labels.
        folder: instead of a corpus, train on the files `<folder>/<label>/*`. The option `--folder` overrides it.
        labels: kind of the folder's labels. With `identity`, train and dev hold different identities.
        config: switches of the extractor.
        training: training params.
    """

    extractor: str
    corpus: str | None = None
    label_set: str = "emotion7"
    split: str = "official"
    folder: str | None = None
    labels: Literal["class", "identity"] = "class"
    config: dict[str, Any] = {}
    training: dict[str, Any] = {}


class SweepParams(Strict):
    """How `ercache sweep` searches. Every model has the same budget.

    Attributes:
        trials: number of configurations to try.
        seeds: number of trainings per configuration.
        spaces: search spaces. Model or experiment -> dotted path (`config.dropout`, `training.lr`) -> values.
        readings: alternatives where a paper leaves a choice open, for `ercache sweep --readings`. Model -> dotted path
            -> values.
    """

    trials: int = Field(16, ge=1)
    seeds: int = Field(2, ge=1)
    spaces: dict[str, dict[str, list[Any]]] = {}
    readings: dict[str, dict[str, list[Any]]] = {}


class Params(Strict):
    """The whole of params.yaml.

    Attributes:
        roots: corpus -> root folder, used if neither the command line nor params.local.yaml names one.
        corpora: corpus -> its switches.
        faces: how faces are detected.
        engine: how extraction runs.
        features: name -> encoder and its params.
        profiles: name -> features.
        pipeline: corpus -> profile, for the stages in dvc.yaml.
        pretrain: name -> training of an extractor.
        training: training params of all models.
        experiments: name -> experiment.
        sweeps: hyper-parameter search.
        reproduce: paper -> corpus -> experiment that the rows of its tables change, or one experiment per task.
    """

    roots: dict[str, str] = {}
    corpora: dict[str, dict[str, Any]] = {}
    faces: FacePolicy = FacePolicy()
    engine: EngineParams = EngineParams()
    features: dict[str, FeatureParams] = {}
    profiles: dict[str, list[str]] = {}
    pipeline: dict[str, str] = {}
    pretrain: dict[str, PretrainParams] = {}
    training: TrainingParams = TrainingParams()
    experiments: dict[str, ExperimentParams] = {}
    sweeps: SweepParams = SweepParams()
    reproduce: dict[str, dict[str, str | dict[Task, str]]] = {}

    def faces_of(self, feature: FeatureParams) -> FacePolicy:
        """The face policy of a feature: the common one with the feature's own entries."""
        return FacePolicy(**{**self.faces.model_dump(), **feature.faces})

    def training_of(self, experiment: ExperimentParams) -> TrainingParams:
        """The training params of an experiment: the common ones with the experiment's own entries."""
        return TrainingParams(**{**self.training.model_dump(), **experiment.training})
