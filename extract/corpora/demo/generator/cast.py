"""The six people of the demo corpus: looks and voices."""

from dataclasses import dataclass
from typing import Final, Literal

Colour = tuple[int, int, int]
Hair = Literal["short", "long", "bun", "curly", "bald"]


@dataclass(frozen=True)
class Look:
    """Appearance of a person; all lengths are multiples of half the face width."""

    skin: Colour
    hair_colour: Colour
    hair: Hair
    eyes: Colour
    lips: Colour
    shirt: Colour
    width: float = 1.0
    chin: float = 1.32
    jaw: float = 2.4
    """Exponent of the lower outline: 2 is an ellipse, larger is squarer."""
    brow: float = 0.09
    """Thickness of the brows."""
    beard: bool = False
    glasses: bool = False
    lashes: float = 0.05


@dataclass(frozen=True)
class Voice:
    """An espeak-ng voice and its resting pitch (0 to 99)."""

    name: str
    pitch: int


@dataclass(frozen=True)
class Person:
    """A person of the demo corpus: name, look and voice."""

    name: str
    look: Look
    voice: Voice


CAST: Final[tuple[Person, ...]] = (
    Person(
        "Nora",
        Look(
            (236, 196, 170),
            (120, 62, 34),
            "long",
            (74, 112, 70),
            (196, 92, 92),
            (58, 110, 128),
            0.96,
            1.34,
            2.2,
            0.07,
            lashes=0.075,
        ),
        Voice("en-us+f2", 52),
    ),
    Person(
        "Theo",
        Look(
            (226, 180, 148),
            (62, 44, 32),
            "short",
            (78, 60, 44),
            (180, 104, 92),
            (72, 78, 118),
            1.02,
            1.36,
            2.9,
            0.12,
            beard=True,
        ),
        Voice("en-us+m3", 44),
    ),
    Person(
        "Imani",
        Look(
            (150, 100, 70),
            (38, 28, 26),
            "curly",
            (52, 34, 24),
            (146, 66, 66),
            (206, 150, 60),
            0.98,
            1.28,
            2.2,
            0.08,
            lashes=0.075,
        ),
        Voice("en-us+f4", 46),
    ),
    Person(
        "Kenji",
        Look(
            (232, 192, 154),
            (30, 28, 32),
            "short",
            (48, 34, 28),
            (184, 108, 96),
            (120, 132, 124),
            1.0,
            1.26,
            2.5,
            0.10,
            glasses=True,
        ),
        Voice("en-us+m7", 50),
    ),
    Person(
        "Rosa",
        Look(
            (214, 164, 128),
            (72, 64, 66),
            "bun",
            (84, 58, 36),
            (188, 70, 82),
            (148, 62, 88),
            1.03,
            1.24,
            2.3,
            0.07,
            lashes=0.065,
        ),
        Voice("en-us+f5", 40),
    ),
    Person(
        "Viktor",
        Look(
            (228, 186, 164),
            (146, 140, 134),
            "bald",
            (84, 116, 146),
            (176, 108, 102),
            (86, 92, 76),
            1.04,
            1.34,
            2.7,
            0.11,
        ),
        Voice("en-us+m1", 34),
    ),
)
