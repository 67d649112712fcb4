"""How an emotion looks in a face: brows, eyes, mouth and head pose, based on facial action units."""

from dataclasses import dataclass, fields, replace
from random import Random
from typing import Final

from extract.corpora.demo.generator.channels import EMOTIONS, Emotion


@dataclass(frozen=True)
class Expression:
    """The expression of a face at one moment.

    Lengths are multiples of half the face width, angles are in degrees. All values are 0 at rest unless stated
    otherwise.
    """

    brow_inner: float = 0.0
    """Inner ends of the brows, up."""
    brow_outer: float = 0.0
    """Outer ends of the brows, up."""
    knit: float = 0.0
    """Inner ends of the brows drawn together."""
    eye: float = 0.105
    """Half height of the open eye."""
    lower_lid: float = 0.0
    """Lower lid pushed up, as a share of the eye."""
    gaze: float = 0.0
    """Iris down, as a share of the eye."""
    mouth_width: float = 0.36
    corner: float = 0.0
    """Corners of the mouth, up."""
    mouth_open: float = 0.0
    upper_lip: float = 0.0
    """Upper lip raised."""
    skew: float = 0.0
    """Upper lip raised on one side."""
    square: float = 2.0
    """Shape of the mouth: 2 is round, larger is squarer."""
    teeth: float = 0.0
    """Teeth shown, 0 to 1."""
    fold: float = 0.0
    """Folds from nose to mouth, 0 to 1."""
    forehead: float = 0.0
    """Wrinkles across the forehead, 0 to 1."""
    nose_wrinkle: float = 0.0
    yaw: float = 0.0
    """Head turned to the right of the picture."""
    pitch: float = 0.0
    """Head bowed."""
    roll: float = 0.0
    """Head tilted clockwise."""
    nearer: float = 0.0
    """Head brought forward, as a share of its size."""


RESTING: Final = Expression()

EXPRESSIONS: Final[dict[Emotion, Expression]] = {
    "neutral": RESTING,
    "surprise": Expression(
        brow_inner=0.19,
        brow_outer=0.17,
        eye=0.175,
        mouth_width=0.25,
        mouth_open=0.34,
        forehead=0.8,
        pitch=-5,
        nearer=-0.02,
    ),
    "fear": Expression(
        brow_inner=0.17,
        brow_outer=0.02,
        knit=0.06,
        eye=0.160,
        mouth_width=0.43,
        corner=-0.06,
        mouth_open=0.10,
        square=3.0,
        teeth=0.8,
        forehead=0.9,
        yaw=8,
        pitch=3,
        roll=3,
        nearer=-0.05,
    ),
    "sadness": Expression(
        brow_inner=0.13,
        brow_outer=-0.10,
        knit=0.04,
        eye=0.062,
        gaze=0.5,
        mouth_width=0.31,
        corner=-0.14,
        forehead=0.25,
        pitch=10,
        roll=-7,
        nearer=-0.02,
    ),
    "joy": Expression(
        brow_inner=0.02,
        brow_outer=0.04,
        eye=0.085,
        lower_lid=0.55,
        mouth_width=0.50,
        corner=0.17,
        mouth_open=0.12,
        teeth=1.0,
        fold=0.9,
        pitch=-3,
        roll=5,
    ),
    "disgust": Expression(
        brow_inner=-0.09,
        brow_outer=-0.01,
        knit=0.04,
        eye=0.070,
        lower_lid=0.5,
        mouth_width=0.33,
        corner=-0.07,
        upper_lip=0.09,
        skew=0.08,
        fold=0.8,
        nose_wrinkle=1.0,
        yaw=-9,
        pitch=-4,
        roll=-4,
        nearer=-0.03,
    ),
    "anger": Expression(
        brow_inner=-0.16,
        brow_outer=0.06,
        knit=0.08,
        eye=0.088,
        lower_lid=0.2,
        mouth_width=0.37,
        corner=-0.04,
        mouth_open=0.13,
        square=5.0,
        teeth=1.0,
        fold=0.35,
        pitch=6,
        nearer=0.05,
    ),
}

# Standard deviations of the differences between two faces that show the same emotion.
_JITTER: Final[dict[str, float]] = {
    "brow_inner": 0.015,
    "brow_outer": 0.015,
    "eye": 0.008,
    "mouth_width": 0.02,
    "corner": 0.015,
    "mouth_open": 0.015,
    "yaw": 2.5,
    "pitch": 1.5,
    "roll": 1.5,
}


def _normal(rng: Random, deviation: float) -> float:
    # A sum of uniform numbers is equal on every platform, and bounded, so no face is ever distorted.
    return deviation * (sum(rng.random() for _ in range(6)) - 3.0) * 1.414


def expression_of(emotion: int, rng: Random) -> Expression:
    """Return a facial expression that shows an emotion, which is given by its index, with small random differences."""
    base = EXPRESSIONS[EMOTIONS[emotion]]
    changes = {name: getattr(base, name) + _normal(rng, deviation) for name, deviation in _JITTER.items()}
    changes["mouth_open"] = max(0.0, changes["mouth_open"]) if base.mouth_open else 0.0
    return replace(base, **changes)


def blend(a: Expression, b: Expression, share: float) -> Expression:
    """Return an expression between `a` (for share 0) and `b` (for share 1): each value is interpolated linearly."""
    values = {
        f.name: (1 - share) * getattr(a, f.name) + share * getattr(b, f.name) for f in fields(Expression)
    }
    return Expression(**values)
