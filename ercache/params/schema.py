"""The entries that params.yaml may have, as pydantic classes. params.yaml holds all choices of a project."""

from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ercache.training.selection import METRIC

SPLIT_MARK = "@"  # `feature@split` is the feature with the extractor trained on that split
IMPORTED = "imported"
RECIPE: Final = "recipe"  # in `training` of an experiment: names a training recipe of the model


class Strict(BaseModel):
    """Base class of all params (a pydantic model): values cannot be changed, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FacePolicy(Strict):
    """How faces are detected (MTCNN). The provenance of every face feature holds these values.

    Attributes:
        min_face_size: side of the smallest face to search for, in pixels.
        min_face_share: side of the smallest face, as a share of the picture's shorter side. The larger of this limit
            and `min_face_size` applies.
        factor: size of each picture in the image pyramid, relative to the next larger one; facenet-pytorch uses 0.709.
        resize: `area` averages pixels as facenet-pytorch does; `bilinear` (antialiased, on bytes) is much faster.
        thresholds: score thresholds of MTCNN's three stages.
        overlap: after the first two stages, a box is dropped if it overlaps a better box by more than this IoU;
            facenet-pytorch uses 0.7.
        min_probability: detections with a lower probability are dropped.
        every: seconds between two detections. From one to the next, a face is followed by the overlap of its boxes. If
            not set, faces are detected in every frame that is used.
    """

    min_face_size: int = Field(20, ge=12)
    min_face_share: float = Field(0.125, ge=0, le=1)
    factor: float = Field(0.5, ge=0.3, le=0.9)
    resize: Literal["area", "bilinear"] = "bilinear"
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    overlap: float = Field(0.5, gt=0, le=1)
    min_probability: float = Field(0.8, ge=0, le=1)
    every: float | None = Field(None, gt=0)


class Limits(Strict):
    """Limits per clip. A clip that exceeds a limit has no feature, and the cache records the reason.

    Attributes:
        seconds: longest wall clock time for decoding the clip, in seconds.
        duration: longest duration of the clip, in seconds.
        pixels: largest size of a picture, width x height.
        megabytes: largest size of all decoded pictures of the clip together.
    """

    seconds: float = Field(120, gt=0)
    duration: float = Field(60, gt=0)
    pixels: int = Field(4096 * 2304, gt=0)
    megabytes: float = Field(2000, gt=0)


class EngineParams(Strict):
    """How extraction runs. No value is tuned automatically; `ercache bench batch` prints a good batch size.

    Attributes:
        shard: number of utterances in a shard. The media of a shard are read and encoded together. An interrupted run
            repeats only unfinished shards.
        text_shard: number of utterances in a shard of a text feature.
        batch: largest number of utterances in one forward pass.
        precision: floating-point type of the networks; TF32 is always off.
        threads: number of CPU threads of one forward pass.
        lanes: number of worker processes that encode, each with its own copy of the networks. On GPUs there is one per
            device.
        workers: number of files that a worker process reads ahead.
        memory: megabytes of decoded media that a worker process encodes together. Meanwhile, it reads ahead at most
            as many megabytes.
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
        faces: settings of face detection (`FacePolicy`) in which this feature differs from `faces` in params.yaml.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    encoder: str
    faces: dict[str, Any] = {}

    @property
    def imported(self) -> bool:
        """Whether the feature was imported from another project, so that no encoder of ercache can compute it."""
        return self.encoder == IMPORTED

    @property
    def params(self) -> dict[str, Any]:
        """Params of the encoder: all entries of the feature in params.yaml except `encoder` and `faces`."""
        return dict(self.model_extra or {})


def _nothing(value: float | tuple[int, ...]) -> bool:
    return not value


class TrainingParams(Strict):
    """How every model is trained. The best epoch is always chosen on validation data.

    A training run is identified by a digest of its params. Fields that ercache got later are left out of the digest if
    they have their default, so that the digests of older runs stay valid.

    Attributes:
        seeds: number of training runs, with seeds 0, 1, ...
        epochs: largest number of epochs.
        patience: training stops after this number of epochs without a better validation score.
        batch: number of dialogues per step.
        optimizer, lr, weight_decay: `adam` and `sgd` add the decay to the gradient (L2); `adamw` decouples it.
        momentum, dampening: options of `sgd`; dampening is the share of a gradient that does not enter the momentum.
        l2: how weight_decay acts. `decay`: through the optimizer. `squared` or `norm`: the loss gets an additional
            term, weight_decay times the squared norm (`squared`) or the norm (`norm`) of all parameters.
        clip: largest gradient norm; null switches clipping off.
        schedule: learning rate over epochs. `plateau` lowers it when the validation score stalls (plateau_patience,
            plateau_factor). `steps` divides it by 10 after each epoch in `milestones`. `cosine` first increases it
            linearly over the share `warmup` of the epochs, then lowers it to 0.
        gamma: exponent of the focal loss; 0 gives cross-entropy.
        class_weights: weights in the loss; `none` weighs all classes equally. `balanced` weighs class c by
            N / (C n_c), for N train labels, C classes and n_c train labels of class c. In a multi-label task, it weighs
            the presence of an emotion by (number of train utterances without it) / (number with it).
        modality_dropout: probability of hiding a modality of an utterance during training. At least one modality always
            stays.
        standardize: standardise every feature with the mean and standard deviation of the train subset.
        select: key of the metric that chooses the epoch on validation, such as `weighted_f1`, `uar` or `accuracy`.
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
    modality_dropout: float = Field(0.0, ge=0, lt=1, exclude_if=_nothing)
    momentum: float = Field(0.0, ge=0, lt=1, exclude_if=_nothing)
    dampening: float = Field(0.0, ge=0, le=1, exclude_if=_nothing)
    milestones: tuple[int, ...] = Field((), exclude_if=_nothing)
    warmup: float = Field(0.0, ge=0, lt=1, exclude_if=_nothing)
    standardize: bool = True
    select: str = Field(METRIC, exclude_if=lambda metric: metric == METRIC)


Modality = Literal["text", "audio", "visual"]
Task = Literal["erc", "epc"]
EpcTarget = Literal["next_utterance", "next_same_speaker"]


class ExperimentParams(Strict):
    """An experiment: a model trained on features of a corpus.

    Attributes:
        model: key of the model.
        corpus: key of the corpus.
        task: `erc` recognises the emotion of each utterance. `epc` predicts the emotion of the next utterance from the
            utterances before it.
        label_set: a label set of the manifest. It may also be the common beginning of label sets `<name>_<emotion>`
            with the values absent and present. Then several emotions may be present at once.
        split: name of a split of the manifest.
        folds: for cross-validation, used instead of `split`: the name of a group of splits `<folds>/<held-out group>`.
            The model is trained and tested on each of them.
        history: largest number of utterances that the model reads, counted back from the current one. If not set, the
            model reads whole dialogues (`erc`) or all utterances so far (`epc`).
        epc_target: the utterance whose emotion `epc` predicts: the next utterance by any speaker, or the next utterance
            by the current speaker. In the second case, utterances of other speakers in between are hidden.
        features: names of the features of each modality, concatenated in this order. `name:array` uses one of several
            arrays of a feature.
        unlabelled: what happens to utterances without a label in `label_set`. `keep` leaves them in their dialogues as
            context, masked in loss and metrics. `drop` removes them before the model reads the dialogue.
        preset: named size of the model.
        config: switches of the model that differ from the preset.
        training: training params that differ from `training` in params.yaml. `training: NAME` takes a training recipe
            of the model instead, such as `paper`; `training: {recipe: NAME, ...}` changes single params of the recipe.
        pipeline: whether dvc.yaml gets a stage for this experiment, if its corpus is in the pipeline. Digests of runs
            do not depend on it.
    """

    model: str
    corpus: str
    task: Task = "erc"
    history: int | None = Field(None, ge=1)
    epc_target: EpcTarget = Field("next_utterance", exclude_if=lambda target: target == "next_utterance")
    label_set: str = "emotion7"
    split: str = "official"
    folds: str | None = Field(None, exclude_if=lambda name: name is None)
    unlabelled: Literal["keep", "drop"] = "keep"
    features: dict[Modality, list[str]] = Field(min_length=1)
    preset: str = "small"
    config: dict[str, Any] = {}
    training: dict[str, Any] = {}
    pipeline: bool = Field(True, exclude=True)

    @field_validator("training", mode="before")
    @classmethod
    def _recipe_by_name(cls, value: Any) -> Any:
        return {RECIPE: value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.folds is not None and self.split != "official":
            raise ValueError("give either a split or folds")
        if self.epc_target != "next_utterance" and self.task != "epc":
            raise ValueError("epc_target needs task: epc")
        return self

    @property
    def recipe(self) -> str | None:
        """Name of the training recipe that the experiment takes from its model; None if it takes none."""
        return self.training.get(RECIPE)

    @property
    def feature_names(self) -> list[str]:
        """Names of the features of all modalities of the experiment, in order, without the ending `:array`."""
        return list(
            dict.fromkeys(split_array_name(name)[0] for names in self.features.values() for name in names)
        )


def split_array_name(name: str) -> tuple[str, str]:
    """Split `name:array`, as an experiment writes it, into the name of a feature and of one of its arrays.

    Without a colon, the name of the array is "".
    """
    feature, _, array = name.partition(":")
    return feature, array


class PretrainParams(Strict):
    """How an extractor is trained: on a corpus, or on a folder of labelled files.

    Attributes:
        extractor: key of the encoder that uses the weights.
        corpus: key of the corpus whose train and dev utterances are used.
        label_set: label set of the corpus that the extractor learns.
        split: split of the corpus that defines train and dev.
        folder: folder to train on instead of a corpus. Its files are `<folder>/<label>/*`. The option `--folder`
            overrides it.
        labels: what the subfolders of `folder` stand for: classes (`class`) or people (`identity`). With `identity`,
            all files of a person are either in train or in dev.
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


class PipelineParams(Strict):
    """What the pipeline (dvc.yaml) computes for one corpus. In params.yaml, `CORPUS: NAME` is short for one profile.

    Attributes:
        profiles: names of profiles (lists of features in params.yaml), or of papers that have runs on this corpus.
        modalities: the modalities to extract. `ercache init` leaves out those that the corpus does not have.
    """

    profiles: list[str] = Field(min_length=1)
    modalities: list[Modality] = Field(["text", "audio", "visual"], min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str | list):
            return {"profiles": [value] if isinstance(value, str) else value}
        return value


class PaperCorpusParams(Strict):
    """The runs of a paper on one corpus.

    Attributes:
        switches: options for scanning the corpus, so that its numbers of utterances are those in the paper.
        features: names of the features that the pipeline extracts.
        experiments: name of an experiment -> its params, without the corpus.
        reproduce: name of the experiment that `ercache reproduce` varies to compute the rows of the paper's tables; or
            a dictionary from task to such a name.
    """

    switches: dict[str, Any] = {}
    features: list[str] = Field(min_length=1)
    experiments: dict[str, ExperimentParams] = Field(min_length=1)
    reproduce: str | dict[Task, str]


class PaperParams(Strict):
    """The content of papers/PAPER.yaml: all runs of a paper. `ercache.params.papers` adds them to params.yaml.

    Attributes:
        features: name of a feature -> its encoder and the encoder's params, as in params.yaml.
        pretrain: name of an extractor -> how it is trained, as in params.yaml.
        corpora: corpus -> the paper's runs on it.
    """

    features: dict[str, FeatureParams] = {}
    pretrain: dict[str, PretrainParams] = {}
    corpora: dict[str, PaperCorpusParams] = Field(min_length=1)


class SweepParams(Strict):
    """How `ercache sweep` searches hyper-parameters. Every model has the same budget.

    Attributes:
        trials: number of configurations to try.
        seeds: number of training runs per configuration.
        spaces: values to try for each hyper-parameter. The outer key is a model or an experiment, the inner key is a
            dotted path (`config.dropout`, `training.lr`).
        readings: values to try where a paper leaves a choice open, for `ercache sweep --readings`. The outer key is a
            model, the inner key is a dotted path.
    """

    trials: int = Field(16, ge=1)
    seeds: int = Field(2, ge=1)
    spaces: dict[str, dict[str, list[Any]]] = {}
    readings: dict[str, dict[str, list[Any]]] = {}


class Params(Strict):
    """The content of params.yaml and of the files of papers. Most entries are dictionaries; `key -> value`.

    Attributes:
        roots: corpus -> root folder. `--root` and params.local.yaml take precedence.
        corpora: corpus -> switches for scanning it. A corpus of the user's own has `scan`, see own_corpora.py.
        faces: how faces are detected.
        engine: how extraction runs.
        features: name of a feature -> its encoder and the encoder's params.
        profiles: name of a profile -> names of its features.
        pipeline: corpus -> profiles and papers for which dvc.yaml has stages.
        pretrain: name of an extractor -> how it is trained.
        training: training params of all models.
        experiments: name of an experiment -> its params.
        sweeps: hyper-parameter search.
        reproduce: paper -> corpus -> name of an experiment, or one name per task. For each row of the paper's tables,
            `ercache reproduce` trains a changed copy of this experiment.
        papers: paper -> content of papers/PAPER.yaml; its entries also stand in the other sections.
    """

    roots: dict[str, str] = {}
    corpora: dict[str, dict[str, Any]] = {}
    faces: FacePolicy = FacePolicy()
    engine: EngineParams = EngineParams()
    features: dict[str, FeatureParams] = {}
    profiles: dict[str, list[str]] = {}
    pipeline: dict[str, PipelineParams] = {}
    pretrain: dict[str, PretrainParams] = {}
    training: TrainingParams = TrainingParams()
    experiments: dict[str, ExperimentParams] = {}
    sweeps: SweepParams = SweepParams()
    reproduce: dict[str, dict[str, str | dict[Task, str]]] = {}
    papers: dict[str, PaperParams] = {}

    def faces_of(self, feature: FeatureParams) -> FacePolicy:
        """Return a feature's settings of face detection: `faces` in params.yaml, changed by the feature's `faces`."""
        return FacePolicy(**{**self.faces.model_dump(), **feature.faces})

    def training_of(
        self, experiment: ExperimentParams, recipe: TrainingParams | None = None
    ) -> TrainingParams:
        """Return the training params of an experiment: a base, changed by the experiment's own `training`.

        Args:
            experiment: the experiment.
            recipe: the training recipe that the experiment names. It replaces `training` in params.yaml, except for the
                number of seeds, which no recipe gives.
        """
        own = {name: value for name, value in experiment.training.items() if name != RECIPE}
        base = self.training if recipe is None else recipe.model_copy(update={"seeds": self.training.seeds})
        values = {name: getattr(base, name) for name in TrainingParams.model_fields}
        return TrainingParams(**{**values, **own})
