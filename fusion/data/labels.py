"""Labels of an experiment: one class of a label set, or for each of several emotions whether it is present.

A manifest holds one value per label set. A multi-label task is therefore a family of label sets `<name>_<emotion>`
with the values `absent` and `present`. Its name is the common beginning: `emotions6` means `emotions6_happy` and the
others.
"""

from dataclasses import dataclass

from ercache.manifest import Manifest, Utterance
from ercache.training.losses import IGNORED


@dataclass(frozen=True)
class LabelSpace:
    """The labels of an experiment.

    Attributes:
        sets: label sets of the manifest: one, or one for each emotion.
        classes: the C classes in order: the values of the one set, or the emotions.
        multi: whether the task is multi-label: an utterance may have any number of the classes.
    """

    sets: tuple[str, ...]
    classes: tuple[str, ...]
    multi: bool = False

    def has_label(self, u: Utterance) -> bool:
        """Whether the utterance has a label (of a family: in at least one of its sets)."""
        return any(u.labels.get(name) is not None for name in self.sets)

    def label_of(self, u: Utterance) -> int | list[int]:
        """The number of the utterance's class, or for each emotion 1 (present) or 0 (absent); -100 if unknown."""
        if self.multi:
            return [_sign(u.labels.get(name)) for name in self.sets]
        value = u.labels.get(self.sets[0])
        return self.classes.index(value) if value in self.classes else IGNORED

    @property
    def no_label(self) -> int | list[int]:
        """What `label_of` returns for an utterance without any label."""
        return [IGNORED] * len(self.classes) if self.multi else IGNORED


def label_space(manifest: Manifest, name: str) -> LabelSpace | None:
    """The label space of a label set or of a family of them; None if the manifest has neither."""
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
