"""Best possible accuracies on the demo corpus, computed from the probabilities that generated it.

They are the Bayes accuracies of a model that recognises without error which emotion each modality shows. No model can
have a higher expected accuracy, however large its training set is.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from extract.corpora.demo.generator.channels import CHANNELS, CONTAGION, INERTIA, MODALITIES, PRIOR, Modality
from extract.corpora.demo.generator.story import StoryLine, tell_dialogue

Array = NDArray[np.float64]


def single_utterance_accuracy(modalities: Sequence[Modality]) -> float:
    """Return the exact Bayes accuracy of a model that judges each utterance alone, without its dialogue.

    Args:
        modalities: the modalities whose shown emotions the model knows.
    """
    joint = np.asarray(PRIOR)  # [C, observations], grows by a factor C per modality
    joint = joint[:, None]
    for modality in modalities:
        channel = np.asarray(CHANNELS[modality])
        joint = (joint[:, :, None] * channel[:, None, :]).reshape(len(PRIOR), -1)
    return float(joint.max(axis=0).sum())


def single_utterance_table() -> dict[tuple[Modality, ...], float]:
    """Return the accuracies of `single_utterance_accuracy` for every combination of the three modalities."""
    subsets = [subset for size in (1, 2, 3) for subset in combinations(MODALITIES, size)]
    return {subset: single_utterance_accuracy(subset) for subset in subsets}


def _turn(belief: Array, speaker: int, before: int | None) -> Array:
    """Update the joint probabilities of the people's moods (emotions) for one more utterance.

    The speaker keeps the own mood, takes that of the previous speaker, or gets a new one.

    Args:
        belief: joint probabilities before the utterance, an array with one axis of C emotions for each person.
        speaker: axis of the person who speaks.
        before: axis of the person who spoke before; None at the first utterance.

    Returns:
        The joint probabilities after the utterance, in the same shape.
    """
    kept = INERTIA * belief
    if before is None or before == speaker:
        kept = (INERTIA + CONTAGION) * belief
        caught: Array | float = 0.0
    else:
        # The new mood equals that of `before`: mass moves onto the diagonal of the two axes.
        moved = np.moveaxis(belief, (before, speaker), (0, 1)).sum(axis=1, keepdims=True)  # [C, 1, ...]
        diagonal = np.eye(len(PRIOR)).reshape(len(PRIOR), len(PRIOR), *[1] * (belief.ndim - 2))
        caught = CONTAGION * np.moveaxis(moved * diagonal, (0, 1), (before, speaker))
    shape = [1] * belief.ndim
    shape[speaker] = len(PRIOR)
    fresh = (1 - INERTIA - CONTAGION) * belief.sum(axis=speaker, keepdims=True) * np.reshape(PRIOR, shape)
    return np.asarray(kept + caught + fresh)


def _turn_back(message: Array, speaker: int, before: int | None) -> Array:
    """Make one backward step of the forward-backward algorithm; the forward step is `_turn`.

    Args:
        message: likelihood of all later utterances given the moods after an utterance, one axis of C emotions for each
            person.
        speaker: axis of the person who speaks this utterance.
        before: axis of the person who spoke before; None at the first utterance.

    Returns:
        The likelihood of the later utterances given the moods before the utterance, in the same shape.
    """
    shape = [1] * message.ndim
    shape[speaker] = len(PRIOR)
    fresh = (message * np.reshape(PRIOR, shape)).sum(axis=speaker, keepdims=True)
    if before is None or before == speaker:
        return np.asarray((INERTIA + CONTAGION) * message + (1 - INERTIA - CONTAGION) * fresh)
    diagonal = np.diagonal(message, axis1=before, axis2=speaker)  # [..., C], the axis of `before` last
    caught = np.expand_dims(np.moveaxis(diagonal, -1, before if before < speaker else before - 1), speaker)
    return np.asarray(INERTIA * message + CONTAGION * caught + (1 - INERTIA - CONTAGION) * fresh)


def dialogue_posteriors(
    lines: Sequence[StoryLine], modalities: Sequence[Modality], future: bool = True
) -> Array:
    """Compute for each utterance of a dialogue how probable each true emotion is, given the emotions that are shown.

    Args:
        lines: L utterances of one dialogue in order.
        modalities: the modalities whose shown emotions are known.
        future: whether later utterances are used too; otherwise only the utterance and those before it.

    Returns:
        Exact probabilities of the C emotions, [L, C].
    """
    people = sorted({line.speaker for line in lines})
    axes = [people.index(line.speaker) for line in lines]
    classes = len(PRIOR)
    evidence = np.ones((len(lines), classes))
    for modality in modalities:
        evidence *= np.asarray(CHANNELS[modality]).T[[line.shown[modality] for line in lines]]

    def spread(row: Array, axis: int) -> Array:
        return row.reshape([classes if i == axis else 1 for i in range(len(people))])

    belief = np.ones([classes] * len(people))
    for axis in range(len(people)):
        belief = belief * spread(np.asarray(PRIOR), axis)
    forward = []
    for i, axis in enumerate(axes):
        belief = _turn(belief, axis, axes[i - 1] if i else None) * spread(evidence[i], axis)
        belief = belief / belief.sum()
        forward.append(belief)
    message = np.ones_like(belief)
    posteriors = np.empty((len(lines), classes))
    for i in range(len(lines) - 1, -1, -1):
        joint = forward[i] * message if future else forward[i]
        posterior = joint.sum(axis=tuple(a for a in range(len(people)) if a != axes[i]))
        posteriors[i] = posterior / posterior.sum()
        if i:
            message = _turn_back(message * spread(evidence[i], axes[i]), axes[i], axes[i - 1])
            message = message / message.max()
    return posteriors


def context_accuracy(
    modalities: Sequence[Modality], dialogues: int = 2000, seed: int = 1, future: bool = True
) -> float:
    """Return the Bayes accuracy of a model that judges each utterance from the context of its dialogue.

    The accuracy is estimated on simulated dialogues of 8 utterances (Monte Carlo). Its standard error is about
    0.4 / sqrt(8 * dialogues), which is 0.003 with the default of 2000 dialogues.

    Args:
        modalities: the modalities whose shown emotions are known.
        dialogues: number of simulated dialogues.
        seed: seed of the simulation.
        future: whether the context includes later utterances; otherwise it is only the past.
    """
    right = total = 0
    for number in range(dialogues):
        lines = tell_dialogue(seed, "bayes", number, length=8)
        guesses = dialogue_posteriors(lines, modalities, future).argmax(axis=1)
        right += int((guesses == [line.emotion for line in lines]).sum())
        total += len(lines)
    return right / total
