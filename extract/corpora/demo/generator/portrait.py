"""Draw a head as a picture: all parts of a face that do not move by themselves (skin, shadows, hair, ears)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from extract.corpora.demo.generator.cast import Colour, Look

Point = tuple[float, float]
FINE = 4  # drawn this many times larger than displayed, for anti-aliasing
LEFT, TOP, RIGHT, BOTTOM = -1.75, -2.25, 1.75, 2.15  # extent of a head picture, in half face widths
SKULL = 1.42  # top of the head above the centre of the face


@dataclass(frozen=True)
class Head:
    """A drawn human head without eyes, brows, nose and mouth.

    Attributes:
        picture: RGB, `FINE` times larger than the final size.
        mask: opacity of each pixel of `picture`.
        unit: half the face width in pixels of `picture`.
        look: appearance of the person.
        yaw, pitch: how far the head is turned to the right of the picture and downwards, degrees.
    """

    picture: Image.Image
    mask: Image.Image
    unit: float
    look: Look
    yaw: float
    pitch: float


def to_pixels(unit: float) -> Callable[[float, float], Point]:
    """Return a function that turns face coordinates into pixels of a head picture.

    Args:
        unit: half the face width in pixels; face coordinates are multiples of it.
    """
    return lambda x, y: ((x - LEFT) * unit, (y - TOP) * unit)


def project(x: float, y: float, yaw: float, pitch: float) -> Point:
    """Return the position (x, y) of a point of the face after the head has been turned.

    The face is treated as an ellipsoid.

    Args:
        x, y: position of the point when the head looks straight ahead, in multiples of half the face width.
        yaw: rotation to the right of the picture, degrees.
        pitch: rotation downwards, degrees.
    """
    depth = max(0.0, 1.1 - 0.8 * x * x - (y / 1.6) ** 2) ** 0.5
    a, b = yaw * pi / 180, pitch * pi / 180
    return x * cos(a) + depth * sin(a), y * cos(b) + depth * sin(b)


def shade(colour: Colour, factor: float) -> Colour:
    """Return a colour multiplied by a factor. A factor below 1 gives a darker colour, above 1 a lighter one."""
    r, g, b = (max(0, min(255, round(c * factor))) for c in colour)
    return r, g, b


def _outline(look: Look, steps: int = 48) -> list[Point]:
    points = []
    for i in range(steps):
        t = 2 * pi * i / steps
        y = -cos(t)
        if y < 0:
            x, y = abs(sin(t)), y * SKULL
        else:
            x, y = max(0.0, 1 - y**look.jaw) ** 0.5 * (1 - 0.10 * y), y * look.chin
        points.append((x * look.width * (1 if sin(t) >= 0 else -1), y))
    return points


def _skin(look: Look, unit: float, yaw: float, pitch: float) -> Image.Image:
    """Return an RGB picture of the skin: an ellipsoid under a lamp at the upper left, with a face's soft shadows."""
    half = unit / 2  # shadows are soft: computed at half size
    width, height = round((RIGHT - LEFT) * half), round((BOTTOM - TOP) * half)
    x = np.arange(width)[None, :] / half + LEFT  # [1, W]
    y = np.arange(height)[:, None] / half + TOP  # [H, 1]
    nx, ny = x / (1.08 * look.width), (y + 0.05) / 1.5
    nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0.02, 1))
    light = 0.70 + 0.36 * (-0.38 * nx - 0.42 * ny + 0.82 * nz)

    def spot(px: float, py: float, sx: float, sy: float) -> NDArray[np.float64]:
        cx, cy = project(px, py, yaw, pitch)
        return np.asarray(np.exp(-(((x - cx) / sx) ** 2)) * np.exp(-(((y - cy) / sy) ** 2)))

    for side in (-1, 1):
        light -= 0.17 * spot(side * 0.40, -0.17, 0.26, 0.17)  # eye sockets
        light -= 0.07 * spot(side * 0.22, -0.05, 0.09, 0.22)  # beside the bridge of the nose
        light += 0.06 * spot(side * 0.52, 0.22, 0.24, 0.16)  # cheekbones
        light -= 0.05 * spot(side * 0.72, 0.62, 0.22, 0.35)
    light += 0.10 * spot(-0.02, 0.05, 0.09, 0.35)  # bridge
    light += 0.08 * spot(-0.03, 0.30, 0.10, 0.08)  # tip
    light -= 0.13 * spot(0.0, 0.50, 0.17, 0.06)  # under the nose
    light -= 0.10 * spot(0.0, 0.95, 0.20, 0.07)  # under the lip
    light += 0.05 * spot(0.0, 1.12, 0.20, 0.12)
    light += 0.05 * spot(-0.15, -0.85, 0.5, 0.25)
    skin = light[:, :, None] * np.asarray(look.skin, dtype=np.float64)
    blush = sum((spot(side * 0.55, 0.35, 0.26, 0.2) for side in (-1, 1)), np.zeros((height, width)))
    skin += blush[:, :, None] * np.asarray([10.0, -8.0, -6.0])
    if look.beard:
        jaw = 1 / (1 + np.exp(-((y - 0.48 - 0.9 * (0.75 - np.abs(x)).clip(0)) * 9)))
        around = np.maximum(jaw, 0.9 * spot(0, 0.60, 0.42, 0.09))
        hair = np.asarray(shade(look.hair_colour, 1.15), dtype=np.float64) * light[:, :, None]
        skin += 0.62 * around[:, :, None] * (hair - skin)
    image = Image.fromarray(np.clip(skin, 0, 255).astype(np.uint8))
    size = (round((RIGHT - LEFT) * unit), round((BOTTOM - TOP) * unit))
    return image.resize(size, Image.Resampling.BILINEAR)


def draw_head(look: Look, unit: float, yaw: float, pitch: float) -> Head:
    """Draw a head in a pose, without eyes, brows, nose and mouth.

    Args:
        look: appearance of the person.
        unit: half the face width in displayed pixels.
        yaw: rotation to the right of the picture, degrees.
        pitch: rotation downwards, degrees.
    """
    fine = unit * FINE
    size = (round((RIGHT - LEFT) * fine), round((BOTTOM - TOP) * fine))
    picture, mask = Image.new("RGB", size, shade(look.hair_colour, 0.7)), Image.new("L", size, 0)
    brush = _Brush(ImageDraw.Draw(picture, "RGBA"), ImageDraw.Draw(mask), fine)
    _back_hair(look, brush)
    shift = -0.25 * sin(yaw * pi / 180)
    for side in (-1, 1) if look.hair != "long" else ():
        brush.ellipse((side * (look.width + 0.02) + shift, 0.02), (0.13, 0.25), shade(look.skin, 0.82))
        brush.ellipse((side * (look.width + 0.04) + shift, 0.03), (0.06, 0.14), shade(look.skin, 0.66))
    place = to_pixels(fine)
    outline = [place(x, y) for x, y in _outline(look)]
    inside = Image.new("L", size, 0)
    ImageDraw.Draw(inside).polygon(outline, fill=255)
    picture.paste(_skin(look, fine, yaw, pitch), (0, 0), inside)
    mask.paste(255, (0, 0), inside)
    _front_hair(look, brush, yaw)
    return Head(picture, mask, fine, look, yaw, pitch)


@dataclass(frozen=True)
class _Brush:
    """Draws shapes into a picture and into its opacity mask. Coordinates are multiples of half the face width."""

    picture: ImageDraw.ImageDraw
    cover: ImageDraw.ImageDraw
    unit: float

    def ellipse(self, centre: Point, radius: Point, colour: Colour) -> None:
        (x, y), (rx, ry) = to_pixels(self.unit)(*centre), (radius[0] * self.unit, radius[1] * self.unit)
        self.picture.ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour)
        self.cover.ellipse((x - rx, y - ry, x + rx, y + ry), fill=255)

    def polygon(self, points: list[Point], colour: Colour) -> None:
        place = to_pixels(self.unit)
        pixels = [place(x, y) for x, y in points]
        self.picture.polygon(pixels, fill=colour)
        self.cover.polygon(pixels, fill=255)


def _back_hair(look: Look, brush: _Brush) -> None:
    dark = shade(look.hair_colour, 0.72)
    if look.hair == "long":
        brush.ellipse((0, -0.25), (1.27, 1.42), dark)
        fall = [(1.27, -0.3), (1.35, 0.9), (1.22, 1.7), (0.8, 1.95), (0.58, 1.5), (0.5, 0.8), (0.0, -0.3)]
        for side in (-1, 1):
            brush.polygon([(side * x, y) for x, y in fall], dark)
    elif look.hair == "bun":
        brush.ellipse((0.1, -1.58), (0.42, 0.36), shade(look.hair_colour, 0.9))
        brush.ellipse((0, -0.35), (1.12, 1.18), dark)
    elif look.hair == "curly":
        for i in range(26):
            t = pi * (0.80 + 1.40 * i / 25)
            radius = 0.36 + 0.05 * ((i * 7) % 3)
            tone = shade(look.hair_colour, 0.85 + 0.15 * (i % 3))
            brush.ellipse((1.08 * cos(t), -0.35 + 1.12 * sin(t)), (radius, radius), tone)
    elif look.hair == "bald":
        for side in (-1, 1):
            brush.ellipse((side * 0.97, -0.30), (0.16, 0.42), look.hair_colour)


def _front_hair(look: Look, brush: _Brush, yaw: float) -> None:
    if look.hair == "bald":
        return
    w, turn = look.width, 0.5 * sin(yaw * pi / 180)
    hairline = {"short": -0.88, "long": -0.92, "bun": -0.98, "curly": -0.86}[look.hair]
    colour, place = look.hair_colour, to_pixels(brush.unit)
    top = sorted((x * 1.05, y * 1.06 - 0.03) for x, y in _outline(look) if y < -0.30)
    inner: list[Point] = []
    for i in range(25):
        s = 1 - 2 * i / 24  # right temple to left
        part = 0.10 * (1 if s > -0.25 else -1.2) * abs(s + 0.25) if look.hair in ("short", "long") else 0.0
        inner.append((s * 0.97 * w + turn * (1 - s * s), hairline + 0.62 * abs(s) ** 3 - part))
    brush.polygon([*top, *inner], colour)
    if look.hair == "curly":
        for i in range(9):
            s = -1 + 2 * i / 8
            tone = shade(colour, 1.0 + 0.18 * (i % 2))
            brush.ellipse((s * 0.92 + turn, -1.02 + 0.5 * abs(s) ** 3), (0.21, 0.19), tone)
    if look.hair == "long":
        lock = [(0.93, -0.75), (1.12, -0.3), (1.24, 0.9), (1.08, 1.6), (1.0, 0.8), (0.99, 0.0)]
        for side in (-1, 1):
            brush.polygon([(side * x * w, y) for x, y in lock], shade(colour, 0.92))
    for i in range(7):  # strands catch the light
        s = -0.75 + 0.25 * i
        start = place(s * 0.75, -1.38 + 0.35 * s * s)
        end = place(s + turn * 0.5, hairline - 0.12 + 0.3 * abs(s) ** 3)
        brush.picture.line((start, end), fill=(*shade(colour, 1.45), 70), width=round(brush.unit * 0.035))
