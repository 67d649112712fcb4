"""Draw the moving parts of a face onto a head: brows, eyes, nose, mouth and the folds between them."""

from collections.abc import Callable

from PIL import Image, ImageDraw

from extract.corpora.demo.generator.cast import Colour
from extract.corpora.demo.generator.expression import Expression
from extract.corpora.demo.generator.portrait import Head, Point, project, shade, to_pixels

Place = Callable[[float, float], Point]
_STEPS = 14
_INSIDE: Colour = (70, 24, 28)
_TEETH: Colour = (238, 232, 222)
_WHITE: Colour = (240, 236, 230)
EYE_X, EYE_Y, EYE_HALF = 0.41, -0.13, 0.215
MOUTH_Y = 0.72


def draw_face(head: Head, expression: Expression, voice: float = 0.0, blink: float = 0.0) -> Image.Image:
    """Return an RGB picture of a head with eyes, brows, nose and mouth, in the size of `head.picture`.

    Args:
        head: the head, already turned.
        expression: the expression of the face.
        voice: loudness of the person's speech at this moment, 0 to 1; it opens the mouth.
        blink: how far the eyes are closed, 0 to 1.
    """
    picture = head.picture.copy()
    pen = ImageDraw.Draw(picture, "RGBA")
    flat = to_pixels(head.unit)

    def place(x: float, y: float) -> Point:
        return flat(*project(x, y, expression.yaw, expression.pitch))

    _wrinkles(pen, place, head, expression)
    _nose(pen, place, head, expression)
    _mouth(pen, place, head, expression, voice)
    for side in (-1, 1):
        _eye(picture, pen, place, head, expression, side, blink)
        _brow(pen, place, head, expression, side)
    if head.look.glasses:
        _glasses(pen, place, head.unit)
    return picture


def _brow(pen: ImageDraw.ImageDraw, place: Place, head: Head, e: Expression, side: int) -> None:
    thick = head.look.brow
    inner = (0.19 - 0.8 * e.knit, -0.40 - e.brow_inner)
    middle = (0.46, -0.475 - 0.55 * (e.brow_inner + e.brow_outer))
    outer = (0.72, -0.38 - e.brow_outer)
    upper, lower = [], []
    for i in range(_STEPS):
        s = i / (_STEPS - 1)
        a, b, c = (1 - s) ** 2, 2 * s * (1 - s), s * s
        control_x, control_y = middle[0], 2 * middle[1] - (inner[1] + outer[1]) / 2
        x, y = a * inner[0] + b * control_x + c * outer[0], a * inner[1] + b * control_y + c * outer[1]
        half = thick * (0.62 - 0.45 * s**1.5)
        upper.append(place(side * x, y - half))
        lower.append(place(side * x, y + half))
    pen.polygon([*upper, *reversed(lower)], fill=(*shade(head.look.hair_colour, 0.75), 235))


def _eye(
    picture: Image.Image,
    pen: ImageDraw.ImageDraw,
    place: Place,
    head: Head,
    e: Expression,
    side: int,
    blink: float,
) -> None:
    unit, look = head.unit, head.look
    height = e.eye * (1 - 0.92 * blink)
    tops, bottoms = [], []
    for i in range(_STEPS):
        s = -1 + 2 * i / (_STEPS - 1)
        x = side * EYE_X + s * EYE_HALF
        slant = -0.02 * s * side
        arch = max(0.0, 1 - abs(s) ** 2.2)
        tops.append(place(x, EYE_Y + slant - height * arch))
        bottoms.append(place(x, EYE_Y + slant + height * (0.72 - 0.9 * e.lower_lid) * arch))
    opening = [*tops, *reversed(bottoms)]
    crease = [(x, y - unit * (0.055 + 0.25 * max(0.0, e.eye - 0.1))) for x, y in tops[2:-2]]
    pen.line(crease, fill=(*shade(look.skin, 0.55), 150), width=round(unit * 0.025), joint="curve")
    x0, y0 = round(min(p[0] for p in opening)) - 1, round(min(p[1] for p in opening)) - 1
    x1, y1 = round(max(p[0] for p in opening)) + 2, round(max(p[1] for p in opening)) + 2
    tile, cover = Image.new("RGB", (x1 - x0, y1 - y0), _WHITE), Image.new("L", (x1 - x0, y1 - y0), 0)
    ImageDraw.Draw(cover).polygon([(x - x0, y - y0) for x, y in opening], fill=255)
    brush = ImageDraw.Draw(tile, "RGBA")
    cx, cy = place(side * EYE_X, EYE_Y - 0.005 + e.gaze * 0.06)
    cx, cy = cx - x0 + 0.004 * e.yaw * unit, cy - y0
    brush.line([(x - x0, y - y0 + 2) for x, y in tops], fill=(90, 80, 80, 120), width=round(unit * 0.06))
    for radius, colour in ((0.105, shade(look.eyes, 0.65)), (0.090, look.eyes), (0.048, (16, 12, 14))):
        r = radius * unit
        brush.ellipse((cx - r, cy - r, cx + r, cy + r), fill=colour)
    r, gx, gy = 0.022 * unit, cx - 0.035 * unit, cy - 0.04 * unit
    brush.ellipse((gx - r, gy - r, gx + r, gy + r), fill=(255, 255, 255))
    picture.paste(tile, (x0, y0), cover)
    pen.line(tops, fill=(34, 24, 24), width=round(unit * look.lashes), joint="curve")
    pen.line(bottoms, fill=(*shade(look.skin, 0.5), 190), width=round(unit * 0.02), joint="curve")
    if e.lower_lid > 0.1:
        pouch = [(x, y + unit * 0.06) for x, y in bottoms[2:-2]]
        pen.line(pouch, fill=(*shade(look.skin, 0.6), 130), width=round(unit * 0.022), joint="curve")


def _nose(pen: ImageDraw.ImageDraw, place: Place, head: Head, e: Expression) -> None:
    unit, dark = head.unit, shade(head.look.skin, 0.48)
    up = 0.03 * e.nose_wrinkle
    for side in (-1, 1):
        x, y = place(side * 0.085, 0.395 - up)
        pen.ellipse((x - 0.05 * unit, y - 0.026 * unit, x + 0.05 * unit, y + 0.026 * unit), fill=(*dark, 210))
        edge = ((0.14, 0.24), (0.185, 0.32), (0.175, 0.39), (0.13, 0.41))
        wing = [place(side * a, b - up) for a, b in edge]
        pen.line(wing, fill=(*shade(head.look.skin, 0.6), 150), width=round(unit * 0.025), joint="curve")
    ridge = ((0.10, -0.20), (0.085, 0.0), (0.11, 0.2), (0.16, 0.3), (0.05, 0.3), (0.04, -0.1))
    pen.polygon([place(a, b) for a, b in ridge], fill=(*shade(head.look.skin, 0.55), 44))
    pen.line(
        [place(-0.1, 0.43 - up), place(0, 0.45 - up), place(0.1, 0.43 - up)],
        fill=(*dark, 110),
        width=round(unit * 0.025),
        joint="curve",
    )


def _mouth(pen: ImageDraw.ImageDraw, place: Place, head: Head, e: Expression, voice: float) -> None:
    unit, look = head.unit, head.look
    gap = e.mouth_open + 0.24 * voice * (1 - 0.5 * min(1.0, e.mouth_open / 0.3))
    width = e.mouth_width * (1 - 0.12 * voice)
    centre = MOUTH_Y + 0.25 * e.corner
    full_upper, full_lower = 0.085 - 0.12 * max(0.0, e.corner - 0.05), 0.115

    def curve(middle: float, skewed: float = 0.0) -> list[tuple[float, float]]:
        points = []
        for i in range(2 * _STEPS + 1):
            s = -1 + i / _STEPS
            arch = 1 - abs(s) ** e.square
            lift = skewed * max(0.0, 1 - ((s - 0.45) / 0.5) ** 2)
            points.append((s * width, centre - e.corner * (1 - (1 - s * s)) + middle * arch - lift))
        return points

    upper_in = curve(-0.38 * gap - e.upper_lip, e.skew)
    lower_in = curve(0.62 * gap + (0.01 if gap == 0 else 0.0) - 0.7 * e.upper_lip, 0.0)
    upper_out = [
        (x * 1.04, y - full_upper * (1 - (x / width) ** 2) * (1 - 0.28 * max(0.0, 1 - abs(x / width) / 0.22)))
        for x, y in upper_in
    ]
    lower_out = [(x * 1.02, y + full_lower * (1 - (x / width) ** 2)) for x, y in lower_in]
    put = [place(x, y) for x, y in [*upper_out, *reversed(lower_out)]]
    pen.polygon(put, fill=look.lips)
    pen.polygon([place(x, y) for x, y in [*upper_out, *reversed(upper_in)]], fill=shade(look.lips, 0.86))
    inside = [place(x, y) for x, y in [*upper_in, *reversed(lower_in)]]
    pen.polygon(inside, fill=_INSIDE)
    if e.teeth > 0 or gap > 0.08:
        show = max(e.teeth, 0.45)
        rim = []
        for (x, y), (_, low) in zip(upper_in, lower_in, strict=True):
            rim.append((x, min(low, y + 0.115 * show) if abs(x) < 0.93 * width else y))
        pen.polygon([place(x, y) for x, y in [*upper_in, *reversed(rim)]], fill=_TEETH)
        if e.teeth > 0.6 and e.square > 2.5:  # clenched: the lower row shows as well
            low_rim = [
                (x, max(up, y - 0.085)) if abs(x) < 0.9 * width else (x, y)
                for (x, y), (_, up) in zip(lower_in, rim, strict=True)
            ]
            pen.polygon([place(x, y) for x, y in [*lower_in, *reversed(low_rim)]], fill=shade(_TEETH, 0.94))
    pen.line(
        [place(x, y) for x, y in upper_in],
        fill=(*shade(look.lips, 0.45), 220),
        width=round(unit * 0.025),
        joint="curve",
    )
    pen.line(
        [place(x, y) for x, y in lower_out[6:-6]],
        fill=(*shade(look.skin, 0.6), 120),
        width=round(unit * 0.025),
        joint="curve",
    )
    for side in (-1, 1):
        x, y = place(side * (width + 0.015), centre - e.corner)
        r = 0.028 * unit
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(*shade(look.skin, 0.5), 150))


def _wrinkles(pen: ImageDraw.ImageDraw, place: Place, head: Head, e: Expression) -> None:
    unit, dark = head.unit, shade(head.look.skin, 0.58)

    def stroke(points: list[tuple[float, float]], strength: float, wide: float = 0.028) -> None:
        pen.line(
            [place(x, y) for x, y in points],
            fill=(*dark, round(170 * min(1.0, strength))),
            width=round(unit * wide),
            joint="curve",
        )

    if e.forehead > 0:
        for y in (-0.74, -0.64):
            lift = 0.5 * e.brow_inner
            stroke(
                [(-0.34, y - lift + 0.04), (-0.15, y - lift), (0.15, y - lift), (0.34, y - lift + 0.04)],
                0.6 * e.forehead,
            )
    if e.knit > 0:
        for side in (-1, 1):
            stroke([(side * 0.055, -0.46), (side * 0.075, -0.30)], 9 * e.knit, 0.03)
    if e.nose_wrinkle > 0:
        for y in (-0.16, -0.08, 0.0):
            stroke([(-0.11, y + 0.03), (0, y - 0.01), (0.11, y + 0.03)], 0.75 * e.nose_wrinkle, 0.025)
    if e.fold > 0:
        for side in (-1, 1):
            x = e.mouth_width + 0.09
            stroke(
                [
                    (side * 0.20, 0.33),
                    (side * (0.20 + 0.55 * (x - 0.2)), 0.47),
                    (side * x, MOUTH_Y - e.corner),
                ],
                0.8 * e.fold,
                0.032,
            )


def _glasses(pen: ImageDraw.ImageDraw, place: Place, unit: float) -> None:
    wide = round(unit * 0.035)
    frame = (48, 44, 46)
    for side in (-1, 1):
        x, y = place(side * EYE_X, EYE_Y + 0.03)
        box = (x - 0.31 * unit, y - 0.25 * unit, x + 0.31 * unit, y + 0.25 * unit)
        pen.rounded_rectangle(box, radius=0.12 * unit, outline=frame, width=wide)
        pen.line(
            [place(side * (EYE_X + 0.31), EYE_Y), place(side * 0.97, EYE_Y - 0.05)], fill=frame, width=wide
        )
    pen.line(
        [place(-0.11, EYE_Y - 0.02), place(0, EYE_Y - 0.05), place(0.11, EYE_Y - 0.02)],
        fill=frame,
        width=wide,
    )
