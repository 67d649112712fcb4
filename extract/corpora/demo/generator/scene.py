"""Draw the frames of a clip: a room, the speaker in front, listeners behind."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import cos, pi, radians, sin
from random import Random
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from extract.corpora.demo.generator.cast import CAST, Colour
from extract.corpora.demo.generator.expression import RESTING, Expression, blend, expression_of
from extract.corpora.demo.generator.features import draw_face
from extract.corpora.demo.generator.portrait import BOTTOM, FINE, LEFT, RIGHT, TOP, draw_head, shade

WIDTH, HEIGHT = 320, 240
SPEAKER_UNIT: Final = 43.0  # half face width in pixels
LISTENER_UNIT: Final = 22.0
_DOUBLE = 2  # frames are composed at twice their size
_WALLS: Final[tuple[tuple[Colour, Colour], ...]] = (
    ((206, 200, 184), (150, 138, 120)),
    ((176, 194, 196), (116, 130, 132)),
    ((196, 206, 182), (132, 140, 118)),
    ((214, 190, 172), (146, 120, 104)),
    ((178, 180, 200), (112, 112, 136)),
)


@dataclass(frozen=True)
class Seat:
    """Position of a person: centre of the face and half the face width, in pixels."""

    x: float
    y: float
    unit: float


def room(rng: Random) -> Image.Image:
    """Return a picture of an empty room, RGB, `WIDTH` x `HEIGHT`, slightly out of focus."""
    wall, floor = _WALLS[int(rng.random() * len(_WALLS))]
    picture = Image.new("RGB", (WIDTH, HEIGHT), wall)
    pen = ImageDraw.Draw(picture)
    for x in range(WIDTH):
        pen.line((x, 0, x, HEIGHT), fill=shade(wall, 1.08 - 0.22 * x / WIDTH))
    pen.rectangle((0, 196, WIDTH, HEIGHT), fill=floor)
    pen.rectangle((0, 190, WIDTH, 196), fill=shade(wall, 1.12))
    left = rng.random() < 0.5
    x = 14 if left else 214
    pen.rectangle((x, 16, x + 90, 118), fill=shade(wall, 1.18))  # window
    pen.rectangle((x + 6, 22, x + 84, 112), fill=(196, 216, 232))
    pen.ellipse((x - 4, 84, x + 52, 150), fill=(128, 158, 120))
    pen.rectangle((x - 6, 112, x + 96, 128), fill=shade(wall, 1.12))
    pen.rectangle((x - 6, 128, x + 96, 150), fill=shade(wall, 1.0))
    pen.line((x + 45, 16, x + 45, 118), fill=shade(wall, 1.18), width=4)
    x = 222 if left else 18
    pen.rectangle((x, 96, x + 80, 102), fill=shade(floor, 0.7))  # shelf with books
    at = x + 4
    while at < x + 66:
        wide, high = 6 + int(rng.random() * 7), 22 + int(rng.random() * 16)
        tone = (90 + int(rng.random() * 110), 80 + int(rng.random() * 80), 70 + int(rng.random() * 80))
        pen.rectangle((at, 96 - high, at + wide, 96), fill=tone)
        at += wide + 1
    return picture.filter(ImageFilter.GaussianBlur(2.2))


def seats(rng: Random, people: int) -> list[Seat]:
    """Return random positions for one to three people in the picture: first the speaker, then the listeners."""
    sway = rng.random() - 0.5
    if people == 1:
        return [Seat(160 + 40 * sway, 116, SPEAKER_UNIT)]
    sides = [-1, 1] if rng.random() < 0.5 else [1, -1]
    if people == 2:
        return [
            Seat(160 - 22 * sides[0] + 12 * sway, 116, SPEAKER_UNIT),
            Seat(160 + 104 * sides[0], 104 + 16 * rng.random(), LISTENER_UNIT),
        ]
    listeners = [Seat(160 + 118 * side, 100 + 20 * rng.random(), LISTENER_UNIT) for side in sides]
    return [Seat(160 + 14 * sway, 116, SPEAKER_UNIT), *listeners]


def _body(picture: Image.Image, person: int, seat: Seat) -> None:
    look, u = CAST[person].look, seat.unit * _DOUBLE
    x, y = seat.x * _DOUBLE, seat.y * _DOUBLE
    pen = ImageDraw.Draw(picture, "RGBA")
    broad = 1.75 if look.jaw < 2.45 else 2.0

    def at(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        mirrored = [*points, *[(-a, b) for a, b in reversed(points)]]
        return [(x + a * u, y + b * u) for a, b in mirrored]

    pen.polygon(
        at([(0.50, 1.5), (1.1, 1.78), (broad, 2.1), (broad + 0.2, 2.8), (broad + 0.3, 7.0)]), fill=look.shirt
    )
    pen.polygon(at([(0.48, 0.6), (0.50, 1.5), (0.66, 1.68), (0.0, 2.15)]), fill=shade(look.skin, 0.80))
    pen.polygon(at([(0.50, 0.6), (0.50, 1.42), (0.0, 1.62)]), fill=(*shade(look.skin, 0.55), 150))
    pen.line(
        [(x + a * u, y + b * u) for a, b in ((-0.70, 1.66), (0, 2.22), (0.70, 1.66))],
        fill=shade(look.shirt, 0.8),
        width=round(0.1 * u),
        joint="curve",
    )


def _put_head(
    picture: Image.Image,
    face: Image.Image,
    mask: Image.Image,
    seat: Seat,
    e: Expression,
    dx: float,
    dy: float,
) -> None:
    """Paste a head into a picture that has twice the final size.

    Args:
        picture: the picture; it is changed.
        face: RGB picture of the head with its face.
        mask: opacity of each pixel of `face`.
        seat: position of the person.
        e: expression; its `roll` rotates the head about the neck, its `nearer` enlarges it.
        dx, dy: small movement of the head, in pixels of the final picture.
    """
    scale = 1 + e.nearer
    a = radians(e.roll)
    px, py = -LEFT * seat.unit * _DOUBLE, (1.2 - TOP) * seat.unit * _DOUBLE  # the neck, in the head picture
    ca, sa = cos(a) / scale, sin(a) / scale
    matrix = (ca, sa, px - ca * px - sa * py, -sa, ca, py + sa * px - ca * py)
    # One transform of four bands takes two thirds of the time of two transforms.
    both = Image.merge("CMYK", (*face.split(), mask))
    both = both.transform(face.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    *bands, cover = both.split()
    corner = (
        round((seat.x + dx + LEFT * seat.unit) * _DOUBLE),
        round((seat.y + dy + TOP * seat.unit) * _DOUBLE),
    )
    picture.paste(Image.merge("RGB", bands), corner, cover)


def _stage(background: Image.Image, people: tuple[int, ...], places: list[Seat], rng: Random) -> Image.Image:
    """Return a picture of everything but the speaker's head (room, listeners, speaker's body), at twice the final size.

    Args:
        background: the empty room.
        people: people in the scene (indices in CAST), the speaker first.
        places: position of each person.
        rng: draws the listeners' expressions.
    """
    stage = background.resize((WIDTH * _DOUBLE, HEIGHT * _DOUBLE), Image.Resampling.BILINEAR)
    for person, seat in reversed(list(zip(people[1:], places[1:], strict=True))):
        toward = 9.0 if seat.x < places[0].x else -9.0
        calm = expression_of(0, rng)
        calm = replace(calm, yaw=calm.yaw + toward)
        head = draw_head(CAST[person].look, seat.unit, calm.yaw, calm.pitch)
        _body(stage, person, seat)
        face, mask = draw_face(head, calm).reduce(FINE // _DOUBLE), head.mask.reduce(FINE // _DOUBLE)
        _put_head(stage, face, mask, seat, calm, 0, 0)
    if people:
        _body(stage, people[0], places[0])
    return stage


def frames(
    background: Image.Image,
    people: tuple[int, ...],
    emotion: int,
    loudness: NDArray[np.float64],
    rng: Random,
) -> Iterator[Image.Image]:
    """Yield the frames of one clip, RGB, `WIDTH` x `HEIGHT`.

    Args:
        background: the empty room, RGB, `WIDTH` x `HEIGHT`.
        people: people in the scene (indices), the speaker first; empty for an empty room.
        emotion: emotion that the speaker's face shows (index).
        loudness: loudness of the speech at each frame, 0 to 1, [T] for T frames.
        rng: random numbers for positions and small movements.
    """
    places = seats(rng, len(people)) if people else []
    stage = _stage(background, people, places, rng)
    still = stage.reduce(_DOUBLE)
    if not people:
        yield from (still for _ in loudness)
        return
    seat, target = places[0], expression_of(emotion, rng)
    head = draw_head(CAST[people[0]].look, seat.unit, target.yaw, target.pitch)
    mask = head.mask.reduce(FINE // _DOUBLE)
    blink_at, phase = 3 + int(rng.random() * 30), 2 * pi * rng.random()
    for i, voice in enumerate(loudness):
        e = _moment(target, i, len(loudness), phase, float(voice))
        blink = {0: 0.7, 1: 1.0}.get((i - blink_at) % 38, 0.0)
        face = draw_face(head, e, float(voice), blink).reduce(FINE // _DOUBLE)
        dx, dy = 1.5 * sin(phase + 0.17 * i), 0.9 * sin(1.7 * phase + 0.23 * i) - 1.2 * float(voice)
        yield _compose(stage, still, face, mask, seat, e, dx, dy)


def _moment(target: Expression, i: int, count: int, phase: float, voice: float) -> Expression:
    """Return the speaker's expression at one frame of a clip.

    The expression builds up quickly, sways a little, and is livelier when the voice is loud.

    Args:
        target: the full expression of the emotion.
        i: index of the frame.
        count: number of frames of the clip.
        phase: random phase of the small movements, radians.
        voice: loudness of the speech at this frame, 0 to 1.
    """
    onset = min(1.0, 0.55 + 0.15 * i)
    fade = min(1.0, 0.75 + 0.1 * (count - 1 - i))
    e = blend(RESTING, target, min(onset, fade) * (0.94 + 0.08 * voice))
    sway = sin(phase + 0.31 * i)
    return replace(
        e, yaw=e.yaw + 1.5 * sway, pitch=e.pitch + 1.5 * voice, roll=e.roll + 1.2 * sin(phase + 0.2 * i)
    )


def _compose(
    stage: Image.Image,
    still: Image.Image,
    face: Image.Image,
    mask: Image.Image,
    seat: Seat,
    e: Expression,
    dx: float,
    dy: float,
) -> Image.Image:
    """Return a finished frame: the speaker's head pasted onto the picture without it.

    To save time, only the region around the head is drawn at twice the final size and then reduced.

    Args:
        stage: everything but the speaker's head, at twice the final size.
        still: the same picture in the final size.
        face, mask, seat, e, dx, dy: the head and its position, as in `_put_head`.
    """
    left = max(0, int(seat.x + (LEFT - 0.4) * seat.unit))
    right = min(WIDTH, int(seat.x + (RIGHT + 0.4) * seat.unit))
    top = max(0, int(seat.y + (TOP - 0.4) * seat.unit))
    bottom = min(HEIGHT, int(seat.y + (BOTTOM + 0.4) * seat.unit))
    part = stage.crop((left * _DOUBLE, top * _DOUBLE, right * _DOUBLE, bottom * _DOUBLE))
    _put_head(part, face, mask, replace(seat, x=seat.x - left, y=seat.y - top), e, dx, dy)
    frame = still.copy()
    frame.paste(part.reduce(_DOUBLE), (left, top))
    return frame
