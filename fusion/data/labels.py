"""What is to be told of an utterance: one class of a label set, or several emotions that are each there or not.

A manifest holds one value per label set. A multi-label task is therefore a family of sets `<name>_<emotion>` whose
values are `absent` and `present`, and is named by what they share: `emotions6` means `emotions6_happy` and the others.
"""

from dataclasses import dataclass

from ercache.manifest import Manifest, Utterance
from ercache.training.losses import IGNORED


@dataclass(frozen=True)
class LabelSpace:
    """The labels of an experiment.

    Attributes:
        sets: label sets of the manifest; one, or one for each emotion.
        classes: C values, in order; of several sets, the emotions.
        multi: whether any number of the classes may hold at once.
    """

    sets: tuple[str, ...]
    classes: tuple[str, ...]
    multi: bool = False

    def known(self, u: Utterance) -> bool:
        """Whether an utterance has a label at all."""
        return any(u.labels.get(name) is not None for name in self.sets)

    def of(self, u: Utterance) -> int | list[int]:
        """The class of an utterance, or for each emotion whether it is there (1) or not (0); -100 where unknown."""
        if self.multi:
            return [_sign(u.labels.get(name)) for name in self.sets]
        value = u.labels.get(self.sets[0])
        return self.classes.index(value) if value in self.classes else IGNORED

    @property
    def nothing(self) -> int | list[int]:
        """What `of` gives for an utterance without any label."""
        return [IGNORED] * len(self.classes) if self.multi else IGNORED


def label_space(manifest: Manifest, name: str) -> LabelSpace | None:
    """The labels that a label set, or a family of them, can give; None where the manifest has neither."""
    sets = manifest.sets_of(name)
    if not sets:
        return None
    if sets == (name,):
        return LabelSpace(sets, tuple(manifest.label_sets[name]))
    named = {one.removeprefix(f"{name}_"): one for one in sets}
    # A manifest keeps its sets by name; the corpus' own order of the emotions stands in a set of all of them.
    whole = next((values for values in manifest.label_sets.values() if set(named) <= set(values)), ())
    classes = [value for value in whole if value in named] or list(named)
    return LabelSpace(tuple(named[c] for c in classes), tuple(classes), multi=True)


def _sign(value: str | None) -> int:
    return IGNORED if value is None else int(value == "present")
