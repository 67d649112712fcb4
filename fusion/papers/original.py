"""What a paper itself trains, as data: its features, the training of their extractors, and its runs.

The values stand in the YAML file of each paper, beside its tables. Where a paper is silent they are the choices that
its page in docs/papers/ explains. `fusion.papers.deviations` compares runs with them.
"""

from typing import Any, Final, Literal

from pydantic import Field

from ercache.params.schema import EpcTarget, FacePolicy, Strict, Task, split_array_name

OWN_CORPUS: Final = "own"  # an extractor that is trained on the corpus of the run


class PaperExtractor(Strict):
    """How a paper trains one of its extractors (`ercache pretrain`).

    Attributes:
        corpus: key of the corpus, `own` for the corpus of the run, or the beginning of the name of a folder of files.
        labels: what the labels of the examples name: classes, or people (`identity`).
        checkpoint: key of the checkpoint from which the training starts.
        config: switches of the training run; nested ones as a dictionary.
        training: training params.
        free: switches and training params that do not matter, for example the seed.
    """

    corpus: str = OWN_CORPUS
    labels: Literal["class", "identity"] = "class"
    checkpoint: str
    config: dict[str, Any]
    training: dict[str, Any]
    free: list[str] = Field(default_factory=list)


class PaperFeature(Strict):
    """A feature of a paper: its encoder with all its params.

    Attributes:
        encoder: key of the encoder.
        params: values of the encoder's params, as a cache records them.
        also: param -> further values with the same result.
        free: params that do not change the arrays that the paper's model reads.
        faces: face policy; None if the encoder needs no faces.
        weights: key of the checkpoint; None if the encoder has none, or an extractor.
        beside: keys of further files that the encoder reads, such as a knowledge base.
        extractor: how the extractor is trained, if the feature comes from one.
        vectors: names of vector arrays that stand for the whole feature, beside the name without an array.
    """

    encoder: str
    params: dict[str, Any] = Field(default_factory=dict)
    also: dict[str, list[Any]] = Field(default_factory=dict)
    free: list[str] = Field(default_factory=list)
    faces: FacePolicy | None = None
    weights: str | None = None
    beside: list[str] = Field(default_factory=list)
    extractor: PaperExtractor | None = None
    vectors: list[str] = Field(default_factory=list)

    def allows(self, param: str, value: Any) -> bool:
        """Whether the paper's feature has this value of a param, or one with the same result."""
        return value == self.params[param] or value in self.also.get(param, ())


class PaperRun(Strict):
    """What a paper trains on one corpus for one task: everything that decides the result, except the row's switches.

    Attributes:
        corpus, task, label_set, split, folds, unlabelled, epc_target: as in an experiment of params.yaml.
        history: values of `history` with the paper's result; the first one is the value to use.
        features: modality -> features of the paper, `feature` or `feature:array`, in the order of the model's roles.
        preset: preset of the model with the paper's sizes.
        recipe: training recipe of the model.
    """

    corpus: str
    task: Task = "erc"
    label_set: str
    split: str = "official"
    folds: str | None = None
    unlabelled: Literal["keep", "drop"] = "keep"
    epc_target: EpcTarget = "next_utterance"
    history: list[int | None] = Field([None], min_length=1)
    features: dict[Literal["text", "audio", "visual"], list[str]] = Field(min_length=1)
    preset: str = "paper"
    recipe: str = "paper"

    def experiment(self, model: str, names: dict[str, str]) -> dict[str, Any]:
        """Return the paper's experiment as an entry of params.yaml.

        Args:
            model: key of the paper's model.
            names: feature of the paper -> name of this feature in params.yaml.
        """
        features = {m: [_renamed(name, names) for name in listed] for m, listed in self.features.items()}
        held = {"folds": self.folds} if self.folds else {"split": self.split}
        return {
            "model": model,
            "corpus": self.corpus,
            "task": self.task,
            "label_set": self.label_set,
            **held,
            **({"history": self.history[0]} if self.history[0] is not None else {}),
            **({"unlabelled": self.unlabelled} if self.unlabelled != "keep" else {}),
            **({"epc_target": self.epc_target} if self.epc_target != "next_utterance" else {}),
            "features": features,
            "preset": self.preset,
            "training": self.recipe,
        }


def _renamed(name: str, names: dict[str, str]) -> str:
    feature, array = split_array_name(name)
    return names[feature] + (f":{array}" if array else "")
