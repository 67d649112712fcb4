"""How much each modality reveals about the emotion: the probabilities of the demo corpus, and random draws from them.

The probabilities in this file were fixed before the first model was trained on the corpus. They are not changed to make
a system look good. `docs/demo.md` states the resulting accuracies. Each modality has a table of probabilities: rows
are true emotions, columns are the emotions that the modality shows. Given the true emotion, the modalities are
independent.
"""

from collections.abc import Sequence
from random import Random
from typing import Final, Literal

Emotion = Literal["neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"]
Modality = Literal["text", "speech", "face"]

EMOTIONS: Final[tuple[Emotion, ...]] = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
MODALITIES: Final[tuple[Modality, ...]] = ("text", "speech", "face")

PRIOR: Final[tuple[float, ...]] = (0.25, 0.12, 0.10, 0.13, 0.16, 0.10, 0.14)

# A speaker keeps his or her own mood with probability INERTIA, takes the mood of the previous utterance with
# probability CONTAGION, and otherwise draws a new one from PRIOR. So PRIOR is the stationary distribution.
INERTIA: Final = 0.45
CONTAGION: Final = 0.25

# Words are the clearest sign. Some utterances sound neutral in words, and negative emotions share some words.
TEXT: Final[tuple[tuple[float, ...], ...]] = (
    (0.70, 0.06, 0.03, 0.05, 0.08, 0.04, 0.04),
    (0.18, 0.55, 0.07, 0.02, 0.12, 0.03, 0.03),
    (0.14, 0.10, 0.57, 0.10, 0.01, 0.04, 0.04),
    (0.18, 0.02, 0.07, 0.58, 0.01, 0.06, 0.08),
    (0.20, 0.12, 0.01, 0.03, 0.62, 0.01, 0.01),
    (0.16, 0.05, 0.04, 0.07, 0.01, 0.52, 0.15),
    (0.16, 0.03, 0.03, 0.07, 0.01, 0.13, 0.57),
)

# Speech shows arousal better than valence: anger, joy and surprise are loud; sadness, disgust, neutral are calm.
SPEECH: Final[tuple[tuple[float, ...], ...]] = (
    (0.58, 0.04, 0.04, 0.15, 0.05, 0.12, 0.02),
    (0.06, 0.47, 0.11, 0.01, 0.21, 0.02, 0.12),
    (0.06, 0.15, 0.53, 0.10, 0.06, 0.03, 0.07),
    (0.20, 0.01, 0.08, 0.57, 0.01, 0.12, 0.01),
    (0.10, 0.19, 0.04, 0.01, 0.49, 0.02, 0.15),
    (0.20, 0.03, 0.03, 0.18, 0.03, 0.45, 0.08),
    (0.04, 0.11, 0.06, 0.01, 0.17, 0.08, 0.53),
)

# Faces show valence: joy is rarely mistaken; fear looks like surprise, disgust like anger; sadness is often hidden.
FACE: Final[tuple[tuple[float, ...], ...]] = (
    (0.59, 0.06, 0.03, 0.12, 0.10, 0.04, 0.06),
    (0.11, 0.45, 0.25, 0.03, 0.12, 0.02, 0.02),
    (0.10, 0.27, 0.43, 0.10, 0.01, 0.05, 0.04),
    (0.27, 0.03, 0.09, 0.47, 0.02, 0.06, 0.06),
    (0.20, 0.10, 0.01, 0.02, 0.64, 0.02, 0.01),
    (0.14, 0.02, 0.05, 0.08, 0.03, 0.44, 0.24),
    (0.19, 0.02, 0.03, 0.06, 0.01, 0.23, 0.46),
)

CHANNELS: Final[dict[Modality, tuple[tuple[float, ...], ...]]] = {
    "text": TEXT,
    "speech": SPEECH,
    "face": FACE,
}


def draw(rng: Random, weights: Sequence[float]) -> int:
    """Return a random index of `weights`; its probability is proportional to its weight.

    This function does not use `rng.choices`: only `Random.random` gives the same numbers in every version of Python.
    """
    point = rng.random() * sum(weights)
    for index, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return index
    return len(weights) - 1


def next_emotion(rng: Random, own: int, before: int) -> int:
    """Draw the emotion (index) of a new utterance.

    Args:
        rng: random number generator.
        own: emotion of the speaker's own last utterance.
        before: emotion of the previous utterance in the dialogue.
    """
    point = rng.random()
    if point < INERTIA:
        return own
    if point < INERTIA + CONTAGION:
        return before
    return draw(rng, PRIOR)


def shown(rng: Random, true: int, modality: Modality) -> int:
    """Draw the emotion (index) that a modality shows for an utterance with the given true emotion."""
    return draw(rng, CHANNELS[modality][true])
