"""Labels of an experiment: one class for each utterance, or (multi-label) absence or presence of each emotion.

The manifest gives an utterance one value in each label set. A multi-label task is therefore a family of label sets
`<name>_<emotion>`, each with the values `absent` and `present`. The family is named by the common beginning:
`emotions6` means `emotions6_happy`, `emotions6_sad` and so on.
"""

from dataclasses import dataclass

from ercache.manifest import Manifest, Utterance
from ercache.training.losses import IGNORED


@dataclass(frozen=True)
class LabelSpace:
    """The possible labels of an experiment.

    Attributes:
        sets: names of the label sets in the manifest: a single one, or one for each emotion of a multi-label task.
        classes: names of the C classes in order: the values of the single set, or the emotions.
        multi: whether the task is multi-label: an utterance may have any number of the classes.
    """

    sets: tuple[str, ...]
    classes: tuple[str, ...]
    multi: bool = False

    def has_label(self, u: Utterance) -> bool:
        """Whether the utterance has a label; in a multi-label task, for at least one emotion."""
        return any(u.labels.get(name) is not None for name in self.sets)

    def label_of(self, u: Utterance) -> int | list[int]:
        """Return the class index of an utterance, or a list with 1 (present) or 0 (absent) for each emotion.

        -100 stands for an unknown label.
        """
        if self.multi:
            return [_sign(u.labels.get(name)) for name in self.sets]
        value = u.labels.get(self.sets[0])
        return self.classes.index(value) if value in self.classes else IGNORED

    @property
    def no_label(self) -> int | list[int]:
        """The value that stands for "no label": -100, or a list with -100 for each emotion of a multi-label task."""
        return [IGNORED] * len(self.classes) if self.multi else IGNORED


def label_space(manifest: Manifest, name: str) -> LabelSpace | None:
    """Return the labels that a label set, or a family of label sets (multi-label), allows.

    Return None if the manifest has no such label set or family.
    """
    sets = manifest.sets_of(name)
    if not sets:
        return None
    if sets == (name,):
        return LabelSpace(sets, tuple(manifest.label_sets[name]))
    named = {one.removeprefix(f"{name}_"): one for one in sets}
    # The manifest sorts label sets by name. If one set lists all these emotions, its order is the corpus's own.
    whole = next((values for values in manifest.label_sets.values() if set(named) <= set(values)), ())
    classes = [value for value in whole if value in named] or list(named)
    return LabelSpace(tuple(named[c] for c in classes), tuple(classes), multi=True)


def _sign(value: str | None) -> int:
    return IGNORED if value is None else int(value == "present")
