"""What a paper itself trains, as data: its features, the training of their extractors, and its runs.

The values stand in the YAML file of each paper, beside its tables. Where a paper is silent, the values are our choices,
which docs/papers/ explains. `fusion.papers.deviations` compares runs with these values.
"""

from typing import Any, Final, Literal

from pydantic import Field

from ercache.params.schema import EpcTarget, FacePolicy, Strict, Task, split_array_name

OWN_CORPUS: Final = "own"  # an extractor that is trained on the corpus of the run


class PaperExtractor(Strict):
    """How a paper trains one of its extractors (`ercache pretrain`).

    Attributes:
        corpus: the training data: name of a corpus, `own` for the corpus of the run, or (for a folder of files) the
            beginning of the folder's name.
        labels: what a label of a training example names: a class (`class`) or a person (`identity`).
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
        also: param -> other values of it with which the encoder gives the same arrays.
        free: params that do not change the arrays that the paper's model reads.
        faces: face policy; None if the encoder needs no faces.
        weights: key of the published checkpoint; None if the encoder needs none, or if the paper trains it itself.
        beside: keys of further files that the encoder reads, such as a knowledge base.
        extractor: how the paper trains the encoder itself; None if it does not.
        vectors: names of arrays that count as the whole feature: where the paper names no array, a run may name one of
            these.
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
        """Whether a value of an encoder's param counts as the paper's: it is the same, or gives the same arrays."""
        return value == self.params[param] or value in self.also.get(param, ())


class PaperRun(Strict):
    """What a paper trains on one corpus for one task: all settings but the switches that single table rows change.

    Attributes:
        corpus, task, label_set, split, folds, unlabelled, epc_target: as in an experiment of params.yaml.
        history: values of `history` (number of utterances that the model sees) that count as the paper's; the first one
            is the value to use.
        features: modality -> names of features of the paper (`feature` or `feature:array`), in the order of the roles
            (inputs of the model).
        preset: name of the model's preset with the paper's sizes.
        recipe: name of the model's training recipe with the paper's training params.
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
