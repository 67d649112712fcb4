"""What params.yaml may say, the only place where choices live; `ercache.params.load` reads it."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SPLIT_MARK = "@"  # between a feature and the split that its extractor was trained on
IMPORTED = "imported"


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FacePolicy(Strict):
    """How faces are found (MTCNN); part of the provenance of every face feature.

    Attributes:
        min_face_size: smallest face searched for, pixels.
        min_face_share: the same as a share of the picture's shorter side; the larger of both counts.
        factor: ratio of neighbouring scales of the image pyramid; 0.709 is facenet-pytorch's.
        resize: `area` averages as facenet-pytorch does, `bilinear` (antialiased, on bytes) is much quicker.
        thresholds: of the three cascade stages.
        overlap: boxes that overlap a better one more than so (IoU) go no further than the first two stages; 0.7 is
            facenet-pytorch's.
        min_probability: detections below it are dropped.
        every: seconds between the instants at which faces are detected and then followed by the overlap of their
            boxes; without it they are detected on every frame used.
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
    """What one unit may cost before it is given up.

    Attributes:
        seconds: wall clock of one decoding.
        duration: longest stretch of media that is read, seconds.
        pixels: largest picture, width x height.
        megabytes: of all decoded pictures of one clip.
    """

    seconds: float = Field(120, gt=0)
    duration: float = Field(60, gt=0)
    pixels: int = Field(4096 * 2304, gt=0)
    megabytes: float = Field(2000, gt=0)


class EngineParams(Strict):
    """The engine's plan; nothing here tunes itself (`ercache bench batch` prints a good value).

    Attributes:
        shard: utterances whose media are read, encoded and resumed together.
        text_shard: the same for texts.
        batch: largest number of utterances in one forward.
        precision: of the networks' arithmetic; TF32 is always off.
        threads: of one forward.
        lanes: processes that encode, each with networks of its own; on GPUs there is one for each device.
        workers: files that a lane reads ahead at once.
        memory: megabytes of decoded media that a lane encodes together, and as much that it reads ahead.
    """

    shard: int = Field(16, ge=1)
    text_shard: int = Field(256, ge=1)
    batch: int = Field(16, ge=1)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    threads: int = Field(1, ge=1)
    lanes: int = Field(2, ge=1)
    workers: int = Field(1, ge=1)
    memory: float = Field(256, gt=0)
    limits: Limits = Limits()


class FeatureParams(BaseModel):
    """A feature: an encoder key and that encoder's params; `imported` where `ercache cache import` made its caches.

    Attributes:
        faces: what this feature's face policy has else than the common one.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    encoder: str
    faces: dict[str, Any] = {}

    @property
    def imported(self) -> bool:
        """Whether its caches came from another project; then no encoder here makes it."""
        return self.encoder == IMPORTED

    @property
    def params(self) -> dict[str, Any]:
        """The encoder's params as written."""
        return dict(self.model_extra or {})


def _nothing(value: float | tuple[int, ...]) -> bool:
    return not value


class TrainingParams(Strict):
    """How every model is trained; the epoch is always chosen on validation.

    Attributes:
        seeds: number of runs, with seeds 0, 1, ...
        epochs, patience: upper bound, and epochs without a better validation score before stopping.
        batch: dialogues per step.
        optimizer, lr, weight_decay: `adam` and `sgd` take the decay into the gradient (L2), `adamw` keeps it apart.
        momentum, dampening: of `sgd`; dampening is the share of a gradient that does not enter the momentum.
        l2: how weight_decay acts: `decay` through the optimizer; `squared` and `norm` add weight_decay times
            the squared norm or the norm of all parameters to the loss instead.
        clip: largest gradient norm; null does not clip.
        schedule: `plateau` lowers the rate when the validation score stalls (plateau_patience, plateau_factor),
            `steps` to a tenth after each of the epochs of `milestones`, `cosine` to 0 over `epochs`, and before it
            linearly up over the share `warmup` of them.
        gamma: of the focal loss; 0 is cross-entropy.
        class_weights: `balanced` weighs a class by N / (C n_c) of the train labels; where several may hold at once, the
            presence of one by how many times more often it is absent.
        modality_dropout: in training, the chance with which an utterance goes without a modality that it has; never
            without all of them.
        standardize: z-score every feature with the mean and deviation of the train part.
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
    # Left out where they are nothing, so that digests of trainings that know nothing of them stay what they are.
    modality_dropout: float = Field(0.0, ge=0, lt=1, exclude_if=_nothing)
    momentum: float = Field(0.0, ge=0, lt=1, exclude_if=_nothing)
    dampening: float = Field(0.0, ge=0, le=1, exclude_if=_nothing)
    milestones: tuple[int, ...] = Field((), exclude_if=_nothing)
    warmup: float = Field(0.0, ge=0, lt=1, exclude_if=_nothing)
    standardize: bool = True


Task = Literal["erc", "epc"]
EpcTarget = Literal["next_utterance", "next_same_speaker"]


def task_label(task: str, target: str) -> str:
    """A task in words that tell apart what cannot be compared: predictions of other targets."""
    return task if target == "next_utterance" else f"{task} of the same speaker"


class ExperimentParams(Strict):
    """One row of the results: a model on the features of a corpus.

    Attributes:
        task: `erc` recognises the emotion of each utterance; `epc` predicts that of the next one, from what was before.
        label_set: one of the manifest, or what a family of sets `<name>_<emotion>` shares, whose values are absent and
            present: then any number of emotions may hold at once.
        split: one of the manifest; `folds` names a group of its splits `<folds>/<what is held out>` instead, each of
            which is trained and tested on its own.
        history: utterances seen at most, the last ones; without it whole dialogues (`erc`), or all of the past (`epc`).
        epc_target: whose emotion `epc` predicts from what was heard: that of the next utterance, whoever says it, or of
            the next one by who spoke last, with nothing that others say in between.
        features: modality -> names of features, joined in that order; `name:array` takes one array of several.
        unlabelled: what becomes of utterances that have no label in `label_set`: `keep` leaves them in their dialogues
            as context, masked from loss and metrics; `drop` takes them out before the models see them.
        preset: named size of the model; `config` overrides single switches of it.
        training: overrides of the common training params.
        pipeline: whether dvc.yaml has it as a stage, where it has its corpus; no part of the experiment's identity.
    """

    model: str
    corpus: str
    task: Task = "erc"
    history: int | None = Field(None, ge=1)
    # Left out where it is the usual one, so that digests of experiments stay what they are.
    epc_target: EpcTarget = Field("next_utterance", exclude_if=lambda target: target == "next_utterance")
    label_set: str = "emotion7"
    split: str = "official"
    # Left out where there are none, so that digests of experiments without folds stay what they are.
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
            raise ValueError("name a split or folds, and not both")
        return self

    @model_validator(mode="after")
    def _predicts_what_it_aims_at(self) -> Self:
        if self.epc_target != "next_utterance" and self.task != "epc":
            raise ValueError("epc_target is for task: epc")
        return self

    @property
    def feature_names(self) -> list[str]:
        """Names of all features, in order, without the arrays chosen of them."""
        return list(
            dict.fromkeys(split_array_name(name)[0] for names in self.features.values() for name in names)
        )


def split_array_name(name: str) -> tuple[str, str]:
    """Feature and array of `name:array`; the array is "" where all are meant."""
    feature, _, array = name.partition(":")
    return feature, array


class PretrainParams(Strict):
    """A training of an extractor, on a corpus or on a folder of labelled files.

    Attributes:
        extractor: key of the encoder that the weights are for.
        corpus, label_set, split: train and dev utterances of a corpus, labelled with these values.
        folder: files in `<folder>/<label>/` instead; a setting of a machine, which `--folder` overrides.
        labels: what the folder's labels are; with `identity`, dev holds identities that train does not.
        config, training: switches of the extractor's training.
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
    """How `ercache sweep` searches: the same budget for every model.

    Attributes:
        trials, seeds: configurations tried, and trainings of each.
        spaces: model, or an experiment that needs a space of its own -> dotted path (`config.dropout`,
            `training.lr`) -> values to choose from.
        readings: model -> dotted path -> readings of what its paper leaves open (`ercache sweep --readings`).
    """

    trials: int = Field(16, ge=1)
    seeds: int = Field(2, ge=1)
    spaces: dict[str, dict[str, list[Any]]] = {}
    readings: dict[str, dict[str, list[Any]]] = {}


class Params(Strict):
    """All of params.yaml.

    Attributes:
        roots: corpus -> folder of its media, where neither the command line nor the machine's settings name one.
        corpora: corpus -> its own switches.
        features: name -> encoder and its params.
        profiles: name -> features.
        pipeline: corpus -> profile, for the stages in dvc.yaml.
        reproduce: paper -> corpus -> the experiment on which the rows of its tables are built, or one for each task.
        pretrain: name -> training of an extractor.
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
        """The common face policy with a feature's overrides."""
        return FacePolicy(**{**self.faces.model_dump(), **feature.faces})

    def training_of(self, experiment: ExperimentParams) -> TrainingParams:
        """The common training params with an experiment's overrides."""
        return TrainingParams(**{**self.training.model_dump(), **experiment.training})
